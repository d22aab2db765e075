#!/usr/bin/env bash
# Runs the measurements in benches/ against release builds, in a scratch directory. Arguments choose among the engine's sections
# (see benches/engine.py), `services`, which uploads a gibibyte to the four services on real servers, `stalled`, which holds
# 2,000 connections to them open that go no further, and `idle`, which starts each and lets it rest; without any, the
# engine's. BINARIES names the builds to measure instead, such as target/debug.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d /var/tmp/mp3converter-bench.XXXXXX)
finish() {
  [ ! -e "$scratch/stack" ] || "$binaries/stack" down "$scratch/stack"
  rm -rf "$scratch"
}
trap finish EXIT
export SCRATCH=$scratch

sections=()
services=false
stalled=false
idle=false
for section in "$@"; do
  case $section in
    services) services=true ;;
    stalled) stalled=true ;;
    idle) idle=true ;;
    *) sections+=("$section") ;;
  esac
done
binaries=${BINARIES:-${CARGO_TARGET_DIR:-target}/release}
if [ -z "${BINARIES:-}" ]; then
  # The engine's sections need one program.
  programs=(--bin mp3converter)
  ! { $services || $stalled || $idle; } || programs=(--workspace --bins)
  scripts/cargo.sh build --locked --release "${programs[@]}"
fi
if $services || $stalled || $idle; then
  "$binaries/stack" up "$scratch/stack" > "$scratch/up.log"
fi
if $services; then
  python3 benches/memory.py "$scratch/stack/processes.json" "${GIBIBYTES:-1}"
fi
if $stalled; then
  python3 benches/stalled.py "$scratch/stack/processes.json" "${CONNECTIONS:-2000}"
fi
if $idle; then
  python3 benches/idle.py "$scratch/stack/processes.json"
fi
if [ "$#" -eq 0 ] || [ "${#sections[@]}" -ne 0 ]; then
  python3 benches/engine.py "$binaries/mp3converter" "${sections[@]}"
fi
