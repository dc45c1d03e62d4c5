#!/usr/bin/env bash
# All that a fresh Debian machine lacks for `make demo` and `make test`, but for Go: Debian packages, uv, and the two
# virtual environments. Prints what it does; does nothing twice. What it cannot do itself is one sentence.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Bytecode is made once: under PYTHONDONTWRITEBYTECODE each process that starts TensorFlow would make it anew.
export UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1

fail() { echo "setup: $*" >&2; exit 2; }

[ "$(id -u)" = 0 ] || fail "the embedded cluster needs root: run this as root, or with sudo"
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin"
command -v apt-get > /dev/null || fail "this machine is no Debian: install containerd, runc, the CNI plugins, buildah, debootstrap, iptables and conntrack yourself"
command -v go > /dev/null || fail "Go 1.26 or newer is missing: install it and put it on PATH"
go_version=$(go env GOVERSION)
[ "$(printf '%s\n' go1.26 "$go_version" | sort -V | head -1)" = go1.26 ] || fail "Go 1.26 or newer is needed, and $(command -v go) is $go_version: install a newer one"
[ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
  || fail "Python 3.11 is missing at /usr/bin/python3: the converter needs it (TensorFlow 2.14.1 has no wheel for a newer one); install Debian 12's python3"

packages=()
for package in containerd runc containernetworking-plugins buildah debootstrap iptables iproute2 conntrack procps python3-venv; do
  dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || packages+=("$package")
done
if [ ${#packages[@]} -gt 0 ]; then
  echo "setup: installing Debian packages: ${packages[*]}"
  # containerd's package would start a daemon of its own, which nobody asked for.
  printf '#!/bin/sh\nexit 101\n' > /tmp/policy-rc.$$ && chmod +x /tmp/policy-rc.$$
  had_policy=; [ -e /usr/sbin/policy-rc.d ] && had_policy=1 || mv /tmp/policy-rc.$$ /usr/sbin/policy-rc.d
  trap '[ -n "$had_policy" ] || rm -f /usr/sbin/policy-rc.d; rm -f /tmp/policy-rc.$$' EXIT
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; } > /tmp/setup-apt.log 2>&1 \
    || fail "apt-get failed: $(tail -1 /tmp/setup-apt.log) (all of it in /tmp/setup-apt.log)"
fi

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  uv=$PWD/.venv-uv/bin/uv
  [ -x "$uv" ] || { echo "setup: installing uv"; /usr/bin/python3 -m venv .venv-uv && .venv-uv/bin/pip install -q 'uv>=0.8'; }
  export PATH="$PATH:$PWD/.venv-uv/bin"
fi

compiled() { # folder; what uv has compiled when it installs the folder's package
  ls "$1"/hatch_build.py "$1"/tftrt_runtime/serve/*.[ch] 2> /dev/null || true
}

sync() { # folder, words, arguments
  local stamp=$1/.venv/.synced sum
  sum=$(cat "$1/pyproject.toml" "$1/uv.lock" $(compiled "$1") | sha256sum)
  [ "$(cat "$stamp" 2> /dev/null)" = "$sum" ] && return
  echo "setup: $2"
  (cd "$1" && "$uv" sync -q --frozen --python /usr/bin/python3 "${@:3}")
  echo "$sum" > "$stamp"
}
sync . "the operator's virtual environment"
sync converter_image "the converter's virtual environment (TensorFlow 2.14.1 for the CPU)" --extra cpu
