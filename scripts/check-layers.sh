#!/usr/bin/env bash
# Holds the arrows between the crates (docs/ARCHITECTURE.md): who may depend on whom, and who may name `adapters`.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
complain() { printf 'layers: %s\n' "$1" >&2; failed=1; }

# Direct dependencies between our own crates, development ones left out: "crate dependency" a line.
edges=$(cargo metadata --format-version 1 --no-deps --locked | python3 -c '
import json, sys
packages = json.load(sys.stdin)["packages"]
ours = {package["name"] for package in packages}
for package in packages:
    for dependency in package["dependencies"]:
        if dependency["name"] in ours and dependency["kind"] != "dev":
            print(package["name"], dependency["name"])
')

allowed() { # crate, then what it may depend on
  local crate=$1; shift
  local dependency
  while read -r dependency; do
    [[ " $* " == *" $dependency "* ]] || complain "\`$crate\` must not depend on \`$dependency\`"
  done < <(awk -v crate="$crate" '$1 == crate { print $2 }' <<<"$edges")
}

allowed domain
allowed media
allowed runtime domain
allowed adapters domain
allowed media-fuzz media
allowed testkit domain
allowed faults testkit
allowed auth domain runtime adapters
allowed gateway domain runtime adapters
allowed converter domain runtime adapters media
allowed notification domain runtime adapters

# The services' libraries see ports; only their `main.rs` names the adapters.
for service in auth gateway converter notification; do
  named=$(grep -rlE '\badapters::|use adapters\b' "$service/src" | grep -v '/main\.rs$' || true)
  [ -z "$named" ] || complain "only $service/src/main.rs may name \`adapters\`: $named"
  lines=$(wc -l < "$service/src/main.rs")
  [ "$lines" -le 60 ] || complain "$service/src/main.rs has $lines lines; composition fits in 60"
done

# What a crate may never see of the outside; its tests may.
forbidden() { # crate directory, crates
  local directory=$1; shift
  local name
  for name in "$@"; do
    ! sed '/^\[dev-dependencies\]/,$d' "$directory/Cargo.toml" | grep -qE "^$name\b" || complain "$directory must not depend on \`$name\`"
  done
}
forbidden crates/domain axum tokio sqlx mongodb lapin lettre hyper
forbidden crates/media tokio axum sqlx mongodb lapin
forbidden crates/runtime sqlx mongodb lapin lettre ffmpeg-next

# One TLS and crypto provider in everything that ships; the test kit links foreign servers, and it and the fault campaign ship nowhere.
for crate in ring openssl-sys native-tls; do
  linked=$(cargo tree --locked --workspace --exclude testkit --exclude faults --edges normal,build --invert "$crate" 2>/dev/null | head -3 | tr '\n' ' ' || true)
  [ -z "$linked" ] || complain "\`$crate\` is linked in: $linked"
done

[ "$failed" -eq 0 ] && echo "layers: every arrow holds"
exit "$failed"
