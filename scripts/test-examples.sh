#!/usr/bin/env bash
# Checks examples/knowledge_engine, and tests it against the real service over simulated Azure regions.
#
#   scripts/test-examples.sh
#
# Needs Python 3.10 or newer, and the service's binary: SEALANE_BIN, default target/debug/sealane. Everything else is
# pinned and kept under target/.
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

requirements=(clients/python/requirements-test.txt examples/knowledge_engine/requirements-test.txt)
venv="$PWD/target/example-tests"
stamp="$venv/$(cat "${requirements[@]}" clients/python/pyproject.toml | cksum | tr ' ' -)"
if [[ ! -e "$stamp" ]]; then
  echo "setting up ${venv#"$PWD"/}" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${requirements[@]/#/--requirement=}" -e clients/python
  touch "$stamp"
fi

cd examples/knowledge_engine
"$venv/bin/ruff" check --quiet .
"$venv/bin/ruff" format --quiet --check .
"$venv/bin/mypy"
"$venv/bin/pytest"
