#!/usr/bin/env bash
# What the converter's tests need beside its virtual environment: a browser for the report, curl, the KServe SDK in a virtual
# environment of its own, and emulators of Google's and Azure's object storage, in converter_image/.tools. Azure's runs on
# Node.js: without npm its tests are skipped, and say so.
set -euo pipefail
cd "$(dirname "$0")/.."
fake_gcs_server=v1.56.1
azurite=3.35.0
kserve=0.21.0

export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin:$PWD/../.venv-uv/bin"
fail() { echo "tools: $*" >&2; exit 2; }

for package in chromium curl; do
  command -v $package > /dev/null && continue
  echo "tools: installing the Debian package $package"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $package; } > /tmp/tools-apt.log 2>&1 \
    || fail "apt-get failed: $(tail -1 /tmp/tools-apt.log) (all of it in /tmp/tools-apt.log)"
done

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

# Not in the converter's own environment: the SDK wants a protobuf that TensorFlow 2.14.1 does not take.
stamp=.tools/kserve-$kserve
if [ ! -e "$stamp" ]; then
  echo "tools: installing the KServe SDK $kserve"
  { uv venv -q --clear --python /usr/bin/python3 .tools/kserve && uv pip install -q --python .tools/kserve/bin/python "kserve==$kserve"; } > /tmp/tools-uv.log 2>&1 \
    || fail "uv failed: $(tail -1 /tmp/tools-uv.log) (all of it in /tmp/tools-uv.log)"
  touch "$stamp"
fi
