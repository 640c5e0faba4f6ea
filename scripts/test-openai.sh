#!/usr/bin/env bash
# Lets the official openai Python SDK judge the simulated region: its own clients, unchanged, against a real process.
#
#   scripts/test-openai.sh [PYTEST ARGUMENT...]
#
# Needs Python 3.10 or newer and the binary: SEALANE_BIN, default target/debug/sealane. Everything else is pinned and
# kept under target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SEALANE_BIN=$(realpath -m "${SEALANE_BIN:-target/debug/sealane}")
export SEALANE_BIN
if [[ ! -x "$SEALANE_BIN" ]]; then
  echo "There is no $SEALANE_BIN: run 'cargo build' first, or set SEALANE_BIN." >&2
  exit 1
fi

venv="$PWD/target/openai-tests"
stamp="$venv/$(cksum <tests/openai/requirements.txt | tr ' ' -)"
if [[ ! -e "$stamp" ]]; then
  echo "setting up ${venv#"$PWD"/}" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/openai/requirements.txt
  touch "$stamp"
fi

cd tests/openai
echo '== The official openai SDK'
"$venv/bin/ruff" check --quiet .
"$venv/bin/ruff" format --quiet --check .
"$venv/bin/pytest" "$@"
