#!/usr/bin/env bash
# Installs the Debian packages that are missing, and nothing when none is. Safe to run again and again.
#
# - PostgreSQL 15: Banyan runs its own server from these programs, with its own data directory and port. Debian's package
#   would also create and start a cluster on port 5432 at its first install; nobody here wants that one, so it is told not to
#   (and only for the time of the install: later packages of yours behave as Debian says).
# - Redis: the same. Debian's package would start a server on port 6379, now and at every boot; it is told not to.
# - pgBackRest: what makes and restores backups of it.
# - Python and Node, with the argument `tests` only: what the example apps in other languages run with.
# - A C compiler and linker: what Rust links with.
# - libclang: PostgreSQL's grammar is C, and its Rust binding is made from its headers when Banyan is built.
set -euo pipefail

missing=()
[ -x /usr/lib/postgresql/15/bin/postgres ] || missing+=(postgresql-15)
[ -x /usr/bin/redis-server ] || missing+=(redis-server)
[ -x /usr/bin/pgbackrest ] || missing+=(pgbackrest)
if [ "${1:-}" = tests ]; then
  [ -x /usr/bin/python3 ] || missing+=(python3)
  [ -x /usr/bin/node ] || missing+=(nodejs)
fi
command -v cc >/dev/null || missing+=(build-essential)
compgen -G '/usr/lib/llvm-*/lib/libclang.so' >/dev/null || missing+=(libclang-dev)
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    printf 'error: these packages are missing, and there is no sudo to install them:\n  %s\nAs root, run:\n  apt-get install %s\n' \
      "${missing[*]}" "${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
if ! command -v apt-get >/dev/null; then
  printf 'error: please install %s: this machine has no apt-get (Banyan is made for Debian 12)\n' "${missing[*]}" >&2
  exit 1
fi

printf 'Installing from Debian: %s\n' "${missing[*]}"
drop_in=/etc/postgresql-common/createcluster.d/banyan-install.conf
policy=/usr/sbin/policy-rc.d
undo=()
remove_files() { [ ${#undo[@]} -eq 0 ] || "${as_root[@]}" rm -f "${undo[@]}"; }
trap remove_files EXIT
if [[ " ${missing[*]} " == *" redis-server "* ]] && [ ! -e "$policy" ]; then
  undo+=("$policy")
  printf '#!/bin/sh\n# No service of a package starts while Banyan installs.\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi
if [[ " ${missing[*]} " == *" postgresql-15 "* ]]; then
  undo+=("$drop_in")
  "${as_root[@]}" mkdir -p "$(dirname "$drop_in")"
  printf 'create_main_cluster = false\n' | "${as_root[@]}" tee "$drop_in" >/dev/null
fi
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
"${apt[@]}" install --no-install-recommends "${missing[@]}" || {
  # A fresh machine often has no package lists, or old ones.
  "${apt[@]}" update
  "${apt[@]}" install --no-install-recommends "${missing[@]}"
}
if [[ " ${missing[*]} " == *" redis-server "* ]] && command -v systemctl >/dev/null; then
  "${as_root[@]}" systemctl disable redis-server >/dev/null 2>&1 || true
fi
