#!/usr/bin/env bash
# What one proxied request costs, counted instead of timed, so that a busy machine does not blur it: instructions in the
# process (callgrind), system calls (strace), memory of an idle connection. bench/README.md says how to read it.
#
#   bench/instructions.sh                  nginx, HAProxy and Banyan, 1 KB answers
#   NAMES=banyan REQUESTS=2000 PROFILE=/some/file bench/instructions.sh     also keeps Banyan's callgrind profile
#   FILE=64k WHAT="instructions" bench/instructions.sh
#   NAMES="banyan observed" WHAT=instructions bench/instructions.sh          what traces and the role observe add
#   PROTOCOL=h2 WHAT="instructions syscalls" bench/instructions.sh          HTTP/2 within TLS, 4 connections of 8 streams
set -euo pipefail
cd "$(dirname "$0")/.."

IDLE=${IDLE:-512}
FILE=${FILE:-1k}
PROTOCOL=${PROTOCOL:-h1}
FIRST_PORT=22800

# shellcheck source=bench/shared.sh
. bench/shared.sh
# shellcheck source=bench/counted.sh
. bench/counted.sh
need nginx haproxy h2load openssl valgrind strace awk
configure 0

load() { # name, requests, connections; fails unless every one succeeded
  local url=http://127.0.0.1:${port[$1]} connections=$3 how=(--h1)
  [ "$PROTOCOL" = h1 ] || url=https://127.0.0.1:${tls_port[$1]} connections=$(($2 < 4 ? 1 : 4)) how=(-m 8)
  h2load "${how[@]}" -t1 -n "$2" -c "$connections" "$url/$FILE" 2>/dev/null | grep -q "$2 succeeded, 0 failed"
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
case " $names " in
  *" observed "*)
    # shellcheck disable=SC2086
    start ${command[observer]}
    wait_observer "$work/observed"
    ;;
esac
echo "$REQUESTS requests of $FILE over $CONNECTIONS kept connections, one worker; memory: $IDLE idle connections"
count_all
