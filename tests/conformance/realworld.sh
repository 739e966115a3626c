#!/usr/bin/env bash
# Runs the RealWorld suite with the real hurl against a running site.
#
#   tests/conformance/realworld.sh http://127.0.0.1:8080 [folder of the .hurl files]
#
# `make test` runs the same files with a runner of its own (crates/banyan-testkit/src/hurl.rs); this is the check of the
# checker. Exit 0: all passed; 1: something failed; 64: wrong use; 69: hurl or the suite is missing.
set -euo pipefail

usage="usage: $0 http://HOST:PORT [FOLDER]"
host=${1:?$usage}
root=$(cd "$(dirname "$0")/../.." && pwd)
suite=${2:-$root/../shared/spec/realworld}

case $host in
http://* | https://*) ;;
*)
    echo "$usage" >&2
    exit 64
    ;;
esac

if ! command -v hurl >/dev/null; then
    echo "hurl is missing. Install it (about 10 minutes):" >&2
    echo "  sudo apt-get install -y libxml2-dev libclang-dev" >&2
    echo "  cargo install hurl --locked --version 8.0.1 --features static-openssl" >&2
    exit 69
fi

if ! ls "$suite"/*.hurl >/dev/null 2>&1; then
    echo "no .hurl files in $suite; give their folder as the second argument" >&2
    exit 69
fi

# Names of users and posts are unique to this run, so that it can be repeated on the same database.
exec hurl --test --jobs 1 --variable "host=${host%/}" --variable "uid=$(date +%s)$$" "$suite"/*.hurl
