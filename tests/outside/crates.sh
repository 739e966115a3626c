# shellcheck shell=bash
# Rust's drivers bring their tests in their crates. Sourced after compare.sh; sets source[SUITE], prints verdicts.

fetch_crate() { # suite, crate, version: its source, tests and all, into target/outside
  local folder=$CACHE/$1-$3 part=$CACHE/$1-$3.part
  source[$1]=$folder
  [ ! -d "$folder" ] || return 0
  rm -rf "$part" && mkdir -p "$part/src"
  printf '[package]\nname = "of-%s"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n%s = { version = "=%s", default-features = false }\n[workspace]\n' \
    "$1" "$2" "$3" >"$part/Cargo.toml"
  : >"$part/src/lib.rs"
  (cd "$part" && timeout 600 cargo vendor --quiet vendor >/dev/null) || die "$2 $3 was not fetched from crates.io"
  rm "$part/vendor/$2/.cargo-checksum.json"
  cp -r "$part/vendor/$2/tests" "$part/vendor/$2/tests.as-published"
  # A package of its own, whatever lies around it.
  printf '\n[workspace]\n' >>"$part/vendor/$2/Cargo.toml"
  mv "$part/vendor/$2" "$folder"
  rm -rf "$part"
}

as_published() { rm -rf tests && cp -r tests.as-published tests; }

verdicts_of_cargo() { # log
  awk '/^ +Running / { target = $2; sub(/.*\//, "", target); sub(/\.rs$/, "", target) }
    /^test .* \.\.\. (ok|FAILED)$/ { print target "::" $2, ($NF == "ok" ? "ok" : $NF) }' "$1" | sort -u
}

# Its tests know one port, and a user without a password.
with_tokio() { # log, port
  as_published
  find tests -name '*.rs' -exec sed -i "s/5433/$2/g; s/user=postgres/user=postgres password=$PGPASSWORD dbname=$PGDATABASE/g" {} +
  CARGO_TARGET_DIR=$CACHE/crates timeout "${LIMIT:-1200}" cargo test --no-fail-fast --test test \
    --features with-chrono-0_4,with-serde_json-1,with-uuid-1,with-time-0_3,array-impls >"$1" 2>&1 || true
  verdicts_of_cargo "$1"
}

# Each of its tests makes a database of its own; a proxy serves one, which a schema made anew stands for.
with_sea() { # log, port
  as_published
  sed -i -E 's/DROP DATABASE IF EXISTS \\"\{db_name\}\\"/DROP SCHEMA public CASCADE/; s/CREATE DATABASE \\"\{db_name\}\\"/CREATE SCHEMA public/; s#\{base_url\}/\{db_name\}#{base_url}/'"$PGDATABASE#" tests/common/setup/mod.rs
  CARGO_TARGET_DIR=$CACHE/crates DATABASE_URL="postgres://postgres:$PGPASSWORD@127.0.0.1:$2" timeout "${LIMIT:-1800}" cargo test --no-fail-fast \
    --test '*' --features sqlx-postgres,runtime-tokio,tests-cfg,with-ipnetwork,postgres-array -- --test-threads=1 >"$1" 2>&1 || true
  verdicts_of_cargo "$1"
}
