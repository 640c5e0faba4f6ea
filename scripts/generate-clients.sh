#!/usr/bin/env bash
# Generates the Python and Go stubs in clients/ from proto/, and copies clients/service_config.json into both packages.
# The result is committed, so users need no tools.
#
#   scripts/generate-clients.sh           writes the stubs
#   scripts/generate-clients.sh --check   writes nothing; fails, with the difference, if anything is not up to date
#
# Needs Python 3.10 or newer and Go. Every tool is pinned and kept under target/, protoc included.
set -euo pipefail

# Generated Python demands a runtime at least as new as the tool that wrote it, and tolerates the next protobuf
# major: so the oldest tools whose output (protobuf 6) still runs on the newest runtime (protobuf 7).
grpcio_tools=1.72.2
# Types for *_pb2_grpc.py; grpcio-tools writes none.
mypy_protobuf=3.6.0
protoc_gen_go=v1.36.6
protoc_gen_go_grpc=v1.5.1

cd "$(dirname "${BASH_SOURCE[0]}")/.."
check=false
case "${1:-}" in
  '') ;;
  --check) check=true ;;
  *) sed -n 's/^# \{0,1\}//; 2,8p' "$0" >&2; exit 2 ;;
esac

tools="$PWD/target/client-tools"
stamp="$tools/$grpcio_tools-$mypy_protobuf-$protoc_gen_go-$protoc_gen_go_grpc"
if [[ ! -e "$stamp" ]]; then
  echo "setting up the generators in ${tools#"$PWD"/}" >&2
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check \
    "grpcio-tools==$grpcio_tools" "grpcio==$grpcio_tools" "mypy-protobuf==$mypy_protobuf" 'setuptools<81'
  GOBIN="$tools/bin" go install "google.golang.org/protobuf/cmd/protoc-gen-go@$protoc_gen_go"
  GOBIN="$tools/bin" go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$protoc_gen_go_grpc"
  touch "$stamp"
fi

out=$(mktemp -d "$PWD/target/generated-clients.XXXXXX")
trap 'rm -rf "$out"' EXIT
mkdir -p "$out/python" "$out/go"
PATH="$tools/bin:$PATH" "$tools/bin/python" -m grpc_tools.protoc -I proto \
  --python_out="$out/python" --pyi_out="$out/python" \
  --grpc_python_out="$out/python" --mypy_grpc_out=quiet:"$out/python" \
  --go_out="$out/go" --go_opt=paths=source_relative \
  --go-grpc_out="$out/go" --go-grpc_opt=paths=source_relative \
  proto/sealane/v1/*.proto

status=0
for pair in python:clients/python/src go:clients/go; do
  from="$out/${pair%%:*}/sealane/v1" to="${pair#*:}/sealane/v1"
  if $check; then
    diff -ru --exclude=__init__.py --exclude=__pycache__ "$to" "$from" || status=1
  else
    mkdir -p "$to"
    find "$to" -type f \( -name '*_pb2*.py' -o -name '*_pb2*.pyi' -o -name '*.pb.go' \) -delete
    cp "$from"/* "$to"/
  fi
done
for copy in clients/python/src/sealane/service_config.json clients/go/service_config.json; do
  if $check; then
    diff -u "$copy" clients/service_config.json || status=1
  else
    cp clients/service_config.json "$copy"
  fi
done
if ((status)); then
  echo 'What is committed differs from what is generated. Run scripts/generate-clients.sh and commit the result.' >&2
fi
exit "$status"
