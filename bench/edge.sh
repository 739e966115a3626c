#!/usr/bin/env bash
# Compares Banyan's edge with nginx and HAProxy: CPU per request, requests/s, latency, memory. bench/README.md says how.
#
#   bench/edge.sh                 7 rounds of 3 s per case, every case
#   ROUNDS=3 SECONDS_PER_ROUND=2 bench/edge.sh
#   BANYAN=path/to/banyan CASES="http:64:1k tls:64:1k" IDLE=0 bench/edge.sh
#
# Cases: KIND:CONNECTIONS:FILE. Kinds: http, tls (HTTP/1.1 within TLS), h2 (within TLS; CONNECTIONSxSTREAMS), handshakes
# (a new TLS connection for each request), half (http at half of what the slowest contestant can do). IDLE: how many idle
# connections the memory is measured with; 0: not at all.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-7}
LENGTH=${SECONDS_PER_ROUND:-3}
CASES=${CASES:-http:64:1k http:512:1k http:64:64k http:512:64k tls:64:1k tls:64:64k h2:32x8:1k h2:32x8:64k handshakes:64:1k half:64:1k}
IDLE=${IDLE:-10000}
RESULTS=${RESULTS:-${CARGO_TARGET_DIR:-target}/bench.tsv}

# shellcheck source=bench/shared.sh
. bench/shared.sh
need nginx haproxy wrk h2load openssl taskset awk

pin_cpus
configure "$workers"

declare -A main
# shellcheck disable=SC2086 # words are meant
{
  start taskset -c "$load_cpus" ${command[upstream]}
  for name in $names; do
    start taskset -c "$proxy_cpus" ${command[$name]}
    main[$name]=$pid
  done
}
for name in $names; do
  wait_port "${port[$name]}" "$name"
  wait_port "${tls_port[$name]}" "$name"
done

# Generators print as `with_wrk` does.
with_h2load() { # URL, more…; latencies from its log
  local url=$1 log=$work/h2load.log
  shift
  rm -f "$log"
  taskset -c "$load_cpus" h2load -t"$workers" -D "$LENGTH" --log-file="$log" "$@" "$url" >"$work/h2load.out" 2>&1
  sort -n -k3 "$log" 2>/dev/null | awk -v length_s="$LENGTH" '
    FNR == NR && FILENAME != "-" { if (/^requests:/) { for (i = 1; i < NF; i++) if ($(i + 1) ~ /^(failed|errored|timeout)/) errors += $i } next }
    { took[++n] = $3; if ($2 != 200) errors++ }
    END { if (n) print n / length_s, n, took[int(n * 0.5) + 1] / 1000, took[int(n * 0.99) + 1] / 1000, errors + 0; else print 0, 0, "-", "-", 1 }' \
    "$work/h2load.out" -
}

# Half of what the slowest can do: measured once, before the first such case.
half_rate() {
  local name rate
  if [ -z "${RATE:-}" ]; then
    RATE=1000000000
    for name in $names; do
      rate=$(with_wrk 64 "http://127.0.0.1:${port[$name]}/1k" | awk '{ printf "%d", $1 / 2 }')
      [ "$rate" -ge "$RATE" ] || RATE=$rate
    done
  fi
}

generate() { # case, name
  local kind connections file plain tls
  IFS=: read -r kind connections file <<<"$1"
  plain=http://127.0.0.1:${port[$2]}/$file tls=https://127.0.0.1:${tls_port[$2]}/$file
  case $kind in
    http) with_wrk "$connections" "$plain" ;;
    tls) with_wrk "$connections" "$tls" ;;
    handshakes) with_wrk "$connections" "$tls" -H "Connection: close" ;;
    h2) with_h2load "$tls" -c "${connections%x*}" -m "${connections#*x}" ;;
    half) with_h2load "$plain" --h1 -c "$connections" --rps=$((RATE / connections)) ;;
    *) echo "bench: no such kind of case: $1" >&2; exit 1 ;;
  esac
}

rounds=$work/rounds
: >"$rounds"
echo "proxy on CPU $proxy_cpus ($workers workers), load and upstream on CPU $load_cpus of $cores; $ROUNDS rounds of $LENGTH s, interleaved"
[ "$cores" -ge 4 ] || echo "only $cores cores: 1 + 1, so the load generator may be the limit"
"$BANYAN" version 2>/dev/null | head -1 || true
nginx -v 2>&1 | sed 's/.*: //'; haproxy -v | head -1 | cut -d' ' -f1-3
for case in $CASES; do
  [ "${case%%:*}" != half ] || half_rate
  for name in $names; do (LENGTH=1; round "$case" "$name" 0); done
  for _ in $(seq "$ROUNDS"); do
    for name in $names; do round "$case" "$name" 1; done
  done
  echo "done: $case" >&2
done

idle=$work/idle
: >"$idle"
if [ "$IDLE" -gt 0 ]; then
  for name in $names; do
    idle_bytes "${main[$name]}" "${port[$name]}" "$IDLE"
    echo "$name $bytes" >>"$idle"
  done
fi

mkdir -p "$(dirname "$RESULTS")"
awk -v names="$names" -v rate="${RATE:-}" -v idle="$IDLE" -f bench/table.awk -v results="$RESULTS" "$rounds" "$idle"
echo "machine-readable: $RESULTS"
