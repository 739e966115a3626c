# shellcheck shell=bash
# What all benchmarks share; they source it. Processes and what they used; the contestants before HTTP (nginx, HAProxy,
# Banyan) with matching configurations in front of one upstream. Everything started is ended by process id, and the folder
# removed, also after a failure.
#
# Sets: work (folder), names, port[NAME], tls_port[NAME], upstream (port). After `configure WORKERS`: command[NAME].

BANYAN=${BANYAN:-${CARGO_TARGET_DIR:-target}/dist/banyan}
PATH=$PATH:/usr/sbin:/sbin
PACKAGES="nginx-light haproxy wrk nghttp2-client openssl util-linux"

need() { # programs…; besides Banyan itself
  local program
  for program in "$@" "$BANYAN"; do
    command -v "$program" >/dev/null || {
      echo "bench: $program is missing. Install: sudo apt-get install $PACKAGES; cargo build --profile dist -p banyan" >&2
      exit 1
    }
  done
  BANYAN=$(realpath "$BANYAN")
}

work=$(mktemp -d)
pids=()
declare -A stop_with # signals of processes that SIGTERM does not end soon
clean_up() {
  local pid
  for pid in "${pids[@]}"; do kill -"${stop_with[$pid]:-TERM}" "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT
set -E
trap 'echo "bench: failed in $0, line $LINENO: $BASH_COMMAND" >&2' ERR
trap 'exit 130' INT TERM

start() { # command…; sets $pid
  "$@" >"$work/log.${#pids[@]}" 2>&1 &
  pid=$!
  pids+=("$pid")
}
finish() { kill "$1" 2>/dev/null && wait "$1" 2>/dev/null || true; }

open_port() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
last_port=${FIRST_PORT:-21800}
free_port() { # sets $free: a port that nobody listens on
  free=$last_port
  while open_port "$free"; do free=$((free + 1)); done
  last_port=$((free + 1))
}
wait_port() { # port, who
  local _
  for _ in $(seq 300); do
    open_port "$1" && return
    sleep 0.1
  done
  echo "bench: $2 did not start" >&2
  tail -n 5 "$work"/log.* >&2
  exit 1
}

nginx_conf() { # folder, workers (0: one process without a master), blocks
  local processes="worker_processes $2;"
  [ "$2" != 0 ] || processes="master_process off;"
  cat <<CONF
daemon off; pid $1/pid; $processes error_log stderr crit;
$([ "$(id -u)" = 0 ] && [ "$2" != 0 ] && echo "user root;")
events { worker_connections 16384; }
http {
  access_log off; sendfile on; tcp_nodelay on; open_file_cache max=100; keepalive_requests 100000000;
  client_body_temp_path $1/body; proxy_temp_path $1/proxy; fastcgi_temp_path $1/f; uwsgi_temp_path $1/u; scgi_temp_path $1/s;
  $3
}
CONF
}

declare -A port tls_port command as_user # as_user: what starts a contestant as another user
names=${NAMES:-nginx haproxy banyan}
configure() { # workers; 0: nginx as one process, one thread for the others
  local workers=$1 threads=$1 name reuseport=reuseport
  [ "$workers" != 0 ] || threads=1 reuseport=""
  free_port && upstream=$free
  for name in nginx haproxy banyan; do
    free_port && port[$name]=$free
    free_port && tls_port[$name]=$free
  done
  mkdir -p "$work"/{files,upstream,nginx,state/snapshots}
  head -c 1024 /dev/zero | tr '\0' x >"$work/files/1k"
  head -c 65536 /dev/zero | tr '\0' x >"$work/files/64k"
  chmod -R a+rX "$work"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
  chmod 600 "$work/key.pem"
  cat "$work/cert.pem" "$work/key.pem" >"$work/pair.pem"

  nginx_conf "$work/upstream" "$workers" \
    "server { listen 127.0.0.1:$upstream $reuseport backlog=8192; root $work/files; }" >"$work/upstream/conf"
  nginx_conf "$work/nginx" "$workers" "
  upstream app { server 127.0.0.1:$upstream; keepalive 1024; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${port[nginx]} $reuseport backlog=8192;
    listen 127.0.0.1:${tls_port[nginx]} ssl http2 $reuseport backlog=8192;
    ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host \$host;
      proxy_set_header X-Forwarded-For \$remote_addr; proxy_set_header X-Forwarded-Proto \$scheme;
      proxy_set_header X-Forwarded-Host \$host; proxy_set_header X-Request-Id \$request_id;
      add_header X-Request-Id \$request_id; proxy_buffers 8 16k; proxy_max_temp_file_size 0;
    }
  }" >"$work/nginx/conf"
  cat >"$work/haproxy.cfg" <<CONF
global
  nbthread $threads
  maxconn 16000
  no strict-limits
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:${port[haproxy]}
  bind 127.0.0.1:${tls_port[haproxy]} ssl crt $work/pair.pem alpn h2,http/1.1 ssl-min-ver TLSv1.2
  unique-id-format %{+X}o%ci%cp%Ts%rt%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-response set-header X-Request-Id %[unique-id]
  default_backend app
backend app
  http-reuse always
  server app 127.0.0.1:$upstream pool-max-conn -1
CONF
  sed -e "s/@LISTEN@/${port[banyan]}/; s/@LISTEN_TLS@/${tls_port[banyan]}/; s/@UPSTREAM@/$upstream/; s/@WORKERS@/$threads/" \
    -e "s#@CERT@#$work/cert.pem#; s#@KEY@#$work/key.pem#" bench/snapshot.json >"$work/state/snapshots/edge.json"
  command[upstream]="nginx -p $work/upstream -c $work/upstream/conf"
  command[nginx]="nginx -p $work/nginx -c $work/nginx/conf"
  command[haproxy]="haproxy -db -f $work/haproxy.cfg"
  command[banyan]="$BANYAN --state $work/state role edge"
  observed "${port[banyan]}" "${tls_port[banyan]}"
  ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
}

# The contestant `observed`: the same edge with traces as they are by default, and the role that keeps metrics and traces.
observed() { # the ports in the other one's snapshot
  mkdir -p "$work"/observed/{snapshots,metrics}
  free_port && port[observed]=$free
  free_port && tls_port[observed]=$free
  sed -e "s/:$1\"/:${port[observed]}\"/; s/:$2\"/:${tls_port[observed]}\"/; s/\"trace\": \"off\"/\"trace\": \"proxies\"/" \
    "$work/state/snapshots/edge.json" >"$work/observed/snapshots/edge.json"
  command[observed]="$BANYAN --state $work/observed role edge"
  observer "$work/observed"
}
observer() { # state folder: sets command[observer]
  free_port
  cat >"$1/snapshots/observe.json" <<JSON
{
  "epoch": 1, "app": "bench", "listen": "127.0.0.1:$free", "token_file": "$1/token",
  "settings": { "disk_bytes": 67108864, "keep": "1d" },
  "layout": {
    "release": null, "edge": [], "places": {}, "processes": {}, "instances": {},
    "pgproxy": null, "nodes": {}, "primary": null, "redis": {}
  }
}
JSON
  command[observer]="$BANYAN --state $1 role observe"
}
wait_observer() { # state folder; until spans are taken, and others can have seen it
  local _
  for _ in $(seq 300); do
    [ ! -S "$1/observe/spans.sock" ] || break
    sleep 0.1
  done
  sleep 2
}

family() { # a process and its children
  echo "$1"
  cat /proc/"$1"/task/*/children 2>/dev/null | tr ' ' '\n' | grep . || true
}
ticks() { # CPU ticks of a contestant
  local pid stat sum=0
  # Its children first: who has ended since is in its parent's figures.
  for pid in $(family "$1" | tac); do
    stat=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) || continue
    sum=$((sum + $(awk '{ print $12 + $13 + $14 + $15 }' <<<"$stat")))
  done
  echo "$sum"
}
memory_kb() { # proportional set size of a contestant
  local pid
  for pid in $(family "$1"); do
    awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null || awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status"
  done | awk '{ sum += $1 } END { print sum + 0 }'
}

idle_bytes() { # process id, port, connections: sets $bytes, in the process per idle connection that has had one answer
  local fds=() fd before
  before=$(memory_kb "$1")
  for _ in $(seq "$3"); do
    exec {fd}<>"/dev/tcp/127.0.0.1/$2" || break
    printf 'GET /1k HTTP/1.1\r\nHost: localhost\r\n\r\n' >&"$fd"
    fds+=("$fd")
  done
  sleep 6 # idle connections to the upstream are closed after 4 s
  bytes=$((($(memory_kb "$1") - before) * 1024 / ${#fds[@]}))
  for fd in "${fds[@]}"; do exec {fd}>&-; done
}

# Rounds. They take from the script: LENGTH (seconds), main[NAME] (process ids), generate (case, name: runs a generator) and
# rounds (the file that what was measured goes to).
pin_cpus() { # sets proxy_cpus, load_cpus, workers
  cores=$(nproc)
  if [ "$cores" -ge 4 ]; then
    proxy_cpus=0,1 load_cpus=2,3 workers=2
  elif [ "$cores" -ge 2 ]; then
    proxy_cpus=0 load_cpus=1 workers=1
  else
    echo "bench: needs at least 2 cores, one for the proxy and one for the load" >&2
    exit 1
  fi
}

busy() { # user, nice and system ticks of the proxy's cores
  awk -v cpus="$proxy_cpus" 'BEGIN { n = split(cpus, c, ","); for (i = 1; i <= n; i++) want["cpu" c[i]] }
    $1 in want { sum += $2 + $3 + $4 } END { print sum }' /proc/stat
}

# Generators print: requests/s, requests, p50 ms, p99 ms (- where the generator does not say), errors.
with_wrk() { # connections, URL, more…
  local connections=$1 url=$2
  shift 2
  taskset -c "$load_cpus" wrk -t"$workers" -c"$connections" -d"${LENGTH}s" --latency "$@" "$url" | awk '
    function ms(t) { if (t ~ /us$/) return t / 1000; if (t ~ /ms$/) return t + 0; return t * 1000 }
    $1 == "50%" { p50 = ms($2) } $1 == "99%" { p99 = ms($2) }
    / requests in / { requests = $1 } /^Requests\/sec/ { rate = $2 }
    /Socket errors/ { gsub(",", ""); errors += $4 + $6 + $8 + $10 } /Non-2xx/ { errors += $NF }
    END { print rate + 0, requests + 0, p50, p99, errors + 0 }'
}

hz=$(getconf CLK_TCK)
round() { # case, name, kept?
  local name=$2 keep=$3 before after busy_before busy_after out
  before=$(ticks "${main[$name]}") busy_before=$(busy)
  out=$(generate "$1" "$name")
  after=$(ticks "${main[$name]}") busy_after=$(busy)
  [ "$keep" = 1 ] || return 0
  echo "$out" | awk -v key="$1 $name" -v cpu=$((after - before)) -v busy=$((busy_after - busy_before)) -v hz="$hz" \
    -v memory="$(memory_kb "${main[$name]}")" -v length_s="$LENGTH" '{
      foreign = (busy - cpu) / hz / length_s
      print key, $1, ($2 ? cpu / hz / $2 * 100000 : 0), $3, $4, memory / 1024, $5, (foreign > 0.15 ? "disturbed" : "clean")
    }' >>"$rounds"
}
