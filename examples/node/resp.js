// Redis in seventy lines: enough of its protocol for a session store. An app of size takes a library (ioredis).
'use strict';

const net = require('node:net');
const tls = require('node:tls');

/** It could not be asked, or refused. */
class RedisAway extends Error {}

/** One connection, used by all: answers come in the order of the questions. */
class Redis {
  constructor(url, limit = 2000) {
    this.url = new URL(url);
    this.limit = limit;
    this.waiting = [];
    this.unread = Buffer.alloc(0);
    this.socket = null;
  }

  /** An answer: text, a number, a list, or null. */
  ask(...words) {
    if (!this.socket) this.connect();
    return this.say(words);
  }

  connect() {
    const { hostname: host, port, protocol, username, password, pathname } = this.url;
    const to = { host, port: Number(port || 6379), servername: host };
    const socket = protocol === 'rediss:' ? tls.connect(to) : net.connect(to);
    this.socket = socket;
    this.unread = Buffer.alloc(0);
    socket.setNoDelay(true);
    socket.on('data', (bytes) => this.socket === socket && this.take(bytes));
    socket.on('error', (error) => this.broken(socket, error));
    socket.on('close', () => this.broken(socket, new Error('the connection broke')));
    const ignore = () => {};
    if (password) {
      this.say(['AUTH', decodeURIComponent(username || 'default'), decodeURIComponent(password)]).catch(ignore);
    }
    if (pathname.length > 1) this.say(['SELECT', pathname.slice(1)]).catch(ignore);
  }

  say(words) {
    const parts = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`);
    const socket = this.socket;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => this.broken(socket, new Error('no answer')), this.limit);
      this.waiting.push({ resolve, reject, late });
      socket.write(`*${parts.length}\r\n${parts.join('')}`);
    });
  }

  /** Nobody waits for an answer that cannot come; the next question connects anew. */
  broken(socket, error) {
    if (this.socket !== socket) return;
    this.socket = null;
    socket.destroy();
    for (const { reject, late } of this.waiting.splice(0)) {
      clearTimeout(late);
      reject(new RedisAway(error.message));
    }
  }

  take(bytes) {
    this.unread = Buffer.concat([this.unread, bytes]);
    for (let read = parse(this.unread, 0); read; read = parse(this.unread, 0)) {
      this.unread = this.unread.subarray(read.next);
      const { resolve, reject, late } = this.waiting.shift();
      clearTimeout(late);
      if (read.value instanceof RedisAway) reject(read.value);
      else resolve(read.value);
    }
  }
}

/** What stands at `at`, and where the next begins; undefined: not all of it is there yet. */
function parse(bytes, at) {
  const end = bytes.indexOf('\r\n', at);
  if (end < 0) return undefined;
  const rest = bytes.toString('utf8', at + 1, end);
  let next = end + 2;
  switch (bytes[at]) {
    case 0x2d: // -
      return { value: new RedisAway(rest), next };
    case 0x3a: // :
      return { value: Number(rest), next };
    case 0x24: { // $
      const length = Number(rest);
      if (length < 0) return { value: null, next };
      if (bytes.length < next + length + 2) return undefined;
      return { value: bytes.toString('utf8', next, next + length), next: next + length + 2 };
    }
    case 0x2a: { // *
      const list = [];
      for (let left = Number(rest); left > 0; left -= 1) {
        const read = parse(bytes, next);
        if (!read) return undefined;
        list.push(read.value);
        next = read.next;
      }
      return { value: list, next };
    }
    default: // +
      return { value: rest, next };
  }
}

module.exports = { Redis, RedisAway };
