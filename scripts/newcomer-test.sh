#!/usr/bin/env bash
# Proves the README's two commands in a bare Debian 12: a fresh chroot that holds nothing but make, git and the Rust
# toolchain, a clone of this repository's HEAD, `make run` with the three curl lines, then `make test`.
#
# Needs root (chroot, mounts) and debootstrap. The toolchain is mounted read-only; crates and packages are fetched anew.
set -euo pipefail
# Read whole before it begins: an edit while it runs changes nothing.
{
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
  echo "error: newcomer-test builds a chroot and needs root: sudo make newcomer-test" >&2
  exit 64
fi
command -v debootstrap > /dev/null || apt-get install -y --no-install-recommends debootstrap
if [ -z "${NEWCOMER_INSIDE:-}" ]; then
  # Mounts made inside this namespace are gone when it ends, whatever happens.
  exec env NEWCOMER_INSIDE=1 unshare --mount --pid --fork --kill-child "$0" "$@"
fi

root=$(mktemp -d /var/tmp/newcomer.XXXXXX)
trap 'umount -R -l "$root/proc" "$root/sys" "$root/dev" "$root/opt/rust" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | grep -E '^(URIs:|deb )' | grep -oE -m1 'https?://[^ ]+' || true)
toolchain=$(rustc --print sysroot)
# As on any system: users other than root are in here too.
chmod 755 "$root"

echo "newcomer: making a bare Debian 12"
debootstrap --variant=minbase --include=make,git bookworm "$root" "$mirror" > "$root.log" 2>&1 || { tail -20 "$root.log"; exit 1; }
rm -f "$root.log"
mkdir -p "$root/opt/rust"
mount --bind -o ro "$toolchain" "$root/opt/rust"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
cp /etc/resolv.conf "$root/etc/resolv.conf"
git clone --quiet --no-hardlinks . "$root/home/mp3converter"

settings=(HOME=/home LANG=C.UTF-8 PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
if [ -n "${SSL_CERT_FILE:-}" ]; then
  # A network with certificates of its own: without them nothing can be fetched, newcomer or not.
  install -D "$SSL_CERT_FILE" "$root/opt/ca.crt"
  settings+=(SSL_CERT_FILE=/opt/ca.crt CURL_CA_BUNDLE=/opt/ca.crt CARGO_HTTP_CAINFO=/opt/ca.crt PIP_CERT=/opt/ca.crt GIT_SSL_CAINFO=/opt/ca.crt)
fi
inside() { env -i "${settings[@]}" chroot "$root" /bin/bash -c "cd /home/mp3converter
$1"; }

echo "newcomer: make run"
inside 'setsid make run > /home/run.log 2>&1 & echo $! > /home/run.pid'
for _ in $(seq 3600); do
  grep -q 'curl .*/download' "$root/home/run.log" && break
  kill -0 "$(cat "$root/home/run.pid")" 2>/dev/null || { tail -40 "$root/home/run.log"; echo "error: make run ended" >&2; exit 1; }
  sleep 1
done
sed -n 's/^/  /;/Listening\|listening\|curl\|login/p' "$root/home/run.log" | tail -8

inside 'set -euo pipefail
ffmpeg -v error -f lavfi -i testsrc2=duration=5 -f lavfi -i sine=duration=5 -c:v libx264 -c:a aac /home/video.mp4
cp /home/video.mp4 .
login=$(grep -m1 "^TOKEN=" /home/run.log || grep -m1 -o "TOKEN=.*" /home/run.log)
upload=$(grep -m1 -o "curl .*-F .*/upload" /home/run.log)
download=$(grep -m1 -o "curl .*/download.*" /home/run.log)
eval "$login"; [ -n "$TOKEN" ]
eval "$upload" | grep -x "success!"
for _ in $(seq 300); do fid=$(grep -rhos "mp3 file_id: [0-9a-f]*" data/mail | head -1 | cut -d" " -f3 || true); [ -z "$fid" ] || break; sleep 0.2; done
[ -n "$fid" ]
eval "${download/FID/$fid}"
ffprobe -v error -show_entries stream=codec_name,duration video.mp3
rm -rf video.mp4 video.mp3'
kill -TERM -- "-$(cat "$root/home/run.pid")"
echo "newcomer: the three curl lines work"

echo "newcomer: make test"
inside 'make test' > "$root/home/test.log" 2>&1 || { tail -60 "$root/home/test.log"; exit 1; }
tail -1 "$root/home/test.log"
echo "newcomer: passed"
exit
}
