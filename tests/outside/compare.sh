# shellcheck shell=bash
# An outside suite straight and through the proxy: what passes one way only. Sourced after bench/shared.sh and bench/postgres.sh.
#
# A run leaves $work/results/SUITE.direct/verdicts and SUITE.proxied/verdicts: lines of a test's name and `ok` or something else.

DIVERGENCES=tests/outside/divergences.txt
CACHE=${CARGO_TARGET_DIR:-target}/outside
mkdir -p "$CACHE"

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

start_proxy() { # database, mode of its pool
  PGDATABASE=$1 before_it "$2"
  # shellcheck disable=SC2086 # words are meant
  start ${command[banyan]}
  proxy=$pid
  wait_port "${port[banyan]}" banyan
}

known() { # suite, test: the reason why it may differ
  awk -v suite="$1" -v name="$2" '$1 == suite && $2 == name { $1 = $2 = ""; print substr($0, 3); exit }' "$DIVERGENCES"
}

compare() { # suite, mode of the proxy's pool
  local suite=$1 mode=$2 name total good new=0 reason kept=$CACHE/results
  total=$(wc -l <"$work/results/$suite.direct/verdicts")
  good=$(grep -c ' ok$' "$work/results/$suite.direct/verdicts" || true)
  mkdir -p "$kept"
  rm -rf "${kept:?}/$suite.direct" "$kept/$suite.proxied"
  cp -r "$work/results/$suite.direct" "$work/results/$suite.proxied" "$kept/"
  while read -r name; do
    reason=$(known "$suite" "$name")
    if [ -n "$reason" ]; then
      printf '  differs, known   %-28s %s\n' "$name" "$reason"
    else
      printf '  DIFFERS          %-28s %s\n' "$name" "$kept/$suite.proxied"
      new=$((new + 1))
    fi
  done < <(comm -23 <(sed -n 's/ ok$//p' "$work/results/$suite.direct/verdicts") <(sed -n 's/ ok$//p' "$work/results/$suite.proxied/verdicts"))
  printf '%s: %s of %s tests pass straight, %s through the proxy (%s mode); %s new differences\n' "$suite" "$good" "$total" \
    "$(grep -c ' ok$' "$work/results/$suite.proxied/verdicts" || true)" "$mode" "$new"
  [ "$new" = 0 ]
}
