#!/usr/bin/env python3
"""A site that counts a visitor's visits in a session on REDIS_URL, behind Banyan. Python's own library is enough.

    GET /            the next visit            POST /log-in/NAME   a session of NAME, under a new id
    GET /healthz     this process can answer   POST /log-out       ends it, on all instances at once
    GET /readyz      it has what it needs
"""

import hashlib
import json
import os
import re
import secrets
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from resp import Redis, RedisAway

IDLE = 30 * 60  # seconds without a request, after which a session ends
QUIET, LONGEST = 1.0, 10.0  # seconds: accepting ends when no request came for so long; at the latest
COOKIE = re.compile(r"(?:^|;\s*)sid=([0-9a-f]{32})(?:;|$)")


def key(session_id):
    """Who reads Redis cannot log in with what is there."""
    return "visits:" + hashlib.sha256(session_id.encode()).hexdigest()


def load(redis, session_id):
    text = redis.ask("GETEX", key(session_id), "EX", IDLE) if session_id else None
    return json.loads(text) if text else None


def create(redis, session):
    """The server alone makes ids: one that a visitor brings along and nobody knows is worth nothing."""
    session_id = secrets.token_hex(16)
    redis.ask("SET", key(session_id), json.dumps(session), "NX", "EX", IDLE)
    return session_id


def save(redis, session_id, session):
    """XX: what was logged out meanwhile stays so."""
    redis.ask("SET", key(session_id), json.dumps(session), "XX", "EX", IDLE)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200, "ok\n")
        if self.path == "/readyz":
            ready, reason = self.server.readiness()
            return self.answer(200 if ready else 503, reason)
        self.with_session(self.visit)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.with_session(self.enter_or_leave)

    def with_session(self, handle):
        self.server.last_request = time.monotonic()
        found = COOKIE.search(self.headers.get("cookie", ""))
        try:
            session_id = found and found[1]
            handle(session_id, load(self.server.redis, session_id))
        except RedisAway as away:
            self.answer(503, f"sessions cannot be reached: {away}\n", {"Retry-After": "1"})

    def visit(self, session_id, session):
        if session is None:
            session_id, session = None, {"visits": 0, "name": "a stranger"}
        session["visits"] += 1
        if session_id:
            save(self.server.redis, session_id, session)
        else:
            session_id = create(self.server.redis, session)
        self.answer(200, f"visit {session['visits']} of {session['name']}\n", self.cookie(session_id, IDLE))

    def enter_or_leave(self, session_id, session):
        if session:
            self.server.redis.ask("DEL", key(session_id))
        if self.path == "/log-out":
            return self.answer(200, "bye\n", self.cookie("", 0))
        if not self.path.startswith("/log-in/"):
            return self.answer(404, "there is no such page\n")
        name = self.path.removeprefix("/log-in/")
        session = {"visits": session["visits"] if session else 0, "name": name}
        self.answer(200, f"hello {name}\n", self.cookie(create(self.server.redis, session), IDLE))

    def cookie(self, session_id, age):
        secure = "; Secure" if self.headers.get("x-forwarded-proto") == "https" else ""
        return {"Set-Cookie": f"sid={session_id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}"}

    def answer(self, status, text, headers=None):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.server.stopping:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # the edge writes the access log


class Server(ThreadingHTTPServer):
    daemon_threads = False  # the end waits for requests in flight
    request_queue_size = 128

    def __init__(self, address, redis):
        super().__init__(address, Handler)
        self.redis, self.stopping, self.was_ready = redis, False, False
        self.last_request = time.monotonic()

    def readiness(self):
        """Reached once: a Redis that is away later is away for all instances, and somebody must say so."""
        if self.stopping:
            return False, "stopping\n"
        try:
            self.was_ready = self.was_ready or self.redis.ask("PING") == "PONG"
        except RedisAway as away:
            return False, f"not ready: {away}\n"
        return self.was_ready, "ready\n"

    def drain(self):
        """After SIGTERM: not ready any more, serving until requests stop coming."""
        self.stopping = True
        begun = time.monotonic()
        while time.monotonic() < min(max(self.last_request, begun) + QUIET, begun + LONGEST):
            time.sleep(0.05)
        self.shutdown()


def main():
    if not os.environ.get("REDIS_URL"):
        sys.exit("REDIS_URL is not set; write [sessions] into banyan.toml, or REDIS_URL=redis://127.0.0.1:6379")
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000")))
    server = Server(address, Redis(os.environ["REDIS_URL"]))
    Handler.timeout = 5  # an idle connection does not hold up the end
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.drain).start())
    server.serve_forever(poll_interval=0.05)
    server.server_close()


if __name__ == "__main__":
    main()
