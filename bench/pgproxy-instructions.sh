#!/usr/bin/env bash
# What one transaction through the PostgreSQL proxy costs, counted instead of timed: instructions in the process (callgrind),
# system calls (strace), memory of an idle client. bench/README.md says how to read it.
#
#   bench/pgproxy-instructions.sh                       PgBouncer and Banyan, pgbench -S by the simple protocol
#   CONNECTIONS=64 KIND=prepared bench/pgproxy-instructions.sh
#   OBSERVED=1 NAMES=banyan WHAT=instructions bench/pgproxy-instructions.sh             while the role observe takes traces
#   NAMES=banyan WHAT=instructions PROFILE=/some/file bench/pgproxy-instructions.sh     also keeps Banyan's callgrind profile
#
# KIND: simple, prepared (PgBouncer then in session mode: 1.18 keeps no prepared statements in transaction mode), tpcb, connect.
set -euo pipefail
cd "$(dirname "$0")/.."

KIND=${KIND:-simple}
IDLE=${IDLE:-512}
FIRST_PORT=22900
[ "$KIND" = prepared ] && NAMES=${NAMES:-session banyan} || NAMES=${NAMES:-pgbouncer banyan}

# shellcheck source=bench/shared.sh
. bench/shared.sh
# shellcheck source=bench/counted.sh
. bench/counted.sh
# shellcheck source=bench/postgres.sh
. bench/postgres.sh
need pgbouncer valgrind strace awk python3 "$PROGRAMS/postgres" "$PROGRAMS/pgbench"

load() { # name, requests, connections; fails unless every one succeeded
  local connections=$3
  [ "$connections" -le "$2" ] || connections=$2
  pgbench "$1" "$connections" "$KIND" -t $(($2 / connections))
}

memory() { # name: bytes in the process per idle client that has had one answer
  serve "$1"
  result=$(bench/idle_clients.py "${port[$1]}" "$IDLE" "$pid" "$PGPASSFILE")
  finish "$pid"
}

start_server bench -- "shared_buffers = 64MB" "max_connections = 200" "synchronous_commit = off"
PGPORT=$server_port "$PROGRAMS/pgbench" -i -q >/dev/null 2>&1
before_it transaction
if [ "${OBSERVED:-0}" = 1 ]; then
  mkdir -p "$work/state/metrics"
  observer "$work/state"
  # shellcheck disable=SC2086 # words are meant
  start ${command[observer]}
  wait_observer "$work/state"
fi
echo "$REQUESTS transactions ($KIND) over $CONNECTIONS kept connections, pool $POOL; memory: bytes per idle client of $IDLE, and MiB in all"
count_all
