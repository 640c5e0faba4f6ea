#!/usr/bin/env bash
# Installs the linters of scripts/lint-tools.txt into target/lint-tools, once for each change of that list.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=target/lint-tools
if cmp -s scripts/lint-tools.txt "$tools/installed.txt"; then
  exit 0
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  echo 'Python 3.10 or newer is needed.' >&2
  exit 1
}
echo "installing the linters into $tools" >&2
rm -rf "$tools"
python3 -m venv "$tools" || {
  echo "Python's venv module is needed (on Debian and Ubuntu: apt-get install python3-venv)." >&2
  exit 1
}
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check --requirement scripts/lint-tools.txt
cp scripts/lint-tools.txt "$tools/installed.txt"
