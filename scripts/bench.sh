#!/usr/bin/env bash
# Runs the measurements in benches/ against release builds, in a scratch directory. Arguments choose among the engine's sections
# (see benches/engine.py) and `services`, which uploads a gibibyte to the four services on real servers; without any, all but
# the two that take many minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d /var/tmp/mp3converter-bench.XXXXXX)
finish() {
  [ ! -e "$scratch/stack" ] || "${CARGO_TARGET_DIR:-target}/release/stack" down "$scratch/stack"
  rm -rf "$scratch"
}
trap finish EXIT
export SCRATCH=$scratch

sections=()
services=false
for section in "$@"; do
  if [ "$section" = services ]; then services=true; else sections+=("$section"); fi
done
if $services; then
  "${CARGO_TARGET_DIR:-target}/release/stack" up "$scratch/stack" > "$scratch/up.log"
  python3 benches/memory.py "$scratch/stack/processes.json" "${GIBIBYTES:-1}"
fi
if ! $services || [ "${#sections[@]}" -ne 0 ]; then
  python3 benches/engine.py "${CARGO_TARGET_DIR:-target}/release/mp3converter" "${sections[@]}"
fi
