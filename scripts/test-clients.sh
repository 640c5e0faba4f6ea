#!/usr/bin/env bash
# Checks and tests clients/python and clients/go against the real service over simulated Azure regions.
#
#   scripts/test-clients.sh
#
# Needs Python 3.10 or newer, Go, and the service's binary: SEALANE_BIN, default target/debug/sealane. Everything
# else is pinned and kept under target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SEALANE_BIN=$(realpath -m "${SEALANE_BIN:-target/debug/sealane}")
export SEALANE_BIN
if [[ ! -x "$SEALANE_BIN" ]]; then
  echo "There is no $SEALANE_BIN: run 'cargo build' first, or set SEALANE_BIN." >&2
  exit 1
fi

# The tests say themselves whom they call; settings of the person who runs them must not matter.
unset SEALANE_ADDR SEALANE_TOKEN SEALANE_CONFIG SEALANE_LISTEN

venv="$PWD/target/client-tests"
stamp="$venv/$(cat clients/python/requirements-test.txt clients/python/pyproject.toml | cksum | tr ' ' -)"
if [[ ! -e "$stamp" ]]; then
  echo "setting up ${venv#"$PWD"/}" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check \
    -r clients/python/requirements-test.txt -e clients/python
  touch "$stamp"
fi

(
  cd clients/python
  echo '== Python'
  "$venv/bin/ruff" check --quiet .
  "$venv/bin/ruff" format --quiet --check .
  "$venv/bin/mypy"
  "$venv/bin/pytest"
)
(
  cd clients/go
  echo '== Go'
  unformatted=$(gofmt -l .)
  if [[ -n "$unformatted" ]]; then
    printf 'gofmt would change:\n%s\n' "$unformatted" >&2
    exit 1
  fi
  go vet ./...
  # Never from the cache: what is tested is the binary, which Go's cache does not know.
  go test -count=1 ./...
)
