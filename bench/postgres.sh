# shellcheck shell=bash
# A scratch PostgreSQL server and what stands before it: Banyan's proxy, PgBouncer as Debian ships it. Benchmarks and outside
# suites source it after shared.sh, which ends what is started here.
#
# Sets, after start_server: server_port, password; PGUSER, PGHOST, PGPASSFILE and PGDATABASE are exported. After before_it:
# port[NAME] and command[NAME] of `banyan`, `pgbouncer` (transaction mode) and `session` (PgBouncer in session mode).

VERSION=15
PROGRAMS=/usr/lib/postgresql/$VERSION/bin
PACKAGES="pgbouncer postgresql-$VERSION util-linux python3"
POOL=${POOL:-20}

chmod 755 "$work"
as_server=()
[ "$(id -u)" != 0 ] || as_server=(setpriv --reuid=postgres --regid=postgres --clear-groups)
for_server() { # paths…: the server may write them
  [ "$(id -u)" != 0 ] || chown -R postgres: "$@"
}

start_server() { # database, wrapper and its arguments, then "--" and settings
  local database=$1 wrapper=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    wrapper+=("$1")
    shift
  done
  shift || true
  free_port && server_port=$free
  password=$(head -c 18 /dev/urandom | base64 | tr -d '/+=')
  export PGUSER=postgres PGDATABASE=$database PGHOST=127.0.0.1 PGPASSFILE=$work/passwords
  printf '127.0.0.1:*:*:postgres:%s\n' "$password" >"$PGPASSFILE"
  chmod 600 "$PGPASSFILE"
  mkdir -p "$work"/{data,socket}
  printf '%s' "$password" >"$work/password"
  for_server "$work"/{data,socket,password}
  "${as_server[@]}" "$PROGRAMS/initdb" -D "$work/data" -U postgres --pwfile="$work/password" --auth=scram-sha-256 \
    --no-locale --encoding=UTF8 >/dev/null
  rm "$work/password"
  {
    printf "port = %s\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\nlog_min_messages = fatal\n" "$server_port" "$work/socket"
    [ $# = 0 ] || printf '%s\n' "$@"
  } >>"$work/data/postgresql.conf"
  start "${wrapper[@]}" "${as_server[@]}" "$PROGRAMS/postgres" -D "$work/data"
  stop_with[$pid]=INT # without waiting for clients
  wait_port "$server_port" PostgreSQL
  for _ in $(seq 100); do
    "$PROGRAMS/pg_isready" -q -h 127.0.0.1 -p "$server_port" && break
    sleep 0.1
  done
  [ "$database" = postgres ] || PGPORT=$server_port psql -qX -d postgres -c "CREATE DATABASE $database"
}

bouncer_conf() { # folder, port, mode, pool
  cat <<CONF
[databases]
$PGDATABASE = host=$work/socket port=$server_port dbname=$PGDATABASE
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $2
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $1/users
pool_mode = $3
default_pool_size = $4
max_client_conn = 20000
query_wait_timeout = 60
ignore_startup_parameters = extra_float_digits,search_path
log_connections = 0
log_disconnections = 0
logfile = $1/log.$3
pidfile = $1/pid.$3
CONF
}

before_it() { # mode of Banyan's pool
  local folder=$work/bouncer name
  for name in banyan pgbouncer session; do free_port && port[$name]=$free; done
  mkdir -p "$folder" "$work/state/snapshots"
  printf '"postgres" "%s"\n' "$(PGPORT=$server_port psql -qXAt -d postgres -c "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")" >"$folder/users"
  bouncer_conf "$folder" "${port[pgbouncer]}" transaction "$POOL" >"$folder/transaction"
  bouncer_conf "$folder" "${port[session]}" session 100 >"$folder/session"
  for_server "$folder"
  command[pgbouncer]="pgbouncer $folder/transaction"
  command[session]="pgbouncer $folder/session"
  # It refuses to run as root.
  as_user[pgbouncer]="${as_server[*]}" as_user[session]="${as_server[*]}"

  printf 'postgres://postgres:%s@127.0.0.1:%s/%s' "$password" "$server_port" "$PGDATABASE" >"$work/state/url"
  chmod 600 "$work/state/url"
  sed -e "s/@LISTEN@/${port[banyan]}/; s/@SERVER@/$server_port/; s/@DATABASE@/$PGDATABASE/; s/@MODE@/$1/; s/@POOL@/$POOL/" \
    -e "s|@URL@|$work/state/url|; s|@SOCKET@|$work/socket|" bench/pgproxy.json >"$work/state/snapshots/pgproxy.json"
  command[banyan]="$BANYAN --state $work/state role pgproxy"
}

pgbench() { # name, clients, what, more…: fails when a transaction did
  local arguments=(-n -c "$2" -j 1) out name=$1 what=$3
  tps="" processed=""
  shift 3
  case $what in
    simple) arguments+=(-S -M simple) ;;
    prepared) arguments+=(-S -M prepared) ;;
    tpcb) arguments+=(-M simple) ;;
    connect) arguments+=(-S -M simple -C) ;;
    *) echo "bench: unknown case $what" >&2; exit 1 ;;
  esac
  out=$(PGPORT=${port[$name]} "${load_on[@]}" "$PROGRAMS/pgbench" "${arguments[@]}" "$@" 2>&1) || return 1
  # The rate is of the time after the log-ins, the number of transactions of all of it.
  tps=$(awk '/^tps = / { print $3 }' <<<"$out")
  processed=$(awk '/^number of transactions actually processed/ { print $6 + 0 }' <<<"$out")
  ! grep -qE 'failed transactions: [1-9]|aborted' <<<"$out"
}
load_on=()
