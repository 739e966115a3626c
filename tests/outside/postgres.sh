#!/usr/bin/env bash
# Runs PostgreSQL's own test suites twice, straight to a server and through Banyan's proxy, and compares the results.
#
#   tests/outside/postgres.sh                    regression suite, then isolation suite
#   tests/outside/postgres.sh regress            one of them
#   TESTS="test_setup boolean" tests/outside/postgres.sh regress
#   BANYAN=path/to/banyan PG_SOURCE=path/to/unpacked/source MODE=session tests/outside/postgres.sh
#
# A test that fails both ways says nothing about the proxy. One that fails only through it fails the run, unless
# tests/outside/divergences.txt names it with a reason. No suite is kept here: the source comes from Debian
# (`apt-get source`), into target/outside. Everything started is ended by process id, its folder removed.
set -euo pipefail
cd "$(dirname "$0")/../.."

SUITES=${*:-regress isolation}
MODE=${MODE:-}
POOL=60
FIRST_PORT=21930

# shellcheck source=bench/shared.sh
. bench/shared.sh
# shellcheck source=bench/postgres.sh
. bench/postgres.sh
# shellcheck source=tests/outside/compare.sh
. tests/outside/compare.sh
# shellcheck source=tests/outside/debian.sh
. tests/outside/debian.sh
HARNESS=/usr/lib/postgresql/$VERSION/lib/pgxs/src/test
for program in gcc psql "$PROGRAMS/postgres" "$HARNESS/regress/pg_regress" "$HARNESS/isolation/isolationtester"; do
  command -v "$program" >/dev/null || die "$program is missing. Install: apt-get install gcc postgresql-$VERSION postgresql-server-dev-$VERSION"
done
command -v "$BANYAN" >/dev/null || die "no $BANYAN: cargo build --release -p banyan"

SOURCE=${PG_SOURCE:-$CACHE/postgresql-$VERSION}
if [ ! -d "$SOURCE" ]; then
  say "fetching PostgreSQL's source from Debian"
  debian_source "postgresql-$VERSION" "$SOURCE"
fi
[ -d "$SOURCE/src/test/regress" ] || die "no test suites in ${SOURCE:-$CACHE}; give PG_SOURCE=folder of the unpacked source"

# The suite's harness knows its sessions by the number in their cancel keys, which is the proxy's; it is to ask the server.
build_tester() {
  local folder=$work/tester suite=$SOURCE/src/test/isolation
  mkdir -p "$folder"
  sed 's/= PQbackendPID(conns\[i\].conn);/= atoi(PQgetvalue(PQexec(conns[i].conn, "SELECT pg_backend_pid()"), 0, 0));/' \
    "$suite/isolationtester.c" >"$folder/isolationtester.c"
  gcc -O1 -w -I"$suite" -I"$SOURCE/src/interfaces/libpq" -I/usr/include/postgresql -I"/usr/include/postgresql/$VERSION/server" \
    -o "$folder/isolationtester" "$folder/isolationtester.c" "$suite/specparse.c" -L"/usr/lib/postgresql/$VERSION/lib" -lpgcommon -lpgport -lpq
  # It looks for the tester beside itself.
  cp "$HARNESS/isolation/pg_isolation_regress" "$folder/"
}

prepare() {
  mkdir -p "$work"/{results,input}
  cp -r "$SOURCE/src/test/regress" "$SOURCE/src/test/isolation" "$work/input/"
  gcc -O1 -fPIC -shared -I"/usr/include/postgresql/$VERSION/server" -o "$work/input/regress/regress.so" "$SOURCE/src/test/regress/regress.c"
  build_tester
  for_server "$work/input"
  start_server postgres -- "fsync = off" "max_connections = 120" "max_prepared_transactions = 2" "wal_level = replica"
}

# What pg_regress does when it makes the database itself.
make_database() { # name
  PGPORT=$server_port psql -qX -d postgres <<SQL
SET client_min_messages = warning;
DROP DATABASE IF EXISTS $1;
CREATE DATABASE $1 TEMPLATE template0;
ALTER DATABASE $1 SET lc_messages TO 'C';
ALTER DATABASE $1 SET lc_monetary TO 'C';
ALTER DATABASE $1 SET lc_numeric TO 'C';
ALTER DATABASE $1 SET lc_time TO 'C';
ALTER DATABASE $1 SET bytea_output TO 'hex';
ALTER DATABASE $1 SET timezone_abbreviations TO 'Default';
SQL
}
# A suite leaves roles and tablespaces behind, which a second run would trip over.
forget() { # database
  PGPORT=$server_port psql -qXAt -d "$1" -c "SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = '$1'" |
    PGPORT=$server_port psql -qX -d "$1"
  PGPORT=$server_port psql -qX -d postgres -c "DROP DATABASE IF EXISTS $1 WITH (FORCE)"
  PGPORT=$server_port psql -qXAt -d postgres -c "SELECT format('DROP TABLESPACE IF EXISTS %I', spcname) FROM pg_tablespace WHERE spcname !~ '^pg_'" \
    -c "SELECT format('DROP ROLE IF EXISTS %I', rolname) FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'" |
    PGPORT=$server_port psql -qX -d postgres >/dev/null 2>&1 || true
}

run_suite() { # suite, way, port
  local suite=$1 way=$2 port=$3 out=$work/results/$1.$2 tests=()
  mkdir -p "$out"
  case $suite in
    regress)
      if [ -n "${TESTS:-}" ]; then read -ra tests <<<"$TESTS"; else tests=(--schedule="$work/input/regress/parallel_schedule"); fi
      make_database regression
      timeout "${LIMIT:-1500}" "$HARNESS/regress/pg_regress" --use-existing --dbname=regression --host=127.0.0.1 --port="$port" --user=postgres \
        --bindir="$PROGRAMS" --dlpath="$work/input/regress" --inputdir="$work/input/regress" \
        --outputdir="$out" --max-concurrent-tests=20 "${tests[@]}" >"$out/log" 2>&1 || true
      forget regression
      ;;
    isolation)
      if [ -n "${TESTS:-}" ]; then read -ra tests <<<"$TESTS"; else tests=(--schedule="$work/input/isolation/isolation_schedule"); fi
      make_database isolation_regression
      timeout "${LIMIT:-1500}" "$work/tester/pg_isolation_regress" --use-existing --dbname=isolation_regression --host=127.0.0.1 --port="$port" \
        --user=postgres --bindir="$PROGRAMS" --inputdir="$work/input/isolation" \
        --outputdir="$out" "${tests[@]}" >"$out/log" 2>&1 || true
      forget isolation_regression
      ;;
    *) die "unknown suite $suite: regress or isolation" ;;
  esac
  # "test boolean   ... ok   12 ms", "     name ... FAILED  9 ms"
  sed -nE 's/^(test| {4}) +([a-z0-9_-]+) +\.\.\. (ok|FAILED|failed).*/\2 \3/p' "$out/log" | sort >"$out/verdicts"
  [ -s "$out/verdicts" ] || { tail -n 20 "$out/log" >&2; die "the $suite suite did not run ($way)"; }
}

prepare
failed=0
for suite in $SUITES; do
  database=regression mode=${MODE:-transaction}
  if [ "$suite" = isolation ]; then
    # It sees who waits for whom by pg_backend_pid(), which means something only for a session that keeps its backend.
    database=isolation_regression mode=${MODE:-session}
  fi
  say "$suite, straight"
  run_suite "$suite" direct "$server_port"
  say "$suite, through the proxy"
  start_proxy "$database" "$mode"
  run_suite "$suite" proxied "${port[banyan]}"
  finish "$proxy"
  compare "$suite" "$mode" || failed=1
done
exit "$failed"
