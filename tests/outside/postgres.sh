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
BANYAN=${BANYAN:-${CARGO_TARGET_DIR:-target}/release/banyan}
MODE=${MODE:-transaction}
VERSION=15
PROGRAMS=/usr/lib/postgresql/$VERSION/bin
HARNESS=/usr/lib/postgresql/$VERSION/lib/pgxs/src/test
DIVERGENCES=tests/outside/divergences.txt
CACHE=${CARGO_TARGET_DIR:-target}/outside

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

for program in cc gcc "$PROGRAMS/postgres" "$HARNESS/regress/pg_regress" "$HARNESS/isolation/isolationtester"; do
  command -v "$program" >/dev/null || die "$program is missing. Install: apt-get install gcc postgresql-$VERSION postgresql-server-dev-$VERSION"
done
[ "${PROXY:-banyan}" != banyan ] || command -v "$BANYAN" >/dev/null || die "no $BANYAN: cargo build --release -p banyan"

# The suite's source, from Debian's archive; the machine's own package lists stay as they are.
fetch() {
  mkdir -p "$CACHE"/{parts,lists/partial}
  local at
  at=$(realpath "$CACHE")
  {
    for suite in "debian bookworm bookworm-updates" "debian-security bookworm-security"; do
      printf 'Types: deb-src\nURIs: http://deb.debian.org/%s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n' \
        "${suite%% *}" "${suite#* }"
    done
  } >"$at/parts/debian.sources"
  local apt=(apt-get -q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$at/parts" -o "Dir::State::lists=$at/lists"
    -o APT::Sandbox::User=root)
  "${apt[@]}" update >/dev/null
  # The newest in the archive; a mirror may lack the tarball of the very newest.
  local version
  for version in $(apt-cache "${apt[@]:2}" showsrc "postgresql-$VERSION" | sed -n 's/^Version: //p' | sort -rV); do
    (cd "$at" && "${apt[@]}" source --download-only "postgresql-$VERSION=$version" >/dev/null 2>&1) && break
  done
  tar -xf "$at"/postgresql-"$VERSION"_*.orig.tar.bz2 -C "$at"
}
source_folder() { find "$CACHE" -maxdepth 1 -type d -name "postgresql-$VERSION.*" 2>/dev/null | sort -V | tail -n 1; }
SOURCE=${PG_SOURCE:-$(source_folder)}
if [ -z "$SOURCE" ]; then
  say "fetching PostgreSQL's source from Debian"
  fetch
  SOURCE=$(source_folder)
fi
[ -d "$SOURCE/src/test/regress" ] || die "no test suites in ${SOURCE:-$CACHE}; give PG_SOURCE=folder of the unpacked source"

work=$(mktemp -d)
chmod 755 "$work"
pids=()
as_server=()
clean_up() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  [ ! -d "$work/data" ] || "${as_server[@]}" "$PROGRAMS/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

free_port() { # a port that nobody listens on, from $1 upwards
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}
server_port=$(free_port 21930)
proxy_port=$(free_port $((server_port + 1)))
password=$(head -c 18 /dev/urandom | base64 | tr -d '/+=')
export PGUSER=postgres PGHOST=127.0.0.1 PGPASSFILE=$work/passwords
printf '127.0.0.1:*:*:postgres:%s\n' "$password" >"$PGPASSFILE"
chmod 600 "$PGPASSFILE"

start_server() {
  mkdir -p "$work"/{data,socket,results,input}
  cp -r "$SOURCE/src/test/regress" "$SOURCE/src/test/isolation" "$work/input/"
  gcc -O1 -fPIC -shared -I"/usr/include/postgresql/$VERSION/server" -o "$work/input/regress/regress.so" "$SOURCE/src/test/regress/regress.c"
  printf '%s' "$password" >"$work/password"
  if [ "$(id -u)" = 0 ]; then
    as_server=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    chown -R postgres: "$work/data" "$work/socket" "$work/input" "$work/password"
  fi
  "${as_server[@]}" "$PROGRAMS/initdb" -D "$work/data" -U postgres --pwfile="$work/password" --auth=scram-sha-256 \
    --no-locale --encoding=UTF8 >/dev/null
  rm "$work/password"
  cat >>"$work/data/postgresql.conf" <<CONF
port = $server_port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$work/socket'
fsync = off
max_connections = 120
max_prepared_transactions = 2
wal_level = replica
log_min_messages = fatal
CONF
  "${as_server[@]}" "$PROGRAMS/pg_ctl" -D "$work/data" -w -l "$work/data/log" start >/dev/null
}

start_proxy() { # database
  mkdir -p "$work/state/snapshots"
  printf 'postgres://postgres:%s@127.0.0.1:%s/%s' "$password" "$server_port" "$1" >"$work/state/url"
  chmod 600 "$work/state/url"
  sed -e "s/@LISTEN@/$proxy_port/; s/@SERVER@/$server_port/; s/@DATABASE@/$1/; s/@MODE@/$MODE/; s/@POOL@/60/; s|@URL@|$work/state/url|" \
    bench/pgproxy.json >"$work/state/snapshots/pgproxy.json"
  "$BANYAN" --state "$work/state" role pgproxy >"$work/proxy.log" 2>&1 &
  pids+=($!)
  proxy=$!
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$proxy_port") 2>/dev/null && return
    sleep 0.1
  done
  tail -n 20 "$work/proxy.log" >&2
  die "the proxy did not start"
}
stop_proxy() {
  kill "$proxy"
  wait "$proxy" 2>/dev/null || true
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
      timeout "${LIMIT:-1500}" "$HARNESS/isolation/pg_isolation_regress" --use-existing --dbname=isolation_regression --host=127.0.0.1 --port="$port" \
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

known() { # suite, test: the reason why it may differ
  sed -nE "s/^$1[[:space:]]+$2[[:space:]]+//p" "$DIVERGENCES" 2>/dev/null | head -n 1
}

compare() { # suite
  local suite=$1 name verdict total good=0 new=0 reason
  total=$(wc -l <"$work/results/$suite.direct/verdicts")
  while read -r name verdict; do
    if [ "$verdict" = ok ]; then good=$((good + 1)); continue; fi
    grep -q "^$name ok" "$work/results/$suite.proxied/verdicts" && continue
  done <"$work/results/$suite.direct/verdicts"
  local kept=${KEEP:-$CACHE/results}
  mkdir -p "$kept"
  rm -rf "${kept:?}/$suite.direct" "$kept/$suite.proxied"
  cp -r "$work/results/$suite.direct" "$work/results/$suite.proxied" "$kept/"
  while read -r name; do
    reason=$(known "$suite" "$name")
    if [ -n "$reason" ]; then
      printf '  differs, known   %-28s %s\n' "$name" "$reason"
    else
      printf '  DIFFERS          %-28s %s\n' "$name" "$kept/$suite.proxied/results/$name.out"
      new=$((new + 1))
    fi
  done < <(comm -23 <(sed -n 's/ ok$//p' "$work/results/$suite.direct/verdicts") <(sed -n 's/ ok$//p' "$work/results/$suite.proxied/verdicts"))
  printf '%s: %s of %s tests pass straight, %s through the proxy (%s mode); %s new differences\n' "$suite" "$good" "$total" \
    "$(grep -c ' ok$' "$work/results/$suite.proxied/verdicts" || true)" "$MODE" "$new"
  [ "$new" = 0 ]
}

start_server
failed=0
for suite in $SUITES; do
  database=regression
  [ "$suite" = regress ] || database=isolation_regression
  say "$suite, straight"
  run_suite "$suite" direct "$server_port"
  say "$suite, through the proxy"
  start_proxy "$database"
  run_suite "$suite" proxied "$proxy_port"
  stop_proxy
  compare "$suite" || failed=1
done
exit "$failed"
