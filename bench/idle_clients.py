#!/usr/bin/env python3
"""Opens many clients that each ask one thing and then idle: what they cost a proxy.

    bench/idle_clients.py PORT CLIENTS PID PASSFILE

Prints the process's growth in bytes per client (PSS), after a warm-up, and its size in MiB. Speaks SCRAM-SHA-256 itself, as 10,000
connections of a driver would be more work for this machine than for the proxy.
"""
import base64, hashlib, hmac, os, resource, socket, struct, sys
port, count, pid = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
password = open(sys.argv[4]).read().strip().split(":")[4].encode()
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
def own():
    with open(f"/proc/{pid}/smaps_rollup") as text:
        return sum(int(line.split()[1]) for line in text if line.startswith("Pss:")) * 1024
def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body
def read(sock, n):
    data = b""
    while len(data) < n:
        part = sock.recv(n - len(data))
        if not part:
            raise SystemExit("closed by the proxy")
        data += part
    return data
def receive(sock):
    kind = read(sock, 1)
    body = read(sock, struct.unpack("!I", read(sock, 4))[0] - 4)
    if kind == b"E":
        raise SystemExit(body)
    return kind, body
def log_in():
    sock = socket.create_connection(("127.0.0.1", port))
    body = struct.pack("!I", 196608) + b"user\0postgres\0database\0bench\0\0"
    sock.sendall(struct.pack("!I", len(body) + 4) + body)
    receive(sock)
    nonce = base64.b64encode(os.urandom(18)).decode()
    bare = f"n=,r={nonce}"
    first = ("n,," + bare).encode()
    sock.sendall(message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first))
    server = receive(sock)[1][4:].decode()
    fields = dict(part.split("=", 1) for part in server.split(","))
    final = f"c=biws,r={fields['r']}"
    key = ("salted", fields["s"], fields["i"])
    if log_in.key != key:
        log_in.key, log_in.salted = key, hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(fields["s"]), int(fields["i"]))
    client = hmac.digest(log_in.salted, b"Client Key", "sha256")
    signed = hmac.digest(hashlib.sha256(client).digest(), f"{bare},{server},{final}".encode(), "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client, signed))).decode()
    sock.sendall(message(b"p", f"{final},p={proof}".encode()))
    ready(sock)
    sock.sendall(message(b"Q", b"SELECT 1\0"))
    ready(sock)
    return sock
log_in.key = None
def ready(sock):
    while receive(sock)[0] != b"Z":
        pass
warm = [log_in() for _ in range(50)]
before = own()
clients = [log_in() for _ in range(count)]
print(f"{(own() - before) / count:.0f} {own() / 1048576:.1f}")
