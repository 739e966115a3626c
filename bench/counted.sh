# shellcheck shell=bash
# What one request through a contestant costs, counted: instructions in its process (callgrind), system calls (strace). Sourced
# after shared.sh by a script that has `load NAME REQUESTS CONNECTIONS` (fails unless all were answered) and `memory NAME`.

REQUESTS=${REQUESTS:-5000}
CONNECTIONS=${CONNECTIONS:-16}
WHAT=${WHAT:-instructions syscalls memory}
PROFILE=${PROFILE:-}
PACKAGES="$PACKAGES valgrind strace"
# The contestant may run as another user.
mkdir -m 1777 "$work/counted"

serve() { # name, wrapper…: starts the contestant, waits until it proxies
  local name=$1 _
  shift
  # shellcheck disable=SC2086 # words are meant
  start ${as_user[$name]:-} "$@" ${command[$name]}
  for _ in $(seq 300); do
    load "$name" 1 1 && return
    sleep 0.1
  done
  echo "bench: $name did not start" >&2
  tail -n 5 "$work"/log.* >&2
  exit 1
}

# Each measure sets $result.
instructions() { # name: instructions in the process per request, start-up and warm-up left out
  serve "$1" valgrind -q --tool=callgrind --callgrind-out-file="$work/counted/callgrind.$1"
  load "$1" 500 "$CONNECTIONS"
  # shellcheck disable=SC2206 # words are meant
  local control=(${as_user[$1]:-} callgrind_control)
  "${control[@]}" -z "$pid" >/dev/null 2>&1
  load "$1" "$REQUESTS" "$CONNECTIONS"
  "${control[@]}" -d "$pid" >/dev/null 2>&1
  finish "$pid"
  [ -z "$PROFILE" ] || [ "$1" != banyan ] || cp "$work/counted/callgrind.$1.1" "$PROFILE"
  result=$(awk -v n="$REQUESTS" '/^(totals|summary):/ { sum = $2 } END { printf "%d", sum / n }' "$work/counted/callgrind.$1.1")
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

count_all() { # every measure of every contestant
  local name what
  for name in $names; do
    for what in $WHAT; do
      result=
      "$what" "$name"
      printf '%-10s %-13s %s\n' "$name" "$what" "$result"
    done
  done
}
