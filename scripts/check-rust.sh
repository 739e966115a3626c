#!/usr/bin/env bash
# Says what is wrong with the Rust toolchain, and how to get a good one. Installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
advice="Rust $wanted or newer is needed, from https://rustup.rs (Debian 12's own is too old):
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
  . \"\$HOME/.cargo/env\""

if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
  printf 'error: cargo or rustc was not found.\n%s\n' "$advice" >&2
  exit 1
fi
have=$(rustc --version | sed -E 's/^rustc ([0-9.]+).*$/\1/')
if [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" != "$wanted" ]; then
  printf 'error: rustc %s is too old.\n%s\nWith rustup already there: rustup update stable\n' "$have" "$advice" >&2
  exit 1
fi
