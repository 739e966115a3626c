# shellcheck shell=bash
# Drivers for Node.js. Sourced after compare.sh; sets source[SUITE], prints verdicts. The packages of `pg` and postgres.js have
# no tests: what is in tests/outside/matrix stands for them. Of what belongs to `pg`, the last versions that have are taken.

fetch_node() { # suite: all of them at once, in one folder
  local wanted
  case $1 in
    pg-*) source[$1]=$NODE/node_modules/$1 ;;
    *) source[$1]=$NODE/matrix ;;
  esac
  wanted=$(package_json)
  [ ! -d "$NODE/node_modules" ] || [ "$wanted" != "$(cat "$NODE/package.json")" ] || return 0
  rm -rf "$NODE" && mkdir -p "$NODE"
  printf '%s\n' "$wanted" >"$NODE/package.json"
  (cd "$NODE" && timeout 300 npm install --silent --no-audit --no-fund) || die "the packages of Node.js were not fetched"
  mkdir "$NODE/matrix"
}

# The last ones are what the tests import.
package_json() {
  cat <<JSON
{
  "private": true,
  "dependencies": {
    "pg": "${VERSIONS[node-postgres]}", "postgres": "${VERSIONS[postgres.js]}", "pg-copy-streams": "7.0.0",
    "pg-pool": "${VERSIONS[pg-pool]}", "pg-cursor": "${VERSIONS[pg-cursor]}", "pg-query-stream": "${VERSIONS[pg-query-stream]}",
    "mocha": "10.8.2", "bluebird": "3.7.2", "co": "4.6.0", "expect.js": "0.3.1", "lodash": "4.17.21",
    "JSONStream": "0.7.4", "concat-stream": "1.0.1", "stream-spec": "0.3.6", "through": "2.3.8"
  }
}
JSON
}

# TAP: the lines of single tests, without their numbers.
verdicts_of_tap() { # log
  sed -nE 's/^(not )?ok [0-9]+ (- )?(.*)$/\1\3/p' "$1" | sed -E 's/ # (time|SKIP|TODO).*//; s/ +/_/g' |
    awk '/^not_/ { sub(/^not_/, ""); print $0, "FAILED"; next } { print $0, "ok" }' | sort -u
}

with_node() { # log, file
  cp "$OLDPWD/tests/outside/matrix/$2" .
  timeout "${LIMIT:-600}" node --test-reporter=tap "$2" >"$1" 2>&1 || true
  verdicts_of_tap "$1"
}

# Left out: what needs a package of tests from GitHub.
with_mocha() { # log
  local tests
  mapfile -t tests < <(grep -LE "stream-tester|stream-spec" test/*.js || true)
  timeout "${LIMIT:-600}" "$NODE/node_modules/.bin/mocha" --reporter tap --exit --timeout 10000 "${tests[@]}" >"$1" 2>&1 || true
  verdicts_of_tap "$1"
}
