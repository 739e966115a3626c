#!/usr/bin/env bash
# Builds what the end-to-end tests start, before cargo-nextest runs them (.config/nextest.toml).
# `make test` has built it already, with the whole workspace's features, and says so.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${BANYAN_BINARIES:-}" = built ] || {
  cargo build --locked -p banyan -p photos
  cargo build --locked -p banyan-sdk --example visits
}
