#!/usr/bin/env bash
# What one proxied request costs, counted instead of timed, so that a busy machine does not blur it: instructions in the
# process (callgrind), system calls (strace), memory of an idle connection. bench/README.md says how to read it.
#
#   bench/instructions.sh                  nginx, HAProxy and Banyan, 1 KB answers
#   NAMES=banyan REQUESTS=2000 PROFILE=/some/file bench/instructions.sh     also keeps Banyan's callgrind profile
#   FILE=64k WHAT="instructions" bench/instructions.sh
#
# Everything it starts is ended by process id, and its folder removed, also after a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

REQUESTS=${REQUESTS:-5000}
CONNECTIONS=${CONNECTIONS:-16}
IDLE=${IDLE:-512}
FILE=${FILE:-1k}
NAMES=${NAMES:-nginx haproxy banyan}
WHAT=${WHAT:-instructions syscalls memory}
PROFILE=${PROFILE:-}
BANYAN=${BANYAN:-${CARGO_TARGET_DIR:-target}/release/banyan}
PATH=$PATH:/usr/sbin:/sbin

for program in nginx haproxy h2load valgrind strace awk "$BANYAN"; do
  command -v "$program" >/dev/null || {
    echo "bench: $program is missing. Install: sudo apt-get install nginx-light haproxy nghttp2-client valgrind strace; cargo build --release" >&2
    exit 1
  }
done
BANYAN=$(realpath "$BANYAN")

work=$(mktemp -d)
pids=()
clean_up() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
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
upstream=$(free_port 22800)
declare -A port
port[nginx]=$(free_port $((upstream + 1)))
port[haproxy]=$(free_port $((port[nginx] + 1)))
port[banyan]=$(free_port $((port[haproxy] + 1)))

mkdir -p "$work"/{files,upstream,nginx,state/snapshots}
head -c 1024 /dev/zero | tr '\0' x >"$work/files/1k"
head -c 65536 /dev/zero | tr '\0' x >"$work/files/64k"
chmod -R a+rX "$work"

nginx_conf() { # folder, server block; one process, no master
  cat <<CONF
daemon off; master_process off; pid $1/pid; error_log stderr crit; worker_rlimit_nofile 20000;
events { worker_connections 8192; }
http {
  access_log off; sendfile on; tcp_nodelay on; open_file_cache max=100; keepalive_requests 100000000;
  client_body_temp_path $1/body; proxy_temp_path $1/proxy; fastcgi_temp_path $1/f; uwsgi_temp_path $1/u; scgi_temp_path $1/s;
  $2
}
CONF
}
nginx_conf "$work/upstream" "server { listen 127.0.0.1:$upstream backlog=8192; root $work/files; }" >"$work/upstream/conf"
nginx_conf "$work/nginx" "
  upstream app { server 127.0.0.1:$upstream; keepalive 1024; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${port[nginx]} backlog=8192;
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host \$host;
      proxy_set_header X-Forwarded-For \$remote_addr; proxy_set_header X-Forwarded-Proto \$scheme;
      proxy_set_header X-Forwarded-Host \$host; proxy_set_header X-Request-Id \$request_id;
      add_header X-Request-Id \$request_id; proxy_buffers 8 16k; proxy_max_temp_file_size 0;
    }
  }" >"$work/nginx/conf"
cat >"$work/haproxy.cfg" <<CONF
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:${port[haproxy]}
  unique-id-format %{+X}o%ci%cp%Ts%rt%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-response set-header X-Request-Id %[unique-id]
  default_backend app
backend app
  http-reuse always
  server app 127.0.0.1:$upstream pool-max-conn -1
CONF
sed -e "s/@LISTEN@/${port[banyan]}/; s/@UPSTREAM@/$upstream/; s/@WORKERS@/1/" bench/snapshot.json >"$work/state/snapshots/edge.json"
declare -A command=(
  [nginx]="nginx -p $work/nginx -c $work/nginx/conf"
  [haproxy]="haproxy -db -f $work/haproxy.cfg"
  [banyan]="$BANYAN --state $work/state role edge"
)

ulimit -n 20000 2>/dev/null || true
start() { # command…; sets $pid
  "$@" >"$work/log.${#pids[@]}" 2>&1 &
  pid=$!
  pids+=("$pid")
}
serve() { # name, wrapper…: starts the contestant, waits until it proxies
  local name=$1
  shift
  # shellcheck disable=SC2086 # words are meant
  start "$@" ${command[$name]}
  for _ in $(seq 300); do
    load "$name" 1 1 && return
    sleep 0.1
  done
  echo "bench: $name did not start" >&2
  tail -n 5 "$work"/log.* >&2
  exit 1
}
load() { # name, requests, connections; fails unless every one succeeded
  h2load --h1 -t1 -n "$2" -c "$3" "http://127.0.0.1:${port[$1]}/$FILE" 2>/dev/null | grep -q "$2 succeeded, 0 failed"
}
finish() { kill "$1" && wait "$1" 2>/dev/null || true; }

# Each measure sets $result.
instructions() { # name: instructions in the process per request, start-up and warm-up left out
  serve "$1" valgrind -q --tool=callgrind --callgrind-out-file="$work/callgrind.$1"
  load "$1" 500 "$CONNECTIONS"
  callgrind_control -z "$pid" >/dev/null 2>&1
  load "$1" "$REQUESTS" "$CONNECTIONS"
  callgrind_control -d "$pid" >/dev/null 2>&1
  finish "$pid"
  [ -z "$PROFILE" ] || cp "$work/callgrind.$1.1" "$PROFILE"
  result=$(awk -v n="$REQUESTS" '/^(totals|summary):/ { sum = $2 } END { printf "%d", sum / n }' "$work/callgrind.$1.1")
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

pss() { awk '/^Pss:/ { print $2 * 1024 }' "/proc/$1/smaps_rollup"; }
memory() { # name: bytes in the process per idle connection that has had one answer
  local fds=() fd before
  serve "$1"
  load "$1" "$REQUESTS" "$CONNECTIONS"
  before=$(pss "$pid")
  for _ in $(seq "$IDLE"); do
    exec {fd}<>"/dev/tcp/127.0.0.1/${port[$1]}"
    printf 'GET /1k HTTP/1.1\r\nHost: localhost\r\n\r\n' >&"$fd"
    fds+=("$fd")
  done
  sleep 6 # idle connections to the upstream are closed after 4 s
  result=$((($(pss "$pid") - before) / IDLE))
  for fd in "${fds[@]}"; do exec {fd}>&-; done
  finish "$pid"
}

start nginx -p "$work/upstream" -c "$work/upstream/conf"
echo "$REQUESTS requests of $FILE over $CONNECTIONS kept connections, one worker; memory: $IDLE idle connections"
for name in $NAMES; do
  for what in $WHAT; do
    result=
    "$what" "$name"
    printf '%-8s %-13s %s\n' "$name" "$what" "$result"
  done
done
