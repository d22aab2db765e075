#!/usr/bin/env bash
# Proves the Debian package in a bare system, where no systemd runs: install, use, upgrade, remove, purge. For
# `make newcomer-test TARGETS=package`, which runs it beside two packages of which the second is an upgrade of the first.
#
# It changes the system it runs in: not for a machine that somebody uses.
set -euo pipefail
trap 'echo "error: line $LINENO: $BASH_COMMAND" >&2' ERR
cd "$(dirname "$0")"

readonly STATE=/var/lib/mp3converter
readonly SETTINGS=/etc/mp3converter/mp3converter.env
readonly UNIT=/lib/systemd/system/mp3converter.service

say() { printf 'package: %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
quietly() { "$@" > "$scratch/output" 2>&1 || { cat "$scratch/output"; fail "$*"; }; }
runs() { pgrep -x mp3converter > /dev/null; }

scratch=$(mktemp -d)
# The service's user writes the trace of its calls here.
chmod 777 "$scratch"

export DEBIAN_FRONTEND=noninteractive
first=$(ls mp3converter_*-1_*.deb)
second=$(ls mp3converter_*-2_*.deb)
quietly apt-get update
# What the package depends on, and what the test looks with.
depends=$(dpkg-deb --field "$first" Depends)
quietly apt-get satisfy -y --no-install-recommends "$depends"
quietly apt-get install -y --no-install-recommends procps curl ffmpeg strace systemd man-db

quietly dpkg -i "$first"
cat "$scratch/output"
! runs || fail "installing it started it, where no systemd runs"
[ -f "$SETTINGS" ] && [ "$(stat -c %a "$SETTINGS")" = 640 ] || fail "no private file of settings"
[ "$(stat -c '%a %U' "$STATE")" = '700 mp3converter' ] || fail "no private directory for its data"
[ "$(systemctl is-enabled mp3converter)" = enabled ] || fail "it would not start at boot"
man --where mp3converter mp3converter-serve mp3converter-convert > /dev/null
for file in bash-completion/completions/mp3converter zsh/vendor-completions/_mp3converter fish/vendor_completions.d/mp3converter.fish; do
  [ -s "/usr/share/$file" ] || fail "no completions in $file"
done
for word in LAME FFmpeg aws-lc SQLite tokio; do
  grep -qi "$word" /usr/share/doc/mp3converter/copyright || fail "the copyright file does not name $word"
done
say "installed: nothing started, settings, man pages, completions and copyright are there"

quietly systemd-analyze verify "$UNIT"
[ ! -s "$scratch/output" ] || { cat "$scratch/output"; fail "systemd-analyze verify complains"; }
exposure=$(systemd-analyze security --offline=yes --threshold=100 "$UNIT" | grep 'Overall exposure level' | tee "$scratch/exposure" | grep -oE '[0-9]+\.[0-9]+' | head -1)
say "unit verified; $(grep -o 'Overall.*' "$scratch/exposure")"
[ "${exposure%.*}" -lt 3 ] || fail "the unit leaves too much open: $exposure"

# What the unit would run, as its user and with its settings. Arguments come before the program.
start() {
  local settings
  mapfile -t settings < <(grep -E '^[A-Z]' "$SETTINGS")
  setpriv --reuid=mp3converter --regid=mp3converter --init-groups \
    env "MP3_DATA_DIR=$STATE" "${settings[@]}" "$@" /usr/bin/mp3converter serve > "$scratch/serve.log" 2>&1 &
  for _ in $(seq 300); do ! grep -q 'curl .*/download' "$scratch/serve.log" || return 0; sleep 0.2; done
  cat "$scratch/serve.log"
  fail "it does not start"
}
stop() { pkill -TERM -x mp3converter; while runs; do sleep 0.2; done; }

# The package's own setting: port 8080 is taken here.
echo MP3_LISTEN=127.0.0.1:18080 >> "$SETTINGS"
start strace --follow-forks --quiet=all --summary-only "--output=$scratch/calls"
ffmpeg -v error -f lavfi -i sine=duration=3 -c:a aac "$scratch/sound.m4a"
token=$(curl -sf -X POST -u "$(cat "$STATE/secrets/first-login")" http://127.0.0.1:18080/login)
[ "$(curl -sf -H "Authorization: Bearer $token" -F "file=@$scratch/sound.m4a" http://127.0.0.1:18080/upload)" = 'success!' ] || fail "no upload"
fid=
for _ in $(seq 300); do fid=$(grep -rhos 'mp3 file_id: [0-9a-f]*' "$STATE/mail" | head -1 | cut -d' ' -f3 || true); [ -z "$fid" ] || break; sleep 0.2; done
curl -sf -H "Authorization: Bearer $token" "http://127.0.0.1:18080/download?fid=$fid" -o "$scratch/sound.mp3"
ffprobe -v error "$scratch/sound.mp3"
stop

# The filter of the unit must let through what was called, the sandbox of conversions included.
filter=$(sed -n 's/^SystemCallFilter=//p' "$UNIT")
allowed() {
  local item
  for item in $filter; do
    case $item in @*) expand "$item" ;; *) echo "$item" ;; esac
  done
}
expand() { # a set of systemd's, with the sets in it
  local item
  systemd-analyze syscall-filter "$1" | grep -v '^ *#' | tail -n +2 | while read -r item; do
    case $item in @*) expand "$item" ;; *) echo "$item" ;; esac
  done
}
allowed | sort -u > "$scratch/allowed"
awk '$NF ~ /^[a-z_0-9]+$/ && $1 ~ /^[0-9.]+$/ && $NF != "total" { print $NF }' "$scratch/calls" | sort -u > "$scratch/called"
[ "$(wc -l < "$scratch/called")" -gt 40 ] && grep -qx seccomp "$scratch/called" || { cat "$scratch/calls"; fail "the trace shows too little"; }
kept_out=$(comm -23 "$scratch/called" "$scratch/allowed" | paste -sd' ')
[ -z "$kept_out" ] || fail "the unit's filter keeps out what the service calls: $kept_out"
say "a job was done as its user; the unit's filter lets all $(wc -l < "$scratch/called") system calls of it through"

quietly dpkg -i "$second"
! runs || fail "the upgrade started it, where no systemd runs"
grep -qx MP3_LISTEN=127.0.0.1:18080 "$SETTINGS" || fail "the upgrade lost a setting"
start
curl -sf -H "Authorization: Bearer $token" "http://127.0.0.1:18080/download?fid=$fid" | cmp - "$scratch/sound.mp3"
stop
say "upgraded: data, secrets and settings are kept"

quietly dpkg --remove mp3converter
[ -f "$STATE/users.db" ] && [ -f "$SETTINGS" ] || fail "removing it took data or settings along"
quietly dpkg --purge mp3converter
grep "$STATE" "$scratch/output" || { cat "$scratch/output"; fail "purge does not say what it leaves"; }
[ -f "$STATE/users.db" ] && [ ! -e /etc/mp3converter ] || fail "purge took data along, or left settings"
say "removed and purged: data is kept, and where it is was said"
