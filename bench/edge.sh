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

cores=$(nproc)
if [ "$cores" -ge 4 ]; then
  proxy_cpus=0,1 load_cpus=2,3 workers=2
elif [ "$cores" -ge 2 ]; then
  proxy_cpus=0 load_cpus=1 workers=1
else
  echo "bench: needs at least 2 cores, one for the proxy and one for the load" >&2
  exit 1
fi
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

busy() { # user, nice and system ticks of the proxy's cores
  awk -v cpus="$proxy_cpus" 'BEGIN { n = split(cpus, c, ","); for (i = 1; i <= n; i++) want["cpu" c[i]] }
    $1 in want { sum += $2 + $3 + $4 } END { print sum }' /proc/stat
}

# Generators print: requests/s, requests, p50 ms, p99 ms (- where the generator does not say), errors.
with_wrk() { # connections, URL, more…
  local connections=$1 url=$2
  shift 2
  taskset -c "$load_cpus" wrk -t"$workers" -c"$connections" -d"${LENGTH}s" --latency "$@" "$url" | awk '
    function ms(t) { if (t ~ /us$/) return t / 1000; if (t ~ /ms$/) return t + 0; return t * 1000 }
    $1 == "50%" { p50 = ms($2) } $1 == "99%" { p99 = ms($2) }
    / requests in / { requests = $1 } /^Requests\/sec/ { rate = $2 }
    /Socket errors/ { gsub(",", ""); errors += $4 + $6 + $8 + $10 } /Non-2xx/ { errors += $NF }
    END { print rate + 0, requests + 0, p50, p99, errors + 0 }'
}
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

hz=$(getconf CLK_TCK)
rounds=$work/rounds
: >"$rounds"
round() { # case, name, kept?
  local name=$2 keep=$3 before after busy_before busy_after out
  before=$(ticks "${main[$name]}") busy_before=$(busy)
  out=$(generate "$1" "$name")
  after=$(ticks "${main[$name]}") busy_after=$(busy)
  [ "$keep" = 1 ] || return 0
  echo "$out" | awk -v key="$1 $name" -v cpu=$((after - before)) -v busy=$((busy_after - busy_before)) -v hz="$hz" \
    -v memory="$(memory_kb "${main[$name]}")" -v length_s="$LENGTH" '{
      foreign = (busy - cpu) / hz / length_s
      print key, $1, ($2 ? cpu / hz / $2 * 100000 : 0), $3, $4, memory / 1024, $5, (foreign > 0.15 ? "disturbed" : "clean")
    }' >>"$rounds"
}

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
