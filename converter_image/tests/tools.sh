#!/usr/bin/env bash
# What the converter's tests need beside its virtual environment: a browser for the report, and emulators of Google's and
# Azure's object storage, in converter_image/.tools. Azure's runs on Node.js: without npm its tests are skipped, and say so.
set -euo pipefail
cd "$(dirname "$0")/.."
fake_gcs_server=v1.56.1
azurite=3.35.0

export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin"
fail() { echo "tools: $*" >&2; exit 2; }

if ! command -v chromium > /dev/null; then
  echo "tools: installing the Debian package chromium"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } > /tmp/tools-apt.log 2>&1 \
    || fail "apt-get failed: $(tail -1 /tmp/tools-apt.log) (all of it in /tmp/tools-apt.log)"
fi

mkdir -p .tools/bin
stamp=.tools/fake-gcs-server-$fake_gcs_server
if [ ! -e "$stamp" ]; then
  echo "tools: building fake-gcs-server $fake_gcs_server"
  GOBIN=$PWD/.tools/bin CGO_ENABLED=0 go install "github.com/fsouza/fake-gcs-server@$fake_gcs_server" > /tmp/tools-go.log 2>&1 \
    || fail "go install failed: $(tail -1 /tmp/tools-go.log)"
  touch "$stamp"
fi

stamp=.tools/azurite-$azurite
if [ ! -e "$stamp" ] && command -v npm > /dev/null; then
  echo "tools: installing azurite $azurite"
  npm install --silent --no-audit --no-fund --prefix .tools "azurite@$azurite" > /tmp/tools-npm.log 2>&1 \
    || fail "npm install failed: $(tail -1 /tmp/tools-npm.log)"
  ln -sf ../node_modules/.bin/azurite-blob .tools/bin/azurite-blob
  touch "$stamp"
fi
