#!/usr/bin/env bash
# Runs the test suites of PostgreSQL drivers, and of what stands on them, twice: straight to a server and through Banyan's proxy.
#
#   tests/outside/drivers.sh                all of them
#   tests/outside/drivers.sh psycopg2       one of them
#   ONLY="test/dialect/postgresql" tests/outside/drivers.sh sqlalchemy
#   BANYAN=path/to/banyan MODE=session tests/outside/drivers.sh
#
# A test that fails both ways says nothing about the proxy. One that fails only through it fails the run, unless
# tests/outside/divergences.txt names it with a reason. No suite is kept here: drivers and suites come from PyPI, those of
# lib/pq and libpqxx from Debian (`apt-get source`), Rust's from crates.io, those for Node.js from npm, into target/outside. Drivers
# that are published without tests have a matrix of ours (tests/outside/matrix). Everything started is ended by process id, also
# when this is, its folder removed.
set -euo pipefail
cd "$(dirname "$0")/../.."

SUITES=${*:-psycopg2 pg8000 asyncpg sqlalchemy django psycopg pq pqxx tokio sea node-postgres postgres.js pg-pool pg-cursor pg-query-stream}
MODE=${MODE:-transaction}
POOL=20
FIRST_PORT=21945
declare -A VERSIONS=(
  [psycopg2]=2.9.10 [pg8000]=1.31.2 [asyncpg]=0.30.0 [sqlalchemy]=2.0.36 [django]=5.1.4 [psycopg]=3.2.3
  [pq]=1.10.7 [pqxx]=6.4.5 [tokio]=0.7.18 [sea]=1.1.20
  [node-postgres]=8.16.3 [postgres.js]=3.4.7 [pg-pool]=3.7.1 [pg-cursor]=2.12.1 [pg-query-stream]=3.1.1
)
# Left out: pg8000's log-ins, which want a pg_hba.conf of their own, and its measurements.
declare -A TESTS=(
  [psycopg2]=tests
  [pg8000]="test --ignore-glob=*/auth --ignore-glob=*benchmarks* --ignore=test/test_readme.py"
  [asyncpg]=tests
  [sqlalchemy]="test/dialect/postgresql test/dialect/test_suite.py test/engine/test_transaction.py test/engine/test_execute.py"
  [django]="postgres_tests transactions transaction_hooks basic aggregation annotations bulk_create select_for_update introspection
    lookup get_or_create delete update expressions"
  [psycopg]=test_psycopg.py
  [pq]=./...
)
# What the tests import beside the driver, and what the sources say of themselves is made with.
declare -A NEEDS=(
  [psycopg2]=psycopg2-binary==2.9.10
  [pg8000]="pg8000==1.31.2 pytz pytest-mock pytest-benchmark"
  [asyncpg]="asyncpg==0.30.0 distro"
  [sqlalchemy]="psycopg[binary]==3.2.3 greenlet typing_extensions"
  [django]="psycopg[binary]==3.2.3 asgiref sqlparse jinja2"
  [psycopg]="psycopg[binary]==3.2.3 psycopg-pool==3.2.4"
)

# shellcheck source=bench/shared.sh
. bench/shared.sh
# shellcheck source=bench/postgres.sh
. bench/postgres.sh
# shellcheck source=tests/outside/compare.sh
. tests/outside/compare.sh
# shellcheck source=tests/outside/debian.sh
. tests/outside/debian.sh
# shellcheck source=tests/outside/crates.sh
. tests/outside/crates.sh
# shellcheck source=tests/outside/node.sh
. tests/outside/node.sh
for program in python3 psql pg_config "$PROGRAMS/postgres"; do
  command -v "$program" >/dev/null || die "$program is missing. Install: apt-get install python3-venv postgresql-$VERSION libpq-dev"
done
command -v "$BANYAN" >/dev/null || die "no $BANYAN: cargo build --release -p banyan"
CACHE=$(realpath "$CACHE")
VENV=$CACHE/venv
NODE=$CACHE/node

fetch() { # suite: the driver, and the source that holds its tests; sets source[SUITE]
  local suite=$1 version=${VERSIONS[$1]}
  case $suite in
    pq | pqxx) "fetch_$suite" "$version" ;;
    tokio) fetch_crate tokio tokio-postgres "$version" ;;
    sea) fetch_crate sea sea-orm "$version" ;;
    node-postgres | postgres.js | pg-*) fetch_node "$suite" ;;
    *) fetch_python "$suite" "$version" ;;
  esac
}

fetch_python() { # suite, version
  local suite=$1 version=$2 needs=()
  source[$suite]=$CACHE/$suite-$version
  [ -x "$VENV/bin/pip" ] || python3 -m venv "$VENV"
  read -ra needs <<<"${NEEDS[$suite]}"
  # The last five: with them a source package is not built in a place of its own, for which pip would fetch them each time.
  timeout 300 "$VENV/bin/pip" -q install pytest "${needs[@]}" setuptools wheel Cython hatchling versioningit
  if [ "$suite" = psycopg ]; then
    mkdir -p "${source[$suite]}"
    cp tests/outside/matrix/test_psycopg.py "${source[$suite]}"
  fi
  [ ! -d "${source[$suite]}" ] || return 0
  mkdir -p "$CACHE/archives"
  timeout 300 "$VENV/bin/pip" -q download --no-deps --no-build-isolation --no-binary :all: -d "$CACHE/archives" "$suite==$version"
  mkdir -p "${source[$suite]}.part"
  tar -xf "$(find "$CACHE/archives" -iname "$suite-$version.tar.gz")" -C "${source[$suite]}.part" --strip-components=1
  mv "${source[$suite]}.part" "${source[$suite]}"
}

fetch_pq() { # version
  source[pq]=$CACHE/pq-$1
  [ -d "${source[pq]}" ] || debian_source golang-github-lib-pq "${source[pq]}"
}

# A C++ library: built once, in a minute or two, with its one program of all tests.
fetch_pqxx() { # version
  source[pqxx]=$CACHE/pqxx-$1
  [ -d "${source[pqxx]}" ] || debian_source libpqxx "${source[pqxx]}"
  [ -x "${source[pqxx]}/test/runner" ] || (
    cd "${source[pqxx]}"
    ./configure --disable-shared --disable-documentation CXXFLAGS="-O0 -std=c++11 -w"
    make -j "$(nproc)" -C include
    make -j "$(nproc)" -C src
    make -j "$(nproc)" -C test runner
  ) >"$CACHE/pqxx-$1.log" 2>&1 || die "libpqxx was not built: $CACHE/pqxx-$1.log"
}

# pytest prints a line per test at the end.
with_pytest() { # log, options and tests…
  local log=$1
  shift
  timeout "${LIMIT:-1800}" "$VENV/bin/pytest" -p no:cacheprovider -q -rpfE --tb=short "$@" >"$log" 2>&1 || true
  sed -nE 's/^(PASSED|FAILED|ERROR) ([^ ]+).*/\2 \1/p' "$log" | sed 's/ PASSED$/ ok/' | sort -u
}

# Django's own runner prints `name (module.Class.name) ... ok`, sometimes with the test's first comment between.
with_django() { # log, port, tests…
  local log=$1 port=$2
  shift 2
  cat >tests/test_postgres.py <<SETTINGS
import os

def database(name, port):
    return {
        "ENGINE": "django.db.backends.postgresql", "NAME": name, "USER": "postgres", "HOST": "127.0.0.1",
        "PORT": port, "PASSWORD": os.environ["PGPASSWORD"], "TEST": {"NAME": name},
    }

# A proxy serves one database; the second one is there for tests of several.
DATABASES = {"default": database("$PGDATABASE", $port), "other": database("django_other", $server_port)}
SECRET_KEY = "tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
SETTINGS
  (cd tests && PYTHONPATH=.. timeout "${LIMIT:-1800}" "$VENV/bin/python" runtests.py --settings=test_postgres --parallel=1 \
    --keepdb --noinput -v 2 "$@" >"$log" 2>&1) || true
  awk '{
    if (match($0, /^[a-z_A-Z0-9]+ \([A-Za-z_0-9.]+\)/)) { name = $2; gsub(/[()]/, "", name) }
    if (name != "" && match($0, /\.\.\. (ok|FAIL|ERROR)$/)) { print name, $NF; name = "" }
  }' "$log" | sort -u
}

with_go() { # log, tests…
  local log=$1
  shift
  PGSSLMODE=disable timeout "${LIMIT:-600}" go test -count=1 -p 1 -v "$@" >"$log" 2>&1 || true
  sed -nE 's/^ *--- (PASS|FAIL): ([^ ]+) .*/\2 \1/p' "$log" | sed 's/ PASS$/ ok/' | sort -u
}

# Each test is named as it begins, and again if it fails.
with_pqxx() { # log
  PGSSLMODE=disable timeout "${LIMIT:-600}" test/runner >"$1" 2>&1 || true
  awk '/^Running: / { name = $0; sub(/^Running: /, "", name); gsub(/ /, "_", name); verdict[name] = "ok" }
    /^FAILED: / { verdict[name] = "FAILED" }
    END { for (name in verdict) print name, verdict[name] }' "$1" | sort -u
}

# A trap waits for what runs in front: what takes long runs behind.
running=""
end_all() { # a process and what it has started
  local child
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do end_all "$child"; done
  kill "$1" 2>/dev/null || true
}
trap '[ -z "$running" ] || end_all "$running"; exit 130' INT TERM

run_suite() { # suite, way, port
  local suite=$1 out=$work/results/$1.$2 port=$3 tests=()
  read -ra tests <<<"$(tr '\n' ' ' <<<"${ONLY:-${TESTS[$suite]:-}}")"
  mkdir -p "$out"
  # What the last one left; and what the suites ask for to be there.
  PGOPTIONS='-c client_min_messages=warning' PGPORT=$server_port psql -qX -c 'DROP SCHEMA IF EXISTS public CASCADE' -c 'CREATE SCHEMA public' \
    -c 'CREATE EXTENSION hstore' -c 'CREATE EXTENSION citext' -c 'CREATE EXTENSION ltree'
  within "$suite" "$port" "$out/log" "${tests[@]}" >"$out/verdicts" &
  running=$!
  wait "$running"
  running=""
  [ -s "$out/verdicts" ] || { tail -n 20 "$out/log" >&2; die "the suite of $suite did not run ($2)"; }
}

within() { # suite, port, log, tests…
  local suite=$1 port=$2 log=$3
  shift 3
  trap - EXIT INT TERM
  cd "${source[$suite]}"
  export PGPORT=$port PGPASSWORD=$password PSYCOPG2_TESTDB=$PGDATABASE
  case $suite in
    django) with_django "$log" "$port" "$@" ;;
    pq) with_go "$log" "$@" ;;
    pqxx) with_pqxx "$log" ;;
    tokio | sea) "with_$suite" "$log" "$port" ;;
    node-postgres | postgres.js) with_node "$log" "$suite.mjs" ;;
    pg-*) with_mocha "$log" ;;
    sqlalchemy) with_pytest "$log" --dburi "postgresql+psycopg://postgres@127.0.0.1:$port/$PGDATABASE" --maxfail=10000 "$@" ;;
    *) with_pytest "$log" "$@" ;;
  esac
}

skip() { # program, package, suites…
  local suite
  ! command -v "$1" >/dev/null || return 0
  for suite in "${@:3}"; do
    [[ " $SUITES " == *" $suite "* ]] || continue
    say "skipped: $suite, $1 is missing. Install: apt-get install $2"
    SUITES=$(tr " " "\n" <<<"$SUITES" | grep -vx "$suite" || true)
    SUITES=${SUITES//$'\n'/ }
  done
}
skip go golang-go pq
skip npm npm node-postgres postgres.js pg-pool pg-cursor pg-query-stream
declare -A source
for suite in $SUITES; do
  [ -n "${VERSIONS[$suite]:-}" ] || die "unknown suite $suite: one of ${!VERSIONS[*]}"
  say "$suite ${VERSIONS[$suite]}"
  fetch "$suite"
done
start_server postgres -- "fsync = off" "max_connections = 120" "max_prepared_transactions = 10"
PGPORT=$server_port psql -qX -c 'CREATE DATABASE django_other' -c 'CREATE SCHEMA test_schema' -c 'CREATE SCHEMA test_schema_2'
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
