#!/usr/bin/env bash
# Does the main job once, as a user would, on a sample: log in, upload, wait, read the mail, download. Prints the time of
# each step and what came out. Everything lives in a scratch directory and is gone afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$scratch"
}
trap finish EXIT

now() { date +%s%N; }
step() { # name, begun at
  printf '  %-12s %6d ms   %s\n' "$1" $((($(now) - $2) / 1000000)) "$3"
}
give_up() { echo "error: $1" >&2; cat "$scratch/log" >&2; exit 1; }

ffmpeg -v error -f lavfi -i testsrc2=size=1280x720:rate=25:duration=60 -f lavfi -i "sine=frequency=440:beep_factor=4:duration=60" \
  -c:v libx264 -preset ultrafast -c:a aac -b:a 160k -metadata title="A demonstration" "$scratch/demo.mp4"
echo "sample: $(du -h "$scratch/demo.mp4" | cut -f1) of H.264 and AAC, 60 s"

password=$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')
MP3_DATA_DIR="$scratch/data" MP3_LISTEN=127.0.0.1:0 MP3_OPS_LISTEN=127.0.0.1:0 MP3_ADMIN_EMAIL=demo@localhost MP3_ADMIN_PASSWORD="$password" \
  "${CARGO_TARGET_DIR:-target}/release/mp3converter" serve > "$scratch/log" 2>&1 &
server=$!
for _ in $(seq 100); do
  base=$(sed -n 's/.* is listening on \(http:.*\)/\1/p' "$scratch/log")
  [ -z "$base" ] || break
  kill -0 "$server" 2>/dev/null || give_up "the server ended"
  sleep 0.1
done
[ -n "$base" ] || give_up "the server did not become ready"

t=$(now); token=$(curl -sf -X POST -u "demo@localhost:$password" "$base/login"); step "log in" "$t" "a token of ${#token} characters"
t=$(now)
answer=$(curl -sf -D "$scratch/headers" -H "Authorization: Bearer $token" -F "file=@$scratch/demo.mp4" "$base/upload")
job=$(tr -d '\r' < "$scratch/headers" | awk 'tolower($1) == "x-job-id:" { print $2 }')
step "upload" "$t" "$answer job $job"

t=$(now)
for _ in $(seq 600); do
  record=$(curl -sf -H "Authorization: Bearer $token" "$base/api/v1/jobs/$job")
  case $record in *'"state":"done"'*) break ;; *'"state":"failed"'* | *'"state":"dead"'*) give_up "$record" ;; esac
  sleep 0.05
done
fid=$(sed -n 's/.*"mp3_fid":"\([0-9a-f]*\)".*/\1/p' <<< "$record")
[ -n "$fid" ] || give_up "no MP3 after 30 s: $record"
step "convert" "$t" "MP3 $fid"

t=$(now)
for _ in $(seq 200); do
  mail=$(find "$scratch/data/mail" -name '*.eml' 2>/dev/null | head -1)
  [ -z "$mail" ] || break
  sleep 0.05
done
[ -n "$mail" ] || give_up "no mail after 10 s"
step "mail" "$t" "$(grep -i '^Subject:' "$mail" | tr -d '\r')"

t=$(now)
(cd "$scratch" && curl -sf -H "Authorization: Bearer $token" -OJ "$base/download?fid=$fid")
step "download" "$t" "demo.mp3, $(du -h "$scratch/demo.mp3" | cut -f1)"

echo
echo "The mail:"
tr -d '\r' < "$mail" | sed 's/^/  /'
echo
echo "The MP3:"
ffprobe -v error -show_entries format=duration,bit_rate:format_tags=title:stream=codec_name,sample_rate,channels -of default=noprint_wrappers=1 "$scratch/demo.mp3" | sed 's/^/  /'
