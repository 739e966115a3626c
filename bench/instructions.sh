#!/usr/bin/env bash
# What one proxied request costs, counted instead of timed, so that a busy machine does not blur it: instructions in the
# process (callgrind), system calls (strace), memory of an idle connection. bench/README.md says how to read it.
#
#   bench/instructions.sh                  nginx, HAProxy and Banyan, 1 KB answers
#   NAMES=banyan REQUESTS=2000 PROFILE=/some/file bench/instructions.sh     also keeps Banyan's callgrind profile
#   FILE=64k WHAT="instructions" bench/instructions.sh
set -euo pipefail
cd "$(dirname "$0")/.."

IDLE=${IDLE:-512}
FILE=${FILE:-1k}
FIRST_PORT=22800

# shellcheck source=bench/shared.sh
. bench/shared.sh
# shellcheck source=bench/counted.sh
. bench/counted.sh
need nginx haproxy h2load openssl valgrind strace awk
configure 0

load() { # name, requests, connections; fails unless every one succeeded
  h2load --h1 -t1 -n "$2" -c "$3" "http://127.0.0.1:${port[$1]}/$FILE" 2>/dev/null | grep -q "$2 succeeded, 0 failed"
}

memory() { # name: bytes in the process per idle connection that has had one answer
  serve "$1"
  load "$1" "$REQUESTS" "$CONNECTIONS"
  local proxy=$pid
  idle_bytes "$proxy" "${port[$1]}" "$IDLE"
  finish "$proxy"
  result=$bytes
}

# shellcheck disable=SC2086
start ${command[upstream]}
echo "$REQUESTS requests of $FILE over $CONNECTIONS kept connections, one worker; memory: $IDLE idle connections"
count_all
