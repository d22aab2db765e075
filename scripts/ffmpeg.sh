#!/usr/bin/env bash
# Builds the FFmpeg that the engine is linked with into .cache/ffmpeg: Debian's source package with its security updates,
# static, without network, programs, encoders and video decoders. Against the system's shared libraries, a child process
# starts in a thirtieth of the time, and far less code meets hostile files. Three of the system's libraries are linked for what
# FFmpeg has no decoder of its own for: libopenmpt (trackers), libgme (game consoles) and Codec 2.
#
#   scripts/ffmpeg.sh            builds it where it is missing or was built by another edition of this script
#   scripts/ffmpeg.sh --check    only says by its exit status whether it is there
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/steps.sh

readonly TARGET=$PWD/.cache/ffmpeg
STAMP=$(sha256sum scripts/ffmpeg.sh | cut -d' ' -f1)
readonly STAMP
# The parsers of audio; those of video would only run on packets that are thrown away.
readonly PARSERS=aac,aac_latm,ac3,adx,amr,cook,dca,dolby_e,dvaudio,flac,g723_1,g729,gsm,mlp,mpegaudio,opus,sbc,sipr,tak,vorbis,xma

built() { [ "$(cat "$TARGET/built-by" 2>/dev/null)" = "$STAMP" ]; }

# The package sources of this system with `deb` turned into `deb-src`; the system's own lists stay as they are.
write_sources() { # folder
  local file
  for file in /etc/apt/sources.list.d/*.sources; do
    [ ! -e "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" > "$1/$(basename "$file")"
  done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ ! -e "$file" ] || sed -n 's/^deb \(.*\)/deb-src \1/p' "$file" > "$1/$(basename "$file" .list).list"
  done
}

fetch() { # folder; leaves the unpacked source in folder/source
  local apt=(apt-get -qq -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$1/parts" -o "Dir::State::Lists=$1/lists"
    -o "Dir::Cache=$1/cache" -o APT::Sandbox::User= -o Debug::NoLocking=1)
  mkdir -p "$1/parts" "$1/lists/partial" "$1/cache"
  write_sources "$1/parts"
  "${apt[@]}" update
  (cd "$1" && "${apt[@]}" source --download-only ffmpeg)
  dpkg-source -x "$1"/ffmpeg_*.dsc "$1/source"
}

# Every audio decoder of FFmpeg's own, less those of another system; five more stand in its list among the video decoders.
audio_decoders() { # source
  awk '/\/\* audio codecs/ { on = 1 } /\/\* subtitles/ { on = 0 } on' "$1/libavcodec/allcodecs.c" |
    sed -n 's/^extern const FFCodec ff_\(.*\)_decoder;/\1/p' | grep -v '_at$' | paste -sd,
}

# What Cargo compiled against an older FFmpeg, whose folder it does not look into by itself.
forget_older() {
  local output
  command -v cargo > /dev/null || return 0
  for output in "${CARGO_TARGET_DIR:-target}"/*/build/ffmpeg-sys-next-*/output; do
    if [ -e "$output" ] && [ "$output" -ot "$TARGET/built-by" ]; then
      cargo clean --quiet --locked --package ffmpeg-sys-next
      cargo clean --quiet --locked --release --package ffmpeg-sys-next
      return
    fi
  done
}

configure() { # folder
  mkdir "$1/build"
  cd "$1/build"
  ../source/configure --prefix="$TARGET.part" --disable-everything --disable-autodetect --enable-zlib --enable-bzlib \
    --enable-libopenmpt --enable-libgme --enable-libcodec2 --enable-pic \
    --disable-programs --disable-doc --disable-network --disable-avdevice --disable-avfilter --disable-swscale \
    --disable-postproc --disable-pixelutils --disable-debug \
    --enable-demuxers --enable-decoder="$(audio_decoders ../source),dvaudio,eightsvx_exp,eightsvx_fib,s302m,speex,libcodec2" --enable-parser="$PARSERS"
}

compile() { # folder
  cd "$1/build"
  # What make is going to say, one line an object.
  echo "objects: $(make --dry-run | grep -cE 'printf "(CC|CXX|X86ASM|AS)')"
  make -j"$(nproc)"
  make install
  install -m 644 ../source/debian/copyright "$TARGET.part/copyright"
}

step_progress_ffmpeg-compile() { # log
  awk '/^objects: / { all = $2 } /^(CC|CXX|X86ASM|AS)\t/ { done++ } END { if (all) printf "%d %% of %d objects", 100 * done / all, all }' "$1"
}

case "${1:-}" in
  --check) built; exit ;;
  # A step of the build, in a process of its own, which ends at the first command that fails.
  --own) shift; "$@"; exit ;;
esac
mkdir -p .cache
exec 9> .cache/ffmpeg.lock
step_lock 9
if built; then
  forget_older
  exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$TARGET.part"
readonly INSTEAD='MP3_FFMPEG=system takes the FFmpeg libraries of this system instead'
step "FFmpeg's source, from Debian" ffmpeg-fetch "$INSTEAD" "$BASH" scripts/ffmpeg.sh --own fetch "$work"
step "FFmpeg, audio only, configured" ffmpeg-configure "$INSTEAD" "$BASH" scripts/ffmpeg.sh --own configure "$work"
step "FFmpeg, compiled into .cache/ffmpeg (once)" ffmpeg-compile "$INSTEAD" "$BASH" scripts/ffmpeg.sh --own compile "$work"
# The folder's name is written into the files that tell the compiler where it is.
sed -i "s|$TARGET.part|$TARGET|g" "$TARGET.part"/lib/pkgconfig/*.pc
echo "$STAMP" > "$TARGET.part/built-by"
rm -rf "$TARGET"
mv "$TARGET.part" "$TARGET"
forget_older
