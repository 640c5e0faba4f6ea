#!/usr/bin/env bash
# Builds the release binary and the bench, and measures one beside the other. Arguments go to the bench:
# --quick for under a minute, --json FILE to keep the figures, --help for the rest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ "$(uname -s)" != Linux ]]; then
    echo "The bench reads CPU time from /proc and pins processes with taskset: Linux only." >&2
    exit 1
fi
if (($(nproc) < 2)); then
    echo "The bench needs two cores: one for the gateway, one for all else." >&2
    exit 1
fi

# Two builds, so that what the bench needs of a crate does not get into the product's binary.
cargo build --release --locked --bin sealane
cargo build --release --locked --package sealane-bench

# 1,000 idle streams are up to 2,000 connections of one process.
ulimit -n "$(ulimit -Hn)"
exec "${CARGO_TARGET_DIR:-target}/release/sealane-bench" run --sealane "${CARGO_TARGET_DIR:-target}/release/sealane" "$@"
