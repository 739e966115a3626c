#!/usr/bin/env bash
# Runs the test suite of a PostgreSQL driver twice, straight to a server and through Banyan's proxy, and compares the results.
#
#   tests/outside/drivers.sh                psycopg2
#   BANYAN=path/to/banyan MODE=session tests/outside/drivers.sh
#
# A test that fails both ways says nothing about the proxy. One that fails only through it fails the run, unless
# tests/outside/divergences.txt names it with a reason. No suite is kept here: drivers and suites come from PyPI, into
# target/outside. Everything started is ended by process id, its folder removed.
set -euo pipefail
cd "$(dirname "$0")/../.."

SUITES=${*:-psycopg2}
MODE=${MODE:-transaction}
POOL=20
FIRST_PORT=21945
declare -A VERSIONS=([psycopg2]=2.9.10)
declare -A TESTS=([psycopg2]=tests)

# shellcheck source=bench/shared.sh
. bench/shared.sh
# shellcheck source=bench/postgres.sh
. bench/postgres.sh
# shellcheck source=tests/outside/compare.sh
. tests/outside/compare.sh
for program in python3 psql pg_config "$PROGRAMS/postgres"; do
  command -v "$program" >/dev/null || die "$program is missing. Install: apt-get install python3-venv postgresql-$VERSION libpq-dev"
done
command -v "$BANYAN" >/dev/null || die "no $BANYAN: cargo build --release -p banyan"
VENV=$(realpath "$CACHE")/venv

fetch() { # suite: the driver, and the source that holds its tests
  local suite=$1 version=${VERSIONS[$1]} package=$1
  [ "$suite" != psycopg2 ] || package=psycopg2-binary
  [ -x "$VENV/bin/pip" ] || python3 -m venv "$VENV"
  timeout 300 "$VENV/bin/pip" -q install pytest "$package==$version"
  [ -d "$CACHE/$suite-$version" ] && return
  (cd "$CACHE" && timeout 300 "$VENV/bin/pip" -q download --no-deps --no-binary :all: "$suite==$version" && tar -xf "$suite-$version.tar.gz")
}

run_suite() { # suite, way, port
  local suite=$1 out=$work/results/$1.$2 port=$3 tests=()
  read -ra tests <<<"${TESTS[$suite]}"
  mkdir -p "$out"
  (
    cd "$CACHE/$suite-${VERSIONS[$suite]}"
    PSYCOPG2_TESTDB=$PGDATABASE PGPORT=$port PGPASSWORD=$password timeout "${LIMIT:-900}" \
      "$VENV/bin/pytest" -p no:cacheprovider -q -rA --tb=line "${tests[@]}" >"$out/log" 2>&1 || true
  )
  sed -nE 's/^(PASSED|FAILED|ERROR) ([^ ]+).*/\2 \1/p' "$out/log" | sed 's/ PASSED$/ ok/' | sort -u >"$out/verdicts"
  [ -s "$out/verdicts" ] || { tail -n 20 "$out/log" >&2; die "the suite of $suite did not run ($2)"; }
}

for suite in $SUITES; do
  [ -n "${VERSIONS[$suite]:-}" ] || die "unknown suite $suite: psycopg2"
  say "$suite ${VERSIONS[$suite]} from PyPI"
  fetch "$suite"
done
start_server postgres -- "fsync = off" "max_connections = 120" "max_prepared_transactions = 10"
PGPORT=$server_port psql -qX -c 'CREATE EXTENSION IF NOT EXISTS hstore'
start_proxy postgres "$MODE"
failed=0
for suite in $SUITES; do
  say "$suite, straight"
  run_suite "$suite" direct "$server_port"
  say "$suite, through the proxy"
  run_suite "$suite" proxied "${port[banyan]}"
  compare "$suite" "$MODE" || failed=1
done
exit "$failed"
