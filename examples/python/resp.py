"""Redis in sixty lines: enough of its protocol for a session store. An app of size takes a library (redis-py)."""

import queue
import socket
import ssl
from urllib.parse import unquote, urlsplit


class RedisAway(Exception):
    """It could not be asked, or refused."""


class Redis:
    """Connections by its address, kept and used again; one at a time uses one."""

    def __init__(self, url, limit=2.0):
        self.url, self.limit = urlsplit(url), limit
        self.idle = queue.LifoQueue()

    def ask(self, *words):
        """An answer: text, a number, a list, or None. Asked twice at most: an idle connection may have been closed."""
        try:
            connection = self.idle.get_nowait()
        except queue.Empty:
            connection = None
        if connection:
            try:
                return self.exchange(connection, words)
            except (OSError, EOFError):
                connection.close()
        try:
            return self.exchange(self.connect(), words)
        except (OSError, EOFError) as error:
            raise RedisAway(str(error) or "the connection broke") from error

    def connect(self):
        raw = socket.create_connection((self.url.hostname, self.url.port or 6379), self.limit)
        if self.url.scheme == "rediss":
            raw = ssl.create_default_context().wrap_socket(raw, server_hostname=self.url.hostname)
        connection = raw.makefile("rwb")
        raw.close()  # the file keeps it open
        if self.url.password:
            self.say(connection, ("AUTH", unquote(self.url.username or "default"), unquote(self.url.password)))
        if self.url.path.strip("/"):
            self.say(connection, ("SELECT", self.url.path.strip("/")))
        return connection

    def exchange(self, connection, words):
        answer = self.say(connection, words)
        self.idle.put(connection)
        return answer

    def say(self, connection, words):
        parts = [str(word).encode() for word in words]
        connection.write(b"*%d\r\n" % len(parts))
        for part in parts:
            connection.write(b"$%d\r\n%s\r\n" % (len(part), part))
        connection.flush()
        return self.read(connection)

    def read(self, connection):
        line = connection.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the connection broke")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise RedisAway(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else connection.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.read(connection) for _ in range(int(rest))]
        return rest
