#!/usr/bin/env bash
# Runs each measurement in benches/ against release builds of the four services on real servers, in a scratch directory.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d /var/tmp/mp3converter-bench.XXXXXX)
trap 'target/release/stack down "$scratch/stack"; rm -rf "$scratch"' EXIT
target/release/stack up "$scratch/stack" > "$scratch/up.log"
SCRATCH=$scratch python3 benches/memory.py "$scratch/stack/processes.json" "${GIBIBYTES:-1}"
