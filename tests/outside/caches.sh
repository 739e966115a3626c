#!/usr/bin/env bash
# Runs a public test suite for HTTP caches (http-cache-tests, from npm) through the edge, with its own origin server behind.
#
#   tests/outside/caches.sh                 all ways: memory, disk, shield, beside
#   tests/outside/caches.sh memory          one of them
#   BANYAN=path/to/banyan tests/outside/caches.sh
#
# A required behaviour that is not there fails the run, unless tests/outside/divergences.txt names it with a reason; optional ones are
# counted. The suite's own records of other caches stand beside. Everything started is ended by process id, its folder removed.
set -euo pipefail
cd "$(dirname "$0")/../.."

SUITE_VERSION=0.4.5
WAYS=${*:-memory disk shield beside}
PEERS="varnish nginx squid trafficserver apache"

# shellcheck source=bench/shared.sh
. bench/shared.sh
# shellcheck source=tests/outside/compare.sh
. tests/outside/compare.sh
for program in node npm awk; do
  command -v "$program" >/dev/null || die "$program is missing. Install: apt-get install nodejs npm"
done
command -v "$BANYAN" >/dev/null || die "no $BANYAN: cargo build --release -p banyan"
BANYAN=$(realpath "$BANYAN")
SUITE=$(realpath "$CACHE")/http-cache-tests-$SUITE_VERSION

fetch() {
  [ ! -d "$SUITE" ] || return 0
  rm -rf "$SUITE.part" && mkdir -p "$SUITE.part"
  (cd "$SUITE.part" && timeout 300 npm pack --silent "http-cache-tests@$SUITE_VERSION" >/dev/null && tar -xzf ./*.tgz --strip-components=1 &&
    timeout 300 npm install --silent --omit=dev --ignore-scripts --no-audit --no-fund >/dev/null) || die "the suite was not fetched from npm"
  mv "$SUITE.part" "$SUITE"
}

origin() { # sets $origin, its port
  free_port && origin=$free
  (
    cd "$SUITE"
    exec env npm_config_protocol=http npm_config_port="$origin" npm_config_pidfile="$work/origin.pid" node --no-warnings server/server.mjs
  ) >"$work/origin.log" 2>&1 &
  pids+=("$!")
  wait_port "$origin" "the suite's origin"
}

settings() { # way
  case $1 in
    memory) echo 'cache = { profile = "rfc" }' ;;
    disk) echo 'cache = { profile = "rfc", memory = "1MiB", disk = "64MiB" }' ;;
    shield) echo 'cache = { profile = "rfc", shield = "edge" }' ;;
    beside) echo 'cache = { profile = "rfc" }' ;;
  esac
}

config() { # way, port of the edge, port of the other edge
  cat <<TOML
version = 1
name = "caches"
[process.web]
command = "sleep infinity"
count = 0
[edge]
port = $2
access_log = false
$(settings "$1")
[edge.limits]
connections_per_ip = 0
new_per_ip = 0
[origin.suite]
url = "http://127.0.0.1:$origin"
[[route]]
prefix = "/"
origin = "suite"
TOML
  case $1 in
    shield) printf '[edge.place.south]\nport = %s\n' "$3" ;;
    beside) printf '[edge.place.south]\nport = %s\nbeside = "edge"\n' "$3" ;;
  esac
}

# The suite's client asks the last edge: what it does not keep itself it gets through the others.
run_way() { # way; leaves verdicts
  local way=$1 out=$work/results/$1 edge other asked
  mkdir -p "$out" "$work/$way"
  free_port && edge=$free
  free_port && other=$free
  config "$way" "$edge" "$other" >"$work/$way/banyan.toml"
  case $way in shield | beside) asked=$other ;; *) asked=$edge ;; esac
  (cd "$work/$way" && exec "$BANYAN" --config banyan.toml up) >"$out/log" 2>&1 &
  pids+=("$!")
  stop_with[$!]=INT
  cp "$out/log" "$work/log.0" 2>/dev/null || true
  wait_port "$asked" "banyan ($way)"
  (cd "$SUITE" && npm_config_base="http://127.0.0.1:$asked" npm_package_config_id="" timeout 600 node --no-warnings cli.mjs) >"$out/results.json"
  node tests/outside/caches.mjs "$SUITE" "$out/results.json" >"$out/verdicts"
  [ -s "$out/verdicts" ] || die "the suite did not run ($way)"
  kill -INT "${pids[-1]}" && wait "${pids[-1]}" || true
}

counted() { # verdicts: required ok, required, optional ok, optional
  awk '{ n[$1]++; if ($3 == "ok") ok[$1]++ } END { print ok["required"] + 0, n["required"], ok["optimal"] + 0, n["optimal"] }' "$1"
}

judge() { # way
  local verdicts=$work/results/$1/verdicts new=0 id verdict reason kept=$CACHE/results
  mkdir -p "$kept" && rm -rf "${kept:?}/caches.$1" && cp -r "$work/results/$1" "$kept/caches.$1"
  while read -r _ id verdict; do
    reason=$(known caches "$id")
    if [ -n "$reason" ]; then
      printf '  differs, known   %-42s %s\n' "$id" "$reason"
    else
      printf '  %-16s %-42s %s\n' "$verdict" "$id" "$kept/caches.$1"
      new=$((new + 1))
    fi
  done < <(grep '^required ' "$verdicts" | grep -v ' ok$' || true)
  # shellcheck disable=SC2046 # four words are meant
  printf 'caches, %s: %s of %s required behaviours, %s of %s optional ones; %s new differences\n' "$1" $(counted "$verdicts") "$new"
  [ "$new" = 0 ]
}

peers() { # what the suite's authors recorded of others, by the same measure
  local peer
  for peer in $PEERS; do
    node tests/outside/caches.mjs "$SUITE" "$SUITE/results/$peer.json" >"$work/$peer"
    # shellcheck disable=SC2046
    printf '  as recorded by the suite  %-14s %s of %s required, %s of %s optional\n' "$peer" $(counted "$work/$peer")
  done
}

fetch
say "http-cache-tests $SUITE_VERSION"
origin
failed=0
for way in $WAYS; do
  say "through the edge: $way"
  run_way "$way"
  judge "$way" || failed=1
done
peers
exit "$failed"
