#!/usr/bin/env bash
# Checks bans, licences and sources of everything that is linked in. Advisories need a network and have their own day.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/steps.sh
PATH="$PWD/.cache/tools/bin:$PATH"
# cargo-deny looks at the crates of every system, also at those that no build here has fetched.
step "the crates of all systems" cargo-fetch "crates cannot be fetched: is there a network?" cargo fetch --locked
# The test kit links foreign servers; it and the fault campaign ship nowhere.
exec cargo deny --locked --offline --workspace --exclude testkit --exclude faults check bans licenses sources
