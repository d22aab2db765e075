#!/usr/bin/env bash
# Makes a Debian package of the single process for the system it runs on, in target/debian. Arguments go to `cargo deb`.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/steps.sh
PATH="$PWD/.cache/tools/bin:$PATH"

readonly GENERATED=.cache/package
program=${CARGO_TARGET_DIR:-target}/release/mp3converter

scripts/cargo.sh build --locked --release --bin mp3converter
rm -rf "$GENERATED"
mkdir -p "$GENERATED/man" "$GENERATED/completions"
"$program" man "$GENERATED/man"
"$program" completions bash > "$GENERATED/completions/mp3converter"
"$program" completions zsh > "$GENERATED/completions/_mp3converter"
"$program" completions fish > "$GENERATED/completions/mp3converter.fish"
# Where the unit keeps its data.
"$program" settings | sed 's|^#MP3_DATA_DIR=.*|#MP3_DATA_DIR=/var/lib/mp3converter|' > "$GENERATED/mp3converter.env"
python3 scripts/copyright.py > "$GENERATED/copyright"
step "the Debian package" package "see the log" cargo deb --locked --no-build --package standalone "$@"
package=$(ls -t "${CARGO_TARGET_DIR:-target}"/debian/mp3converter_*.deb | head -1)
echo "made $package; to install it: sudo apt install ./$package"
