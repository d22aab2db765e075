#!/usr/bin/env bash
# Runs every test of the workspace against real servers, and closes with one line that counts them.
# Arguments go to `cargo test`.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# One build for everything: a second one, of the programs alone, would choose other features and compile anew.
cargo test --locked --workspace --no-run || exit
"${CARGO_TARGET_DIR:-target}/debug/with-servers" -- \
  cargo test --locked --workspace --no-fail-fast "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

# A test binary that dies in the middle prints no result line: the status says so then.
read -r passed failed skipped < <(awk '
  /^test result:/ { passed += $4; failed += $6; skipped += $8 }
  END { print passed + 0, failed + 0, skipped + 0 }' "$log")
grep '^test .* FAILED$' "$log"
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
  echo "error: the test run ended with status $status without a failed test; see above" >&2
fi
if [ "$passed" -eq 0 ] || [ "$skipped" -ne 0 ]; then
  echo "error: tests were skipped or none ran" >&2
  [ "$status" -ne 0 ] || status=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
