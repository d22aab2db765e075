#!/usr/bin/env bash
# Checks bans, licences and sources of everything that is linked in. Advisories need a network and have their own day.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.cache/tools/bin:$PATH"
# The test kit links foreign servers; it and the fault campaign ship nowhere.
exec cargo deny --locked --offline --workspace --exclude testkit --exclude faults check bans licenses sources
