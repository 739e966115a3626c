#!/usr/bin/env bash
# Compares Banyan's PostgreSQL proxy with PgBouncer and with no proxy: transactions/s and CPU per transaction. bench/README.md
# says how.
#
#   bench/pgproxy.sh                        7 rounds of 3 s per case, every case
#   ROUNDS=3 SECONDS_PER_ROUND=2 CASES="64:simple 10000:idle" bench/pgproxy.sh
#   BANYAN=path/to/banyan SCALE=50 bench/pgproxy.sh
#   LIMIT=3600 ROUNDS=21 bench/pgproxy.sh   it ends by itself: fewer rounds than asked for where they do not fit (840 s)
#
# A case is clients:what. `simple` and `prepared` are pgbench -S by protocol, `tpcb` its standard script (simple protocol),
# `connect` a new connection for each transaction (-C), `idle` that many idle clients (memory only). Contestants take
# turns. PgBouncer 1.18 has no prepared statements in transaction mode: it runs those cases in session mode with a pool as
# large as the clients, and none where that is more than PostgreSQL allows.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-7}
LENGTH=${SECONDS_PER_ROUND:-3}
LIMIT=${LIMIT:-840}
CASES=${CASES:-1:simple 1:prepared 64:simple 64:prepared 1000:simple 1000:prepared 16:tpcb 8:connect 10000:idle}
RESULTS=${RESULTS:-${CARGO_TARGET_DIR:-target}/bench-pgproxy.tsv}
FIRST_PORT=21960

# shellcheck source=bench/shared.sh
. bench/shared.sh
# shellcheck source=bench/postgres.sh
. bench/postgres.sh
need pgbouncer taskset awk python3 "$PROGRAMS/postgres" "$PROGRAMS/pgbench"

# PostgreSQL, proxy and load share the cores here: a proxy's price is what it takes from the others.
cores=$(nproc)
if [ "$cores" -ge 4 ]; then
  proxy_cpus=0 load_cpus=1 server_cpus=2,3
else
  proxy_cpus=0 load_cpus=0 server_cpus=$((cores - 1))
fi
load_on=(taskset -c "$load_cpus")
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

start_server bench taskset -c "$server_cpus" -- "max_connections = 200" "shared_buffers = 256MB" "synchronous_commit = off"
PGPORT=$server_port "$PROGRAMS/pgbench" -i -q -s "${SCALE:-10}" >/dev/null 2>&1
before_it transaction
port[direct]=$server_port
declare -A main
for name in pgbouncer session banyan; do
  # shellcheck disable=SC2086 # words are meant
  start taskset -c "$proxy_cpus" ${as_user[$name]:-} ${command[$name]}
  main[$name]=$pid
  wait_port "${port[$name]}" "$name"
done

contestants() { # clients, what
  local pooler=pgbouncer
  if [ "$2" = prepared ]; then pooler=session; fi
  if [ "$1" -gt 100 ]; then
    [ "$pooler" = pgbouncer ] && echo "pgbouncer banyan" || echo banyan
  else
    echo "direct $pooler banyan"
  fi
}

rounds=$work/rounds
hz=$(getconf CLK_TCK)
round() { # case, name, kept?
  local clients=${1%%:*} what=${1#*:} name=$2 before=0 after=0 failed=0
  [ "$name" = direct ] || before=$(ticks "${main[$name]}")
  # A thousand log-ins take seconds by themselves.
  pgbench "$name" "$clients" "$what" -T $((LENGTH + clients / 100)) || failed=1
  [ "$name" = direct ] || after=$(ticks "${main[$name]}")
  [ "$3" = 1 ] || return 0
  [ "$failed" = 0 ] || echo "  $1 $name: transactions failed" >&2
  awk -v key="$1 $name" -v tps="${tps:-0}" -v t=$((after - before)) -v hz="$hz" -v n="${processed:-0}" -v failed="$failed" \
    'BEGIN { print key, tps, (n > 0 ? t / hz * 1e6 / n : 0), failed }' >>"$rounds"
}

# Each round begins with connects, and each case with a short round that is not counted; idle clients take a minute.
slots=0 begun=$SECONDS # seconds of one round of everything
for case in $CASES; do
  [ "${case#*:}" = idle ] || slots=$((slots + $(contestants "${case%%:*}" "${case#*:}" | wc -w) * (LENGTH + 1 + ${case%%:*} / 100)))
done
fit=$(((LIMIT - begun - 90) / (slots + (slots == 0)) - 1))
if [ "$ROUNDS" -gt "$fit" ]; then
  ROUNDS=$((fit > 1 ? fit : 1))
  echo "in $LIMIT s $ROUNDS rounds of each case fit" >&2
fi

printf '%s rounds of %s s; proxy on CPU %s, load on %s, PostgreSQL on %s; pool %s\n' \
  "$ROUNDS" "$LENGTH" "$proxy_cpus" "$load_cpus" "$server_cpus" "$POOL"
: >"$rounds"
for case in $CASES; do
  if [ "${case#*:}" = idle ]; then
    for name in pgbouncer banyan; do
      read -r bytes total < <(bench/idle_clients.py "${port[$name]}" "${case%%:*}" "${main[$name]}" "$PGPASSFILE")
      echo "$case $name $bytes $total idle" >>"$rounds"
    done
    continue
  fi
  names=$(contestants "${case%%:*}" "${case#*:}")
  for name in $names; do (LENGTH=1; round "$case" "$name" 0); done
  for _ in $(seq "$ROUNDS"); do
    for name in $names; do round "$case" "$name" 1; done
  done
  echo "done: $case" >&2
done

mkdir -p "$(dirname "$RESULTS")"
awk -v results="$RESULTS" -f bench/pgproxy.awk "$rounds"
echo "machine-readable: $RESULTS"
