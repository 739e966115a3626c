#!/usr/bin/env bash
# What observing costs: the edge without traces and without the role observe, beside the same edge with both as they are by
# default (the role collects its metrics and keeps its traces, on the same cores). Fails if throughput falls below LEAST.
# bench/README.md says how to read it.
#
#   bench/observe.sh              9 rounds of 3 s, alternating: two minutes
#   ROUNDS=5 SECONDS_PER_ROUND=2 LEAST=0.9 bench/observe.sh
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-9}
LENGTH=${SECONDS_PER_ROUND:-3}
CASES=${CASES:-64:1k 512:1k}
LEAST=${LEAST:-0.95}

# shellcheck source=bench/shared.sh
. bench/shared.sh
PACKAGES="nginx-light wrk util-linux"
need nginx wrk taskset awk
pin_cpus
configure "$workers"

declare -A main
# shellcheck disable=SC2086 # words are meant
{
  start taskset -c "$load_cpus" ${command[upstream]}
  start taskset -c "$proxy_cpus" ${command[banyan]}
  main[banyan]=$pid
  start taskset -c "$proxy_cpus" ${command[observed]}
  main[observed]=$pid
  start taskset -c "$proxy_cpus" ${command[observer]}
  main[observer]=$pid
}
for name in banyan observed; do wait_port "${port[$name]}" "$name"; done
wait_observer "$work/observed"

generate() { # case, name
  with_wrk "${1%:*}" "http://127.0.0.1:${port[$2]}/${1#*:}"
}

rounds=$work/rounds
: >"$rounds"
echo "edge on CPU $proxy_cpus ($workers workers), load and upstream on CPU $load_cpus of $cores; $ROUNDS rounds of $LENGTH s, alternating"
observer_before=$(ticks "${main[observer]}")
for case in $CASES; do
  for name in banyan observed; do (LENGTH=1; round "$case" "$name" 0); done
  for turn in $(seq "$ROUNDS"); do
    # Who begins changes, so that a machine that slows down is fair to both.
    if [ $((turn % 2)) = 0 ]; then order="banyan observed"; else order="observed banyan"; fi
    for name in $order; do round "$case" "$name" 1; done
  done
done
# A role that saw nothing would cost nothing.
[ -n "$(find "$work/observed/observe/traces" -type f -size +0 2>/dev/null)" ] || {
  echo "no trace was kept: nothing was observed" >&2
  exit 1
}
observer_s=$(awk -v ticks=$(($(ticks "${main[observer]}") - observer_before)) -v hz="$hz" 'BEGIN { printf "%.2f", ticks / hz }')

awk -v least="$LEAST" -v observer="$observer_s" '
  function median(list, n,   i, j, t) {
    for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  }
  function column(key, field,   i, list) {
    for (i = 1; i <= count[key]; i++) list[i] = value[key, i, field]
    return median(list, count[key])
  }
  {
    if (!($1 in seen)) { seen[$1]; cases[++c] = $1 }
    key = $1 " " $2; i = ++count[key]; value[key, i, 3] = $3; value[key, i, 4] = $4; value[key, i, 6] = $6; errors += $8
    if ($9 != "clean") disturbed++
  }
  END {
    worst = 9
    printf "%-10s %14s %14s %8s %14s %14s %8s\n", "case", "requests/s", "observed", "ratio", "CPU s/100k", "observed", "ratio"
    for (k = 1; k <= c; k++) {
      a = cases[k] " banyan"; b = cases[k] " observed"
      rate = column(b, 3) / column(a, 3); if (rate < worst) worst = rate
      printf "%-10s %14d %14d %8.3f %14.3f %14.3f %8.3f\n", cases[k], column(a, 3), column(b, 3), rate, column(a, 4), column(b, 4), column(b, 4) / column(a, 4)
    }
    printf "observe itself used %s s of processor time; %d errors; %d of %d rounds disturbed\n", observer, errors, disturbed, NR
    if (errors || worst < least) { printf "less than %s of the throughput, or errors\n", least; exit 1 }
  }' "$rounds"
