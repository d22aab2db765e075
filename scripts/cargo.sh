#!/usr/bin/env bash
# Runs cargo with the arguments given. At a terminal its own progress bar shows that it lives; elsewhere, where it says
# nothing while one crate compiles for long, a line appears every ten seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/steps.sh

started=$SECONDS
if [ -t 2 ]; then
  cargo "$@"
else
  step_heartbeat cargo "$@"
fi
step_say "cargo $1: done in $((SECONDS - started)) s"
