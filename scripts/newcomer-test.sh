#!/usr/bin/env bash
# Proves documented commands in a bare Debian: for each target a fresh root that holds nothing but make, git and the Rust
# toolchain, an empty home, a clone of this repository's HEAD, and port 8080 taken by another program. Closes with a table
# of times.
#
#   scripts/newcomer-test.sh [TARGET...]    by default the README's two, `run` and `test`; `all` means all of them
#
# SUITE= chooses bookworm (Debian 12, the default) or trixie (Debian 13). Needs root (chroot, mounts) and debootstrap. The
# toolchain is mounted read-only; crates and packages are fetched anew.
set -euo pipefail
# Read whole before it begins: an edit while it runs changes nothing.
{
cd "$(dirname "$0")/.."

readonly ALL=(run demo test check manifests-check stack bench images package)
readonly SUITE=${SUITE:-bookworm}
readonly TAKEN_PORT=8080
# Long enough for a cold build on a busy machine.
readonly RUN_TIMEOUT_S=3600

say() { printf 'newcomer: %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

targets=("$@")
[ "${#targets[@]}" -ne 0 ] || targets=(run test)
[ "${targets[*]}" != all ] || targets=("${ALL[@]}")
for target in "${targets[@]}"; do
  [[ " ${ALL[*]} " == *" $target "* ]] || { echo "error: no target '$target': there are ${ALL[*]}" >&2; exit 64; }
done
if [ "$(id -u)" -ne 0 ]; then
  echo "error: newcomer-test builds a chroot and needs root: sudo make newcomer-test" >&2
  exit 64
fi
for program in debootstrap python3; do
  command -v "$program" > /dev/null || apt-get install -y --no-install-recommends "$program"
done
if [ -z "${NEWCOMER_INSIDE:-}" ]; then
  # Mounts made inside this namespace are gone when it ends, whatever happens.
  exec env NEWCOMER_INSIDE=1 unshare --mount --pid --fork --kill-child "$0" "${targets[@]}"
fi

# --- The bare system ------------------------------------------------------------------------------------------------

scratch=$(mktemp -d /var/tmp/newcomer.XXXXXX)
base=$scratch/base
root=$scratch/root
occupant=
cleanup() {
  [ -z "$occupant" ] || kill "$occupant" 2> /dev/null || true
  ! mountpoint -q "$root" || umount --recursive --lazy "$root"
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT

settings=(HOME=/home LANG=C.UTF-8 PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)

make_base() {
  local sources=/etc/apt/sources.list.d/debian.sources mirror security
  mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2> /dev/null | grep -E '^(URIs:|deb )' | grep -oE -m1 'https?://[^ ]+' || true)
  say "making a bare Debian, $SUITE"
  debootstrap --variant=minbase --include=make,git "$SUITE" "$base" "$mirror" > "$scratch/debootstrap.log" 2>&1 ||
    { tail -20 "$scratch/debootstrap.log"; fail "debootstrap failed"; }
  # As on any system: users other than root are in here too, and security updates are asked for.
  chmod 755 "$base"
  security=$(awk '/^URIs:.*security/ { print $2; exit }' "$sources" 2> /dev/null || true)
  [ -z "$security" ] || echo "deb $security $SUITE-security main" >> "$base/etc/apt/sources.list"
  cp /etc/resolv.conf "$base/etc/resolv.conf"
  mkdir -p "$base/opt/rust"
  if [ -n "${SSL_CERT_FILE:-}" ]; then
    # A network with certificates of its own: without them nothing can be fetched, newcomer or not.
    install -D "$SSL_CERT_FILE" "$base/opt/ca.crt"
    settings+=(SSL_CERT_FILE=/opt/ca.crt CURL_CA_BUNDLE=/opt/ca.crt CARGO_HTTP_CAINFO=/opt/ca.crt PIP_CERT=/opt/ca.crt GIT_SSL_CAINFO=/opt/ca.crt)
  fi
}

# A fresh root over the base; what the last one wrote is gone.
fresh_root() {
  ! mountpoint -q "$root" || umount --recursive --lazy "$root"
  rm -rf --one-file-system "$scratch/written" "$scratch/work"
  mkdir -p "$root" "$scratch/written" "$scratch/work"
  mount -t overlay overlay -o "lowerdir=$base,upperdir=$scratch/written,workdir=$scratch/work" "$root"
  mount --bind -o ro "$(rustc --print sysroot)" "$root/opt/rust"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  git clone --quiet --no-hardlinks . "$root/home/mp3converter"
}

inside() { # shell commands, run in the clone
  env -i "${settings[@]}" chroot "$root" /bin/bash -c "set -euo pipefail
cd /home/mp3converter
$1"
}

# Runs a command to its end with its output in a log.
logged() { # name, shell commands
  inside "$2" > "$root/home/$1.log" 2>&1 || { tail -60 "$root/home/$1.log"; fail "'$2' failed"; }
}

take_port() {
  python3 -c "
import socket, signal
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('0.0.0.0', $TAKEN_PORT))
listener.listen()
signal.pause()" &
  occupant=$!
}

# --- The targets ----------------------------------------------------------------------------------------------------

# The lines that a start shows, done by a user who pastes them: log in, upload, wait for the mail, download.
three_lines() { # log with the lines, folder of mails
  inside "command -v ffmpeg > /dev/null || { apt-get update && apt-get install -y --no-install-recommends ffmpeg; } > /dev/null 2>&1
rm -rf /tmp/lines && mkdir /tmp/lines && cd /tmp/lines
ffmpeg -v error -f lavfi -i testsrc2=duration=5 -f lavfi -i sine=duration=5 -c:v libx264 -c:a aac video.mp4
line() { grep -m1 -o \"\$1\" '$1'; }
eval \"\$(line 'TOKEN=.*')\"; [ -n \"\$TOKEN\" ]
download=\$(line 'curl .*/download.*')
eval \"\$(line 'curl .*-F .*/upload')\" | grep -x 'success!'
fid=
for _ in \$(seq 300); do fid=\$(grep -rhos 'mp3 file_id: [0-9a-f]*' '$2' | head -1 | cut -d' ' -f3 || true); [ -z \"\$fid\" ] || break; sleep 0.2; done
[ -n \"\$fid\" ]
eval \"\${download/FID/\$fid}\"
[ \"\$(ffprobe -v error -show_entries stream=codec_name -of csv=p=0 video.mp3)\" = mp3 ]"
  say "the three curl lines work"
}

# Waits until a log of a command in the background shows a text.
wait_for() { # log, text, process
  for _ in $(seq "$RUN_TIMEOUT_S"); do
    ! grep -q "$2" "$root$1" || return 0
    kill -0 "$3" 2> /dev/null || return 1
    sleep 1
  done
  fail "no '$2' after $RUN_TIMEOUT_S s"
}

longest_silence() { # log whose lines begin with seconds
  awk '{ pause = $1 - last; if (pause > most) most = pause; last = $1 } END { print most + 0 }' "$1"
}

target_run() {
  # Each line with the second it came, to see how long nothing was said.
  inside "make run 2>&1 | while IFS= read -r line; do printf '%s %s\n' \"\$SECONDS\" \"\$line\"; done > /home/run.log" || true
  grep -q 'MP3_LISTEN' "$root/home/run.log" || { tail -20 "$root/home/run.log"; fail "no way out of a taken port is shown"; }
  say "port $TAKEN_PORT is taken: $(tail -2 "$root/home/run.log" | grep -o 'error: .*\|mp3converter: .*' | head -1)"
  local silence
  silence=$(longest_silence "$root/home/run.log")
  say "the longest silence was $silence s"
  [ "$silence" -le 10 ] || { cat "$root/home/run.log"; fail "silent for $silence s"; }
  inside 'MP3_LISTEN=127.0.0.1:18080 setsid make run > /home/started.log 2>&1 & echo $! > /home/run.pid; wait' &
  local runner=$!
  wait_for /home/started.log 'curl .*/download' "$runner" || { tail -40 "$root/home/started.log"; fail "make run ended"; }
  three_lines /home/started.log /home/mp3converter/data/mail
  kill -TERM -- "-$(cat "$root/home/run.pid")"
  wait "$runner" || true
}

target_demo() { logged demo 'make demo'; tail -4 "$root/home/demo.log"; }

target_test() { logged test 'make test'; tail -1 "$root/home/test.log"; }

target_check() { logged check 'make check'; }

target_manifests-check() { logged manifests-check 'make manifests-check'; tail -2 "$root/home/manifests-check.log"; }

target_bench() { logged bench 'make bench SECTIONS=latency'; tail -8 "$root/home/bench.log"; }

# On stand-ins for the base images, which no registry has to be asked for.
target_images() { logged images-test 'make images-test'; tail -1 "$root/home/images-test.log"; }

target_stack() {
  logged stack 'make stack'
  three_lines /home/stack.log /home/mp3converter/.stack
  logged stack-down 'make stack-down'
}

target_package() {
  logged package 'make package && cp target/debian/*.deb /home/
scripts/package.sh --deb-revision 2 && cp target/debian/*-2_*.deb /home/'
  cp "$root"/home/*.deb "$scratch/"
  fresh_root
  rm -rf "$root/home/mp3converter"
  mkdir "$root/home/mp3converter"
  cp "$scratch"/*.deb scripts/package-test.sh "$root/home/mp3converter/"
  inside 'bash package-test.sh'
}

# --- The order of things --------------------------------------------------------------------------------------------

# Seconds of user and system time of all children that have ended, rounded down.
cpu_seconds() {
  # In no subshell, which would count its own children.
  times > "$scratch/times"
  tail -1 "$scratch/times" | awk '{ for (i = 1; i <= 2; i++) { split($i, part, "[ms]"); sum += 60 * part[1] + part[2] } print int(sum) }'
}

make_base
take_port
table=()
for target in "${targets[@]}"; do
  say "$target"
  fresh_root
  cpu_seconds > "$scratch/before"
  SECONDS=0
  "target_$target"
  wall=$SECONDS
  cpu_seconds > "$scratch/after"
  table+=("$(printf '| %-15s | %6d | %6d |' "$target" "$wall" "$(($(cat "$scratch/after") - $(cat "$scratch/before")))")")
  say "$target: passed after $wall s"
done
printf '\n| %-15s | wall s | CPU s  |\n|-----------------|--------|--------|\n' "$SUITE"
printf '%s\n' "${table[@]}"
say "passed"
exit
}
