#!/usr/bin/env bash
# What one proxied request costs, counted instead of timed, so that a busy machine does not blur it: instructions in the
# process (callgrind), system calls (strace), memory of an idle connection. bench/README.md says how to read it.
#
#   bench/instructions.sh                  nginx, HAProxy and Banyan, 1 KB answers
#   NAMES=banyan REQUESTS=2000 PROFILE=/some/file bench/instructions.sh     also keeps Banyan's callgrind profile
#   FILE=64k WHAT="instructions" bench/instructions.sh
set -euo pipefail
cd "$(dirname "$0")/.."

REQUESTS=${REQUESTS:-5000}
CONNECTIONS=${CONNECTIONS:-16}
IDLE=${IDLE:-512}
FILE=${FILE:-1k}
WHAT=${WHAT:-instructions syscalls memory}
PROFILE=${PROFILE:-}
FIRST_PORT=22800

# shellcheck source=bench/shared.sh
. bench/shared.sh
PACKAGES="$PACKAGES valgrind strace"
need nginx haproxy h2load openssl valgrind strace awk
configure 0

serve() { # name, wrapper…: starts the contestant, waits until it proxies
  local name=$1 _
  shift
  # shellcheck disable=SC2086 # words are meant
  start "$@" ${command[$name]}
  for _ in $(seq 300); do
    load "$name" 1 1 && return
    sleep 0.1
  done
  echo "bench: $name did not start" >&2
  tail -n 5 "$work"/log.* >&2
  exit 1
}
load() { # name, requests, connections; fails unless every one succeeded
  h2load --h1 -t1 -n "$2" -c "$3" "http://127.0.0.1:${port[$1]}/$FILE" 2>/dev/null | grep -q "$2 succeeded, 0 failed"
}

# Each measure sets $result.
instructions() { # name: instructions in the process per request, start-up and warm-up left out
  serve "$1" valgrind -q --tool=callgrind --callgrind-out-file="$work/callgrind.$1"
  load "$1" 500 "$CONNECTIONS"
  callgrind_control -z "$pid" >/dev/null 2>&1
  load "$1" "$REQUESTS" "$CONNECTIONS"
  callgrind_control -d "$pid" >/dev/null 2>&1
  finish "$pid"
  [ -z "$PROFILE" ] || cp "$work/callgrind.$1.1" "$PROFILE"
  result=$(awk -v n="$REQUESTS" '/^(totals|summary):/ { sum = $2 } END { printf "%d", sum / n }' "$work/callgrind.$1.1")
}

syscalls() { # name: calls per request, all and the most frequent
  serve "$1"
  load "$1" 500 "$CONNECTIONS"
  local proxy=$pid
  start strace -f -c -p "$proxy" -o "$work/strace"
  sleep 1
  load "$1" "$REQUESTS" "$CONNECTIONS"
  kill -INT "$pid" && wait "$pid" 2>/dev/null || true
  finish "$proxy"
  result=$(awk -v n="$REQUESTS" '$NF == "total" { all = $(NF - 1) ~ /^[0-9]+$/ && NF > 5 ? $4 : $(NF - 1) }
    $NF != "total" && $4 + 0 > n / 100 { list = list sprintf(" %s %.2f", $NF, $4 / n) }
    END { printf "%.2f:%s", all / n, list }' "$work/strace")
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
for name in $names; do
  for what in $WHAT; do
    result=
    "$what" "$name"
    printf '%-8s %-13s %s\n' "$name" "$what" "$result"
  done
done
