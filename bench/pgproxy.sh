#!/usr/bin/env bash
# Compares Banyan's PostgreSQL proxy with PgBouncer and with no proxy: transactions/s and CPU per transaction.
#
#   bench/pgproxy.sh
#   ROUNDS=3 SECONDS_PER_ROUND=2 CASES="64:simple" bench/pgproxy.sh
#   BANYAN=path/to/banyan bench/pgproxy.sh
#
# A case is clients:what. `simple` and `prepared` are pgbench -S by protocol, `tpcb` its standard script (simple protocol),
# `connect` a new connection for each transaction (-C), `idle` that many idle clients (memory only). Contestants take
# turns. PgBouncer 1.18 has no prepared statements in transaction mode: it runs those cases in session mode with a pool as
# large as the clients, and none where that is more than PostgreSQL allows.
# Everything it starts is ended by process id, and its folder removed, also after a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-7}
LENGTH=${SECONDS_PER_ROUND:-3}
CASES=${CASES:-"1:simple 1:prepared 64:simple 64:prepared 1000:simple 1000:prepared 16:tpcb 8:connect 10000:idle"}
BANYAN=${BANYAN:-${CARGO_TARGET_DIR:-target}/release/banyan}
POOL=20
PROGRAMS=/usr/lib/postgresql/15/bin
PATH=$PATH:/usr/sbin:/sbin

for program in pgbouncer taskset awk python3 "$PROGRAMS/postgres" "$PROGRAMS/pgbench" "$BANYAN"; do
  command -v "$program" >/dev/null || {
    echo "bench: $program is missing. Install: sudo apt-get install pgbouncer postgresql-15 util-linux python3; cargo build --release" >&2
    exit 1
  }
done

# PostgreSQL, proxy and load share the cores here: a proxy's price is what it takes from the others.
cores=$(nproc)
if [ "$cores" -ge 4 ]; then
  proxy_cpus=0 load_cpus=1 server_cpus=2,3
else
  proxy_cpus=0 load_cpus=0 server_cpus=$((cores - 1))
fi

work=$(mktemp -d)
chmod 755 "$work"
pids=()
as_server=()
clean_up() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  [ ! -d "$work/data" ] || "${as_server[@]}" "$PROGRAMS/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
ulimit -n 65000 2>/dev/null || ulimit -n 20000 2>/dev/null || true

free_port() { # a port that nobody listens on, from $1 upwards
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}
server=$(free_port 21960)
bouncer=$(free_port $((server + 1)))
bouncer_session=$(free_port $((bouncer + 1)))
banyan=$(free_port $((bouncer_session + 1)))
password=$(head -c 18 /dev/urandom | base64 | tr -d '/+=')
export PGUSER=postgres PGDATABASE=bench PGHOST=127.0.0.1 PGPASSFILE=$work/passwords
printf '127.0.0.1:*:*:postgres:%s\n' "$password" >"$PGPASSFILE"
chmod 600 "$PGPASSFILE"

mkdir -p "$work"/{data,socket,bouncer,state/snapshots}
if [ "$(id -u)" = 0 ]; then
  as_server=(setpriv --reuid=postgres --regid=postgres --clear-groups)
  chown -R postgres: "$work"/{data,socket,bouncer}
fi
printf '%s' "$password" >"$work/password"
[ "$(id -u)" != 0 ] || chown postgres: "$work/password"
"${as_server[@]}" "$PROGRAMS/initdb" -D "$work/data" -U postgres --pwfile="$work/password" --auth=scram-sha-256 --locale=C.UTF-8 >/dev/null
rm "$work/password"
cat >>"$work/data/postgresql.conf" <<CONF
port = $server
listen_addresses = '127.0.0.1'
unix_socket_directories = '$work/socket'
max_connections = 200
shared_buffers = 256MB
synchronous_commit = off
log_min_messages = fatal
CONF
taskset -c "$server_cpus" "${as_server[@]}" "$PROGRAMS/pg_ctl" -D "$work/data" -w -l "$work/data/log" start >/dev/null
PGPORT=$server PGDATABASE=postgres psql -qX -c 'CREATE DATABASE bench'
PGPORT=$server "$PROGRAMS/pgbench" -i -q -s "${SCALE:-10}" >/dev/null 2>&1

verifier=$(PGPORT=$server psql -qXAt -c "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")
printf '"postgres" "%s"\n' "$verifier" >"$work/bouncer/users"
bouncer_conf() { # port, mode, pool
  cat <<CONF
[databases]
bench = host=$work/socket port=$server dbname=bench
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $1
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $work/bouncer/users
pool_mode = $2
default_pool_size = $3
max_client_conn = 20000
query_wait_timeout = 60
ignore_startup_parameters = extra_float_digits,search_path
log_connections = 0
log_disconnections = 0
logfile = $work/bouncer/log.$2
pidfile = $work/bouncer/pid.$2
CONF
}
bouncer_conf "$bouncer" transaction $POOL >"$work/bouncer/transaction"
bouncer_conf "$bouncer_session" session 100 >"$work/bouncer/session"
[ "$(id -u)" != 0 ] || chown -R postgres: "$work/bouncer"

printf 'postgres://postgres:%s@127.0.0.1:%s/bench' "$password" "$server" >"$work/state/url"
chmod 600 "$work/state/url"
sed -e "s/@LISTEN@/$banyan/; s/@SERVER@/$server/; s/@DATABASE@/bench/; s/@MODE@/transaction/; s/@POOL@/$POOL/; s|@URL@|$work/state/url|" \
  -e "s|\"socket\": null|\"socket\": \"$work/socket\"|" bench/pgproxy.json >"$work/state/snapshots/pgproxy.json"

start() { # cpus, command…
  local cpus=$1
  shift
  taskset -c "$cpus" "$@" >"$work/out.$RANDOM" 2>&1 &
  pids+=($!)
}
start "$proxy_cpus" "${as_server[@]}" pgbouncer "$work/bouncer/transaction"; bouncer_pid=${pids[-1]}
start "$proxy_cpus" "${as_server[@]}" pgbouncer "$work/bouncer/session"; session_pid=${pids[-1]}
start "$proxy_cpus" "$BANYAN" --state "$work/state" role pgproxy; banyan_pid=${pids[-1]}
for port in "$bouncer" "$bouncer_session" "$banyan"; do
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
  done
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { tail -n 5 "$work"/out.* >&2; echo "bench: a proxy did not start" >&2; exit 1; }
done

ticks() { # CPU ticks of a process
  sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}
contestants() { # clients, what
  case $2 in
    prepared) [ "$1" -le 100 ] && echo "direct session banyan" || echo "banyan" ;;
    *) [ "$1" -le 100 ] && echo "direct pgbouncer banyan" || echo "pgbouncer banyan" ;;
  esac
}
declare -A port=([direct]=$server [pgbouncer]=$bouncer [session]=$bouncer_session [banyan]=$banyan)
declare -A pid=([pgbouncer]=$bouncer_pid [session]=$session_pid [banyan]=$banyan_pid)

load() { # name, clients, what, seconds → transactions/s, and "failed" when any did
  local arguments=(-n -T "$4" -c "$2" -j 1)
  case $3 in
    simple) arguments+=(-S -M simple) ;;
    prepared) arguments+=(-S -M prepared) ;;
    tpcb) arguments+=(-M simple) ;;
    connect) arguments+=(-S -M simple -C) ;;
    *) echo "bench: unknown case $3" >&2; exit 1 ;;
  esac
  PGPORT=${port[$1]} taskset -c "$load_cpus" "$PROGRAMS/pgbench" "${arguments[@]}" 2>&1 |
    awk '/^tps = /{ tps = $3 } /number of failed transactions: [1-9]/ || /aborted/ { failed = 1 } END { print tps + 0, failed + 0 }'
}

hold_idle() { # name, clients: opens them, asks each one thing, prints the proxy's growth in bytes per client
  python3 - "${port[$1]}" "$2" "${pid[$1]}" "$PGPASSFILE" <<'PY'
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
PY
}

median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

printf '%s rounds of %s s; proxy on CPU %s, load on %s, PostgreSQL on %s; pool %s\n' "$ROUNDS" "$LENGTH" "$proxy_cpus" "$load_cpus" "$server_cpus" "$POOL"
printf '%-16s %-10s %22s %16s %10s\n' case contestant 'transactions/s' 'CPU µs each' ratios
for case in $CASES; do
  clients=${case%%:*} what=${case#*:}
  if [ "$what" = idle ]; then
    for name in pgbouncer banyan; do
      read -r bytes total < <(hold_idle "$name" "$clients")
      printf '%-16s %-10s %22s\n' "$case" "$name" "$bytes bytes each, $total MiB"
    done
    continue
  fi
  names=$(contestants "$clients" "$what")
  for name in $names; do load "$name" "$clients" "$what" 1 >/dev/null; rm -f "$work/$case.$name".*; done
  for _ in $(seq "$ROUNDS"); do
    for name in $names; do
      before=0 after=0
      [ "$name" = direct ] || before=$(ticks "${pid[$name]}")
      read -r tps failed < <(load "$name" "$clients" "$what" "$LENGTH")
      [ "$name" = direct ] || after=$(ticks "${pid[$name]}")
      [ "$failed" = 0 ] || echo "  $case $name: transactions failed" >&2
      echo "$tps" >>"$work/$case.$name.tps"
      awk -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" -v n="$tps" -v s="$LENGTH" 'BEGIN { if (n * s > 0) printf "%.2f\n", t / hz * 1e6 / (n * s) }' >>"$work/$case.$name.cpu"
    done
  done
  reference=""
  for name in $names; do
    tps=$(median <"$work/$case.$name.tps") cpu=$(median <"$work/$case.$name.cpu")
    spread=$(sort -n "$work/$case.$name.tps" | awk 'NR == 1 { low = $1 } { high = $1 } END { printf "%.0f-%.0f", low, high }')
    [ "$name" != pgbouncer ] && [ "$name" != session ] || reference="$tps $cpu"
    ratio=""
    if [ "$name" = banyan ] && [ -n "$reference" ]; then
      ratio=$(awk -v a="$tps" -v b="$cpu" -v r="$reference" 'BEGIN { split(r, x, " "); printf "%.2f / %.2f", a / x[1], x[2] > 0 ? b / x[2] : 0 }')
    fi
    printf '%-16s %-10s %22s %16s %10s\n' "$case" "$name" "$(printf '%.0f (%s)' "$tps" "$spread")" "$([ "$name" = direct ] && echo - || echo "$cpu")" "$ratio"
  done
done
echo "ratios: Banyan's transactions/s / CPU per transaction, relative to PgBouncer"
