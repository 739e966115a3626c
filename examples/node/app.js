// A site that counts a visitor's visits in a session on REDIS_URL, behind Banyan. Node's own library is enough.
//
//   GET /          the next visit            POST /log-in/NAME  a session of NAME, under a new id
//   GET /healthz   this process can answer   POST /log-out      ends it, on all instances at once
//   GET /readyz    it has what it needs
'use strict';

const { createHash, randomBytes } = require('node:crypto');
const http = require('node:http');
const { Redis, RedisAway } = require('./resp');

const IDLE = 30 * 60; // seconds without a request, after which a session ends
const QUIET = 1000; // milliseconds: accepting ends when no request came for so long
const LONGEST = 10000; // at the latest

if (!process.env.REDIS_URL) {
  console.error('REDIS_URL is not set; write [sessions] into banyan.toml, or REDIS_URL=redis://127.0.0.1:6379');
  process.exit(1);
}
const redis = new Redis(process.env.REDIS_URL);
let stopping = false;
let wasReady = false;
let lastRequest = Date.now();

// Who reads Redis cannot log in with what is there.
const key = (id) => `visits:${createHash('sha256').update(id).digest('hex')}`;

async function load(id) {
  const text = id && (await redis.ask('GETEX', key(id), 'EX', IDLE));
  return text ? JSON.parse(text) : null;
}

// The server alone makes ids: one that a visitor brings along and nobody knows is worth nothing.
async function create(session) {
  const id = randomBytes(16).toString('hex');
  await redis.ask('SET', key(id), JSON.stringify(session), 'NX', 'EX', IDLE);
  return id;
}

// XX: what was logged out meanwhile stays so.
const save = (id, session) => redis.ask('SET', key(id), JSON.stringify(session), 'XX', 'EX', IDLE);

const cookie = (request, id, age) => ({
  'Set-Cookie':
    `sid=${id}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${age}` +
    (request.headers['x-forwarded-proto'] === 'https' ? '; Secure' : ''),
});

function answer(response, status, text, headers = {}) {
  if (stopping) headers.Connection = 'close';
  response.writeHead(status, { 'Content-Length': Buffer.byteLength(text), ...headers });
  response.end(text);
}

async function visit(request, response, id, found) {
  const session = found ?? { visits: 0, name: 'a stranger' };
  session.visits += 1;
  if (found) await save(id, session);
  else id = await create(session);
  answer(response, 200, `visit ${session.visits} of ${session.name}\n`, cookie(request, id, IDLE));
}

async function enterOrLeave(request, response, id, found) {
  if (found) await redis.ask('DEL', key(id));
  if (request.url === '/log-out') return answer(response, 200, 'bye\n', cookie(request, '', 0));
  if (!request.url.startsWith('/log-in/')) return answer(response, 404, 'there is no such page\n');
  const session = { visits: found ? found.visits : 0, name: request.url.slice('/log-in/'.length) };
  answer(response, 200, `hello ${session.name}\n`, cookie(request, await create(session), IDLE));
}

// Reached once: a Redis that is away later is away for all instances, and somebody must say so.
async function readiness(response) {
  if (stopping) return answer(response, 503, 'stopping\n');
  try {
    wasReady ||= (await redis.ask('PING')) === 'PONG';
    answer(response, 200, 'ready\n');
  } catch (error) {
    answer(response, 503, `not ready: ${error.message}\n`);
  }
}

async function handle(request, response) {
  if (request.url === '/healthz') return answer(response, 200, 'ok\n');
  if (request.url === '/readyz') return readiness(response);
  lastRequest = Date.now();
  request.resume();
  try {
    const id = /(?:^|;\s*)sid=([0-9a-f]{32})(?:;|$)/.exec(request.headers.cookie ?? '')?.[1];
    const session = await load(id);
    await (request.method === 'POST' ? enterOrLeave : visit)(request, response, id, session);
  } catch (error) {
    if (!(error instanceof RedisAway)) throw error;
    answer(response, 503, `sessions cannot be reached: ${error.message}\n`, { 'Retry-After': '1' });
  }
}

const server = http.createServer(handle);
server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '127.0.0.1');

// Not ready any more, serving until requests stop coming; then what is in flight ends.
process.on('SIGTERM', () => {
  if (stopping) process.exit(1);
  stopping = true;
  const begun = Date.now();
  const wait = setInterval(() => {
    if (Date.now() < Math.min(Math.max(lastRequest, begun) + QUIET, begun + LONGEST)) return;
    clearInterval(wait);
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  }, 50);
});
