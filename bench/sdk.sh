#!/usr/bin/env bash
# What the SDK's cache costs and saves: a hit beside a plain GET, the hit ratio when keys are asked for by Zipf's law, and the
# sample app's feeds and profiles with the cache and without. bench/README.md says how.
#
#   bench/sdk.sh                            7 rounds of 3 s
#   ROUNDS=3 SECONDS_PER_ROUND=1 CASES=feed bench/sdk.sh
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-7}
LENGTH=${SECONDS_PER_ROUND:-3}
CASES=${CASES:-hit feed profile}
CONNECTIONS=${CONNECTIONS:-16}
READERS=${READERS:-100}
RESULTS=${RESULTS:-${CARGO_TARGET_DIR:-target}/bench-sdk.tsv}
FIRST_PORT=22100

# PROFILE=dev: to try the script, not for figures.
PROFILE=${PROFILE:-release}
cargo build --quiet --profile "$PROFILE" --locked -p photos -p banyan-sdk --bin photos --example hit_cost
built=$(realpath "${CARGO_TARGET_DIR:-target}/${PROFILE/#dev/debug}")
# What `need` looks for beside the programs.
BANYAN=$built/photos
# shellcheck source=bench/shared.sh
. bench/shared.sh
# shellcheck source=bench/postgres.sh
. bench/postgres.sh
PACKAGES="postgresql-$VERSION redis-server wrk curl python3 util-linux"
need redis-server redis-cli psql wrk curl taskset awk python3 "$PROGRAMS/postgres"

cores=$(nproc)
if [ "$cores" -ge 4 ]; then
  app_cpus=0 store_cpus=1,2 load_cpus=3
else
  app_cpus=0 store_cpus=$((cores - 1)) load_cpus=$((cores - 1))
fi

start_redis() { # name, settings…: sets redis_pid and url
  local name=$1
  shift
  free_port && redis_port=$free
  start taskset -c "$store_cpus" redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$work" --save '' --appendonly no "$@"
  redis_pid=$pid
  url=redis://127.0.0.1:$redis_port
  wait_port "$redis_port" "Redis ($name)"
}

hit() {
  # A tenth of the 50,000 keys fit.
  start_redis hit --maxmemory 9mb --maxmemory-policy allkeys-lfu
  REDIS_CACHE_URL=$url ROUNDS=$ROUNDS SECONDS_PER_ROUND=$LENGTH taskset -c "$app_cpus" "$built/examples/hit_cost"
  finish "$redis_pid"
}

# Two sites of the same seeded rows: instances with a cache beside one without would not read from it.
declare -A app
site() { # name, REDIS_CACHE_URL or nothing
  local name=$1 cache=$2 database=photos_$1
  PGPORT=$server_port psql -qX -d postgres -c "CREATE DATABASE $database"
  # Not as arguments, which others may read.
  export DATABASE_URL=postgres://postgres:$password@127.0.0.1:$server_port/$database REDIS_CACHE_URL=$cache REDIS_URL=
  export BANYAN_DATA_DIR=$work/$name HOST=127.0.0.1 RUST_LOG=warn DATABASE_POOL=16
  mkdir -p "$work/$name"
  "$built/photos" migrate >/dev/null 2>&1
  "$built/photos" seed --users 1000 --posts 10000 --follows 20000 >/dev/null 2>&1
  PGPORT=$server_port psql -qX -d "$database" -c 'VACUUM ANALYZE'
  free_port && port[$name]=$free
  export PORT=$free
  start taskset -c "$app_cpus" "$built/photos" serve
  app[$name]=$pid
  for _ in $(seq 300); do
    curl -fs "http://127.0.0.1:$free/readyz" >/dev/null && break
    sleep 0.1
  done
  PGPORT=$server_port psql -qXAt -d "$database" -c "SELECT username FROM users ORDER BY id LIMIT $READERS" >"$work/$name.users"
  local user
  while read -r user; do
    curl -fs "http://127.0.0.1:$free/api/users/login" -H 'content-type: application/json' \
      -d "{\"user\":{\"email\":\"$user@photos.test\",\"password\":\"photos-demo\"}}" |
      python3 -c 'import json, sys; print(json.load(sys.stdin)["user"]["token"])'
  done <"$work/$name.users" >"$work/$name.tokens"
}

# The k-th reader, or profile, comes in proportion to 1/k.
cat >"$work/zipf.lua" <<'LUA'
local requests, upto, sum = {}, {}, 0
function init()
  math.randomseed(tonumber(os.getenv("SEED")))
  for line in io.lines(os.getenv("LIST")) do
    sum = sum + 1 / (#upto + 1)
    upto[#upto + 1] = sum
    if os.getenv("READS") == "feed" then
      requests[#upto] = wrk.format("GET", "/api/articles/feed?limit=20", { Authorization = "Token " .. line })
    else
      requests[#upto] = wrk.format("GET", "/api/profiles/" .. line)
    end
  end
end
function request()
  local at, low, high = math.random() * sum, 1, #upto
  while low < high do
    local middle = math.floor((low + high) / 2)
    if upto[middle] < at then low = middle + 1 else high = middle end
  end
  return requests[low]
end
LUA

rounds=$work/rounds
workers=1
turn=0
take_turn() { # case, name, kept?
  local what=$1 name=$2 list before_app before_database after_app after_database out
  [ "$what" = feed ] && list=$work/$name.tokens || list=$work/$name.users
  turn=$((turn + 1))
  before_app=$(ticks "${app[$name]}") before_database=$(ticks "$database_pid")
  out=$(READS=$what LIST=$list SEED=$turn with_wrk "$CONNECTIONS" "http://127.0.0.1:${port[$name]}" -s "$work/zipf.lua")
  after_app=$(ticks "${app[$name]}") after_database=$(ticks "$database_pid")
  [ "$3" = 1 ] || return 0
  echo "$out" | awk -v key="$what $name" -v hz="$hz" -v app=$((after_app - before_app)) \
    -v database=$((after_database - before_database)) \
    '{ n = $2 ? $2 : 1; print key, $1, app / hz / n * 1e6, database / hz / n * 1e6, $3, $4, $5 }' >>"$rounds"
}

report() {
  awk '
    function median(key, field,   i, j, t, n, list) {
      n = count[key]
      for (i = 1; i <= n; i++) list[i] = value[key, i, field]
      for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
      return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    { key = $1 " " $2; i = ++count[key]; for (f = 3; f <= 8; f++) value[key, i, f] = $f + 0; cases[$1]; errors[key] += $8 }
    END {
      for (c in cases) {
        for (k = 1; k <= 2; k++) {
          name = k == 1 ? "tables" : "cache"
          key = c " " name
          for (f = 3; f <= 7; f++) m[k, f] = median(key, f)
          printf "%-8s %-7s %7.0f/s  app %5.0f us  database %5.0f us CPU per request  p50 %6.2f ms  p99 %6.2f ms  %d errors\n",
            c, name, m[k, 3], m[k, 4], m[k, 5], m[k, 6], m[k, 7], errors[key]
          print c "\t" name "\t" m[k, 3] "\t" m[k, 4] "\t" m[k, 5] "\t" m[k, 6] "\t" m[k, 7] "\t" errors[key] > results
          failed += errors[key]
        }
        printf "%-8s cache / tables: %.2f x requests/s, %.2f x CPU of the database\n", c, m[2, 3] / m[1, 3], m[2, 5] / (m[1, 5] ? m[1, 5] : 1)
      }
      exit failed > 0
    }' results="$RESULTS" "$rounds"
}

counts() { # of the app's process with the cache: what it tells for `banyan cache stats`
  redis-cli -p "$redis_port" HVALS banyan:stats | sed 's/^[0-9]* //' | python3 -c '
import json, sys
c = json.loads(sys.stdin.readline())
hits, loads, direct, most = (c[name] for name in ("hits", "loads", "direct_loads", "most_loads_at_once"))
reads = max(hits + loads + direct, 1)
print(f"hit ratio {100 * hits / reads:.1f} % of {reads} reads, {loads} loads, {direct} without Redis, {most} at once at most")'
}

case " $CASES " in *" hit "*) hit ;; esac
reads=$(tr ' ' '\n' <<<"$CASES" | grep -v '^hit$' || true)
[ -n "$reads" ] || exit 0
start_server postgres taskset -c "$store_cpus" -- "max_connections = 100" "shared_buffers = 256MB" "synchronous_commit = off"
database_pid=$pid
site tables ""
start_redis cache --maxmemory 256mb --maxmemory-policy allkeys-lfu
site cache "$url"
# It says that it reads from its cache once nobody else is there who has none.
sleep 3
mkdir -p "$(dirname "$RESULTS")"
for what in $reads; do
  for name in tables cache; do take_turn "$what" "$name" 0; done
  for turn_of in $(seq "$ROUNDS"); do
    if [ $((turn_of % 2)) = 0 ]; then order="cache tables"; else order="tables cache"; fi
    for name in $order; do take_turn "$what" "$name" 1; done
  done
done
report
sleep 1.5
counts
