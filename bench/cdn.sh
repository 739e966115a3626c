#!/usr/bin/env bash
# Compares the edge's cache with Varnish and nginx's proxy_cache: CPU per hit, hits/s, latency, what a miss costs more than
# plain forwarding, memory per object, hits among many objects. bench/README.md says how.
#
#   bench/cdn.sh                  5 rounds of 3 s per case, a million objects: 8 minutes, 12 at most (MINUTES)
#   ROUNDS=3 SECONDS_PER_ROUND=2 OBJECTS=100000 bench/cdn.sh
#   BANYAN=path/to/banyan CASES="hit:64:1k" OBJECTS=0 bench/cdn.sh
#
# Cases: KIND:CONNECTIONS:FILE. Kinds: hit (one object), pass (each request another one, none to be kept), miss (each request
# another one, 1 KB), many (any of OBJECTS; after all of them were asked for once, which is when memory is measured). When
# the time is up, what is left is left out, and named.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-5}
LENGTH=${SECONDS_PER_ROUND:-3}
OBJECTS=${OBJECTS:-1000000}
CASES=${CASES:-hit:64:1k hit:512:1k hit:64:64k pass:64:1k miss:64:1k}
MINUTES=${MINUTES:-12}
RESULTS=${RESULTS:-${CARGO_TARGET_DIR:-target}/bench-cdn.tsv}
NAMES=${NAMES:-varnish nginx banyan}

# shellcheck source=bench/shared.sh
. bench/shared.sh
PACKAGES="varnish nginx-light wrk nghttp2-client openssl util-linux"
need varnishd nginx wrk h2load openssl taskset awk split
pin_cpus
configure "$workers"
# A minute is kept for the end.
ends=$((SECONDS + MINUTES * 60 - 60))
free_port && port[varnish]=$free

# What each may keep: the objects of `many`, those that misses leave behind, and some.
memory_mb=$((1024 + OBJECTS * 4 / 1024))

# The upstream: files under any name below /o/ and /m/, kept for an hour.
nginx_conf "$work/upstream" "$workers" "server {
  listen 127.0.0.1:$upstream reuseport backlog=8192; root $work/files;
  add_header Cache-Control \"public, max-age=3600\";
  location /o/ { rewrite ^ /1k break; }
  location /m/ { rewrite ^ /1k break; }
  location /p/ { add_header Cache-Control private; rewrite ^ /1k break; }
}" >"$work/upstream/conf"
nginx_conf "$work/nginx" "$workers" "
proxy_cache_path $work/nginx/cache levels=1:2 keys_zone=c:$((64 + OBJECTS / 4096))m max_size=${memory_mb}m inactive=1h use_temp_path=off;
upstream app { server 127.0.0.1:$upstream; keepalive 1024; keepalive_requests 100000000; }
server {
  listen 127.0.0.1:${port[nginx]} reuseport backlog=8192;
  location / {
    proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host \$host;
    proxy_set_header X-Forwarded-For \$remote_addr;
    proxy_cache c; proxy_cache_lock on; proxy_buffers 8 16k;
    add_header X-Cache \$upstream_cache_status;
  }
}" >"$work/nginx/conf"
# Bytes from the shell: mawk writes large numbers as 5.1e+09.
awk -v memory="$((memory_mb << 20))" '/"access_log"/ { print "    \"cache\": { \"memory\": " memory ", \"profile\": \"safe\" }," } { print }' \
  "$work/state/snapshots/edge.json" >"$work/edge.json"
mv "$work/edge.json" "$work/state/snapshots/edge.json"
mkdir -p "$work/varnish"
chmod a+rx "$work" "$work/varnish"
command[varnish]="varnishd -F -j none -n $work/varnish -a 127.0.0.1:${port[varnish]} -b 127.0.0.1:$upstream -s malloc,${memory_mb}m -p thread_pools=$workers -p thread_pool_min=200"

declare -A main
# shellcheck disable=SC2086 # words are meant
{
  start taskset -c "$load_cpus" ${command[upstream]}
  for name in $NAMES; do
    start taskset -c "$proxy_cpus" ${command[$name]}
    main[$name]=$pid
  done
}
for name in $NAMES; do wait_port "${port[$name]}" "$name"; done

# Each thread counts on its own; `next` is the path of the nth request of all.
lua() { # file, body of `next` (n is the number, t the thread, threads how many)
  cat >"$work/$1" <<LUA
local threads, t, n = $workers, 0, -1
local count = 0
function setup(thread) thread:set("t0", count); count = count + 1 end
function init(args) t = t0; math.randomseed(os.time() * 100 + t) end
local function next(n) $2 end
function request() n = n + 1; return wrk.format("GET", next(n * threads + t)) end
LUA
}
epoch=0
generate() { # case, name
  local kind connections file
  IFS=: read -r kind connections file <<<"$1"
  local url=http://127.0.0.1:${port[$2]}
  case $kind in
    hit) with_wrk "$connections" "$url/$file" ;;
    miss)
      epoch=$((RANDOM * 32768 + RANDOM))
      lua miss.lua "return '/m/$epoch/' .. n"
      with_wrk "$connections" "$url" -s "$work/miss.lua"
      ;;
    pass)
      lua pass.lua "return '/p/' .. n"
      with_wrk "$connections" "$url" -s "$work/pass.lua"
      ;;
    many)
      lua many.lua "return '/o/' .. math.random(0, $OBJECTS - 1)"
      with_wrk "$connections" "$url" -s "$work/many.lua"
      ;;
    *) echo "bench: no such kind of case: $1" >&2; exit 1 ;;
  esac
}

rounds=$work/rounds
: >"$rounds"
late() { # what: is left out
  [ "$SECONDS" -ge "$ends" ] || return 1
  echo "bench: the $MINUTES minutes are up: without $1" >&2
}
measure() { # case
  local name turn
  late "$1" && return
  for name in $NAMES; do (LENGTH=1; round "$1" "$name" 0); done
  for turn in $(seq "$ROUNDS"); do
    late "rounds $turn to $ROUNDS of $1" && return
    for name in $NAMES; do round "$1" "$name" 1; done
  done
  echo "done: $1" >&2
}

# Every object once, by clients that each have their own; what that costs in memory, with everything that belongs to it.
fill() { # name
  local before head part filler fillers=() all=yes left=$((ends - SECONDS))
  late "the objects of $1" && return
  seq -f "http://127.0.0.1:${port[$1]}/o/%.0f" 0 $((OBJECTS - 1)) >"$work/uris"
  rm -f "$work"/part.*
  split -n l/16 "$work/uris" "$work/part."
  before=$(memory_kb "${main[$1]}")
  for part in "$work"/part.*; do
    timeout "$left" taskset -c "$load_cpus" h2load --h1 -c 1 -n "$(wc -l <"$part")" -i "$part" >/dev/null 2>&1 &
    fillers+=($!)
  done
  for filler in "${fillers[@]}"; do wait "$filler" || all=no; done
  if [ $all = no ]; then
    late "some objects of $1" || echo "bench: not all objects of $1 could be asked for" >&2
    return
  fi
  # What is there says so.
  head=$(printf 'GET /o/%s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$((OBJECTS / 2))" "${port[$1]}" |
    timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/${port[$1]}; cat >&3; cat <&3" | tr -d '\0' | sed '/^\r$/q')
  grep -qiE '^(age: *[0-9]|x-cache: *hit)' <<<"$head" || echo "bench: $1 does not have what was asked for" >&2
  echo "$1 $((($(memory_kb "${main[$1]}") - before) * 1024 / OBJECTS))" >>"$work/objects"
}

echo "caches on CPU $proxy_cpus ($workers workers), load and upstream on CPU $load_cpus of $cores; $ROUNDS rounds of $LENGTH s, interleaved"
"$BANYAN" version 2>/dev/null | head -1 || true
nginx -v 2>&1 | sed 's/.*: //'; varnishd -V 2>&1 | head -1
for case in $CASES; do measure "$case"; done
: >"$work/objects"
if [ "$OBJECTS" -gt 0 ]; then
  for name in $NAMES; do fill "$name"; done
  measure many:64:1k
  echo
  echo "memory per object of 1 KB, of $OBJECTS (nginx: its index; bodies are files)"
  awk '{ printf "%-9s %d bytes\n", $1, $2 }' "$work/objects"
fi
: >"$work/idle"
mkdir -p "$(dirname "$RESULTS")"
awk -v names="$NAMES" -v rate="" -v idle=0 -f bench/table.awk -v results="$RESULTS" "$rounds" "$work/idle"
awk -v count="$OBJECTS" '{ printf "object:%d\t%s\t%d\n", count, $1, $2 }' "$work/objects" >>"$RESULTS"
# What keeping costs: a miss against the same request that is only passed on.
awk -F '\t' '$1 ~ /^pass:/ { pass[$2] = $6 } $1 ~ /^miss:/ { miss[$2] = $6; names[++n] = $2 }
  END {
    for (i = 1; i <= n; i++) {
      name = names[i]
      if (!pass[name]) continue
      if (!head++) print "\nCPU of a miss against that of a request that is passed on"
      printf "%-9s %.2f\n", name, miss[name] / pass[name]
    }
  }' "$RESULTS"
echo "machine-readable: $RESULTS"
