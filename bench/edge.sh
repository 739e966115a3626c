#!/usr/bin/env bash
# Compares Banyan's edge with nginx and HAProxy: CPU per request, requests/s, latency, memory. bench/README.md says how.
#
#   bench/edge.sh                 7 rounds of 3 s per case
#   ROUNDS=3 SECONDS_PER_ROUND=2 bench/edge.sh
#   BANYAN=path/to/banyan CASES="64:1k 512:1k" bench/edge.sh
#
# Everything it starts is ended by process id, and its folder removed, also after a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-7}
LENGTH=${SECONDS_PER_ROUND:-3}
CASES=${CASES:-"64:1k 64:64k 512:1k"}
BANYAN=${BANYAN:-${CARGO_TARGET_DIR:-target}/release/banyan}
PATH=$PATH:/usr/sbin:/sbin

for program in nginx haproxy wrk taskset awk "$BANYAN"; do
  command -v "$program" >/dev/null || {
    echo "bench: $program is missing. Install: sudo apt-get install nginx-light haproxy wrk util-linux; cargo build --release" >&2
    exit 1
  }
done

cores=$(nproc)
if [ "$cores" -ge 4 ]; then
  proxy_cpus=0,1 load_cpus=2,3 workers=2
elif [ "$cores" -ge 2 ]; then
  proxy_cpus=0 load_cpus=1 workers=1
else
  echo "bench: needs at least 2 cores, one for the proxy and one for the load" >&2
  exit 1
fi

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
upstream=$(free_port 21800)
nginx_port=$(free_port $((upstream + 1)))
haproxy_port=$(free_port $((nginx_port + 1)))
banyan_port=$(free_port $((haproxy_port + 1)))

mkdir -p "$work"/{files,upstream,nginx,state/snapshots}
head -c 1024 /dev/zero | tr '\0' x >"$work/files/1k"
head -c 65536 /dev/zero | tr '\0' x >"$work/files/64k"
chmod -R a+rX "$work"

nginx_conf() { # folder, workers, server block
  cat <<CONF
daemon off; pid $1/pid; worker_processes $2; error_log stderr crit; worker_rlimit_nofile 20000;
$([ "$(id -u)" = 0 ] && echo "user root;")
events { worker_connections 8192; }
http {
  access_log off; sendfile on; tcp_nodelay on; open_file_cache max=100; keepalive_requests 100000000;
  client_body_temp_path $1/body; proxy_temp_path $1/proxy; fastcgi_temp_path $1/f; uwsgi_temp_path $1/u; scgi_temp_path $1/s;
  $3
}
CONF
}

nginx_conf "$work/upstream" "$workers" "server { listen 127.0.0.1:$upstream reuseport backlog=8192; root $work/files; }" \
  >"$work/upstream/conf"
nginx_conf "$work/nginx" "$workers" "
  upstream app { server 127.0.0.1:$upstream; keepalive 1024; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:$nginx_port reuseport backlog=8192;
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host \$host;
      proxy_set_header X-Forwarded-For \$remote_addr; proxy_set_header X-Forwarded-Proto \$scheme;
      proxy_set_header X-Forwarded-Host \$host; proxy_set_header X-Request-Id \$request_id;
      add_header X-Request-Id \$request_id; proxy_buffers 8 16k; proxy_max_temp_file_size 0;
    }
  }" >"$work/nginx/conf"

cat >"$work/haproxy.cfg" <<CONF
global
  nbthread $workers
  maxconn 8000
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:$haproxy_port
  unique-id-format %{+X}o%ci%cp%Ts%rt%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  default_backend app
backend app
  http-reuse always
  server app 127.0.0.1:$upstream check inter 2s pool-max-conn -1
CONF

sed -e "s/@LISTEN@/$banyan_port/; s/@UPSTREAM@/$upstream/; s/@WORKERS@/$workers/" bench/snapshot.json >"$work/state/snapshots/edge.json"

ulimit -n 20000 2>/dev/null || true
start() { # cpus, command…
  local cpus=$1
  shift
  taskset -c "$cpus" "$@" >"$work/log.$BASHPID.$RANDOM" 2>&1 &
  pids+=($!)
}
start "$load_cpus" nginx -p "$work/upstream" -c "$work/upstream/conf"
start "$proxy_cpus" nginx -p "$work/nginx" -c "$work/nginx/conf"; nginx_pid=${pids[-1]}
start "$proxy_cpus" haproxy -f "$work/haproxy.cfg"; haproxy_pid=${pids[-1]}
start "$proxy_cpus" "$BANYAN" --state "$work/state" role edge; banyan_pid=${pids[-1]}

names=(nginx haproxy banyan)
declare -A port=([nginx]=$nginx_port [haproxy]=$haproxy_port [banyan]=$banyan_port)
declare -A main=([nginx]=$nginx_pid [haproxy]=$haproxy_pid [banyan]=$banyan_pid)

for name in "${names[@]}"; do
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/${port[$name]}") 2>/dev/null && break
    sleep 0.1
  done
  (exec 3<>"/dev/tcp/127.0.0.1/${port[$name]}") 2>/dev/null || {
    echo "bench: $name did not start" >&2
    tail -n 5 "$work"/log.* >&2
    exit 1
  }
done

family() { # a process and its children
  echo "$1"
  cat /proc/"$1"/task/*/children 2>/dev/null | tr ' ' '\n' | grep . || true
}
ticks() { # CPU ticks of a contestant
  local pid sum=0
  for pid in $(family "$1"); do
    sum=$((sum + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')))
  done
  echo "$sum"
}
memory_kb() {
  local pid
  for pid in $(family "$1"); do
    awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null || awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status"
  done | awk '{ sum += $1 } END { print sum }'
}
busy() { # user, nice and system ticks of the proxy's cores
  awk -v cpus="$proxy_cpus" 'BEGIN { n = split(cpus, c, ","); for (i = 1; i <= n; i++) want["cpu" c[i]] }
    $1 in want { sum += $2 + $3 + $4 } END { print sum }' /proc/stat
}

hz=$(getconf CLK_TCK)
results=$work/results
: >"$results"
round() { # case, name, kept?
  local connections=${1%%:*} file=${1##*:} name=$2 keep=$3 before after busy_before busy_after out
  before=$(ticks "${main[$name]}") busy_before=$(busy)
  out=$(taskset -c "$load_cpus" wrk -t"$workers" -c"$connections" -d"${LENGTH}s" --latency \
    "http://127.0.0.1:${port[$name]}/$file")
  after=$(ticks "${main[$name]}") busy_after=$(busy)
  [ "$keep" = 1 ] || return 0
  echo "$out" | awk -v key="$1 $name" -v cpu=$((after - before)) -v busy=$((busy_after - busy_before)) -v hz="$hz" \
    -v memory="$(memory_kb "${main[$name]}")" -v length_s="$LENGTH" '
    function ms(t) { if (t ~ /us$/) return t / 1000; if (t ~ /ms$/) return t + 0; return t * 1000 }
    $1 == "50%" { p50 = ms($2) } $1 == "99%" { p99 = ms($2) }
    / requests in / { requests = $1 } /^Requests\/sec/ { rate = $2 }
    /Socket errors/ { gsub(",", ""); errors += $4 + $6 + $8 + $10 } /Non-2xx/ { errors += $NF }
    END {
      foreign = (busy - cpu) / hz / length_s
      print key, rate, cpu / hz / requests * 100000, p50, p99, memory / 1024, errors + 0, (foreign > 0.15 ? "disturbed" : "clean")
    }' >>"$results"
}

echo "proxy on CPU $proxy_cpus ($workers workers), load and upstream on CPU $load_cpus of $cores; $ROUNDS rounds of $LENGTH s, interleaved"
[ "$cores" -ge 4 ] || echo "only $cores cores: 1 + 1, so the load generator may be the limit"
"$BANYAN" version 2>/dev/null | head -1 || true
nginx -v 2>&1 | sed 's/.*: //'; haproxy -v | head -1 | cut -d' ' -f1-3
for case in $CASES; do
  for name in "${names[@]}"; do LENGTH=1 round "$case" "$name" 0; done
  for _ in $(seq "$ROUNDS"); do
    for name in "${names[@]}"; do round "$case" "$name" 1; done
  done
done

awk -v rounds="$ROUNDS" '
  function median(list, n,   i, j, t) {
    for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  }
  function column(key, field,   i, n, list) {
    for (i = 1; i <= count[key]; i++) if (all[key] || state[key, i] == "clean") list[++n] = value[key, i, field]
    low = high = list[1]
    for (i = 1; i <= n; i++) { if (list[i] < low) low = list[i]; if (list[i] > high) high = list[i] }
    return median(list, n)
  }
  { key = $1 " " $2; if (!($1 in seen)) { seen[$1]; cases[++c] = $1 }
    i = ++count[key]; for (f = 3; f <= 8; f++) value[key, i, f] = $f; state[key, i] = $9
    if ($9 == "clean") clean[key]++; else disturbed++
    errors[key] += $8 }
  END {
    split("nginx haproxy banyan", names, " ")
    for (k = 1; k <= c; k++) {
      split(cases[k], part, ":")
      printf "\n%s connections, %s\n%-9s %22s %24s %9s %9s %8s %7s %14s\n", part[1], part[2], "", "requests/s (min-max)", "CPU s/100k (min-max)", "p50 ms", "p99 ms", "MB", "errors", "CPU, rate vs nginx"
      for (n = 1; n <= 3; n++) {
        key = cases[k] " " names[n]
        all[key] = clean[key] < 3
        if (all[key]) loud = 1
        rate = column(key, 3); rates = sprintf("%d (%d-%d)", rate, low, high)
        cpu = column(key, 4); cpus = sprintf("%.2f (%.2f-%.2f)", cpu, low, high)
        if (n == 1) { base_rate = rate; base_cpu = cpu }
        printf "%-9s %22s %24s %9.2f %9.2f %8.1f %7d %8.2f, %.2f\n", names[n], rates, cpus, column(key, 5), column(key, 6), column(key, 7), errors[key], cpu / base_cpu, rate / base_rate
      }
    }
    printf "\n%d of %d rounds disturbed by other programs on the proxy cores%s\n", disturbed, NR, loud ? "; where fewer than 3 were clean, all were kept" : " (left out)"
  }' "$results"
