#!/usr/bin/env bash
# All benchmarks; see bench/README.md.
set -euo pipefail
cd "$(dirname "$0")"
./edge.sh "$@"
./cdn.sh
./pgproxy.sh
./observe.sh
./sdk.sh
