#!/usr/bin/env bash
# Kills a region under a Python and a Go client that trace themselves, and finds the failover in a real Jaeger.
#
#   scripts/acceptance-jaeger.sh
#
# Needs Python 3.10 or newer, Go, and the service's binary: SEALANE_BIN, default target/debug/sealane. Takes Jaeger
# v2's binary from JAEGER; else builds it with Go into target/jaeger, once: five to twenty minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The module's path lacks /v2, so that its v2 tags cannot be asked for; v1.76.0 holds the v2 binary as well.
version=v1.76.0
tools="$PWD/target/jaeger"

SEALANE_BIN=$(realpath -m "${SEALANE_BIN:-target/debug/sealane}")
if [[ ! -x "$SEALANE_BIN" ]]; then
  echo "There is no $SEALANE_BIN: run 'cargo build' first, or set SEALANE_BIN." >&2
  exit 1
fi
mkdir -p "$tools"

jaeger=${JAEGER:-$tools/jaeger-$version}
if [[ ! -x $jaeger ]]; then
  echo "building Jaeger $version with Go into ${jaeger#"$PWD"/}; this takes some minutes, once" >&2
  sources=$(go mod download -json "github.com/jaegertracing/jaeger@$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
  # In the module's own folder, so that its go.mod, with its replacements, and its go.sum hold. The assets of the UI
  # are not in the module: a page says so in their place, and the query API is all there.
  (
    cd "$sources"
    nice go build -mod=readonly -ldflags '-s -w' -o "$jaeger.part" ./cmd/jaeger
  )
  mv "$jaeger.part" "$jaeger"
fi

venv="$tools/python"
stamp="$venv/$(cat tests/jaeger/requirements.txt clients/python/pyproject.toml | cksum | tr ' ' -)"
if [[ ! -e "$stamp" ]]; then
  echo "setting up ${venv#"$PWD"/}" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/jaeger/requirements.txt -e clients/python
  touch "$stamp"
fi
(cd tests/jaeger/go_client && go build -o "$tools/go_client" .)

exec python3 tests/jaeger/acceptance.py \
  --sealane "$SEALANE_BIN" --jaeger "$jaeger" --python "$venv/bin/python" --go-client "$tools/go_client"
