#!/usr/bin/env bash
# Builds the images for real and runs them as containers against real servers, with the three curl lines. Registries are
# not asked: the two base images are made here from Debian's packages and this machine's Rust toolchain, under the names
# that the Dockerfiles use. What those hold beside glibc, libgcc and certificates is not counted as ours.
#
# Needs root, and Debian's buildah, podman, runc and debootstrap, which are installed where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly BUILDER_BASE=docker.io/library/rust:1.95-bookworm
readonly RUNTIME_BASE=gcr.io/distroless/cc-debian12:nonroot
readonly MIB=$((1024 * 1024))
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
readonly VERSION

say() { printf 'images: %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
image() { echo "localhost/mp3converter/$1:$VERSION"; }

# --- Images ---------------------------------------------------------------------------------------------------------

make_base() { # name, packages, then what to do with the mounted container: a function
  ! buildah inspect --type image "$1" > /dev/null 2>&1 || return 0
  say "making a stand-in for $1"
  local container mount mirror
  mirror=$(awk '/^URIs:/ { print $2; exit } /^deb / { print $2; exit }' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2> /dev/null)
  container=$(buildah from scratch)
  mount=$(buildah mount "$container")
  debootstrap --variant=minbase --include="$2" bookworm "$mount" "$mirror" > "$scratch/debootstrap.log" 2>&1 ||
    { tail -20 "$scratch/debootstrap.log"; fail "debootstrap"; }
  cp --dereference /etc/ssl/certs/ca-certificates.crt "$mount/etc/ssl/certs/ca-certificates.crt"
  "$3" "$container" "$mount"
  buildah umount "$container" > /dev/null
  buildah commit --quiet --rm "$container" "$1" > /dev/null
}

add_toolchain() { # container, its folder
  local toolchain
  toolchain=$(rustc --print sysroot)
  mkdir -p "$2/usr/local/rust"
  cp -a "$toolchain/bin" "$toolchain/lib" "$2/usr/local/rust/"
  # Security updates, whose sources are FFmpeg's too.
  if [ -e /etc/apt/sources.list.d/debian.sources ]; then
    cp /etc/apt/sources.list.d/debian.sources "$2/etc/apt/sources.list.d/"
    rm -f "$2/etc/apt/sources.list"
  fi
  buildah config --env CARGO_HOME=/usr/local/cargo --env CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt \
    --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$1"
}

add_nothing() { buildah config --user 65532 "$1"; }

check_size() { # image, at most so many MiB over its base
  local over=$((($(podman image inspect --format '{{.Size}}' "$(image "$1")") - $(podman image inspect --format '{{.Size}}' "$RUNTIME_BASE")) / MIB))
  say "$1: $over MiB over its base, at most $2"
  [ "$over" -le "$2" ] || fail "mp3converter/$1 is too large"
}

# What the real base has; the stand-in has more. The rest has to be in the image.
check_libraries() { # image
  local container mount strange
  container=$(buildah from --pull=never "$(image "$1")")
  mount=$(buildah mount "$container")
  strange=$(readelf --dynamic "$mount/usr/local/bin/$1" $(find "$mount/usr/lib" -maxdepth 1 -name '*.so.*') |
    sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u | grep -Ev '^(libc|libm|libgcc_s|ld-linux-[a-z0-9-]*|libpthread|libdl|librt)\.so\.' |
    while read -r library; do [ -e "$mount/usr/lib/$library" ] || echo "$library"; done || true)
  buildah rm "$container" > /dev/null
  [ -z "$strange" ] || fail "mp3converter/$1 needs libraries its base does not have: $strange"
}

# What `docker ps` shows; the format of some builders has no place for it.
check_health() { # image
  podman image inspect --format '{{.HealthCheck}}' "$(image "$1")" | grep -q "/usr/local/bin/$1 healthcheck" ||
    fail "mp3converter/$1 has no health check"
}

# --- Containers -----------------------------------------------------------------------------------------------------

containers=()
finish() {
  local status=$?
  if [ "$status" -ne 0 ]; then
    for container in "${containers[@]}"; do echo "--- $container"; podman logs --tail 20 "$container" 2>&1 || true; done
  fi
  [ "${#containers[@]}" -eq 0 ] || podman rm --force --time 5 "${containers[@]}" > /dev/null 2>&1 || true
  [ -z "${volume:-}" ] || podman volume rm --force "$volume" > /dev/null 2>&1 || true
  rm -rf "$scratch"
  exit "$status"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# As in the manifests: read-only, without rights, as the image's user. The network is this machine's.
run() { # options
  podman --runtime runc run --network host --read-only --read-only-tmpfs=false --cap-drop ALL \
    --security-opt no-new-privileges --ulimit nofile=10000:10000 --ulimit nproc=4096:4096 "$@"
}

start() { # image, operations port, then options
  local name=$1 operations=$2
  shift 2
  container="images-test-$name-$$"
  containers+=("$container")
  run --detach --name "$container" --env MP3_OPS_LISTEN="127.0.0.1:$operations" "$@" > /dev/null
}

wait_ready() { # name, operations port
  local began
  began=$(date +%s%N)
  for _ in $(seq 300); do
    if curl -sf -o /dev/null "http://127.0.0.1:$2/readyz"; then
      say "$1: ready after at most $((($(date +%s%N) - began) / 1000000)) ms"
      podman exec "images-test-$1-$$" "/usr/local/bin/$1" healthcheck || fail "$1: its health check disagrees"
      return
    fi
    sleep 0.1
  done
  fail "$1 does not become ready"
}

three_lines() { # base URL, address, password, folder of the mails
  local token fid=
  token=$(curl -sf -X POST -u "$2:$3" "$1/login")
  [ "$(curl -sf -H "Authorization: Bearer $token" -F "file=@$scratch/sample.mp4" "$1/upload")" = "success!" ] || fail "upload"
  for _ in $(seq 600); do
    fid=$(grep -rhos 'mp3 file_id: [0-9a-f]*' "$4" | head -1 | cut -d' ' -f3 || true)
    [ -z "$fid" ] || break
    sleep 0.1
  done
  [ -n "$fid" ] || fail "no mail"
  curl -sf -o "$scratch/sample.mp3" -H "Authorization: Bearer $token" "$1/download?fid=$fid"
  [ "$(ffprobe -v error -show_entries stream=codec_name -of csv=p=0 "$scratch/sample.mp3")" = mp3 ] || fail "no MP3"
  say "$1: the three curl lines work"
}

run_services() {
  local secret password address=robot@example.com auth_port http broker
  local -A operations=()
  for service in auth gateway converter notification; do operations[$service]=$(free_port); done
  auth_port=$(free_port)
  http=$(free_port)
  secret=$(head -c 32 /dev/urandom | base64 -w0)
  password=$(head -c 12 /dev/urandom | base64 -w0)
  broker=(--env "JOBS_URL=$TEST_MONGODB_URL" --env "BLOBS_URL=$TEST_MONGODB_URL" --env "QUEUE_URL=$TEST_AMQP_URL")
  mkdir -m 777 "$scratch/mail"
  mariadb --protocol=tcp --host=127.0.0.1 --port="${TEST_MYSQL_URL##*:}" --user=root < init.sql
  start auth "${operations[auth]}" --env "USERS_URL=$TEST_MYSQL_URL/auth" --env "JWT_SECRET=$secret" \
    --env "MP3_ADMIN_EMAIL=$address" --env "MP3_ADMIN_PASSWORD=$password" --env "MP3_LISTEN=127.0.0.1:$auth_port" "$(image auth)"
  start gateway "${operations[gateway]}" "${broker[@]}" --env "AUTH_SVC_ADDRESS=127.0.0.1:$auth_port" \
    --env "MP3_LISTEN=127.0.0.1:$http" "$(image gateway)"
  start converter "${operations[converter]}" "${broker[@]}" "$(image converter)"
  start notification "${operations[notification]}" "${broker[@]}" --env SMTP_URL=file:/mail --env "MAIL_FROM=$address" \
    --volume "$scratch/mail:/mail" "$(image notification)"
  for service in auth gateway converter notification; do wait_ready "$service" "${operations[$service]}"; done
  three_lines "http://127.0.0.1:$http" "$address" "$password" "$scratch/mail"
}

# The README's `docker run`, with a folder of whoever runs it.
run_single_process() {
  local http operations password
  http=$(free_port)
  operations=$(free_port)
  password=$(head -c 12 /dev/urandom | base64 -w0)
  install -d -o 1234 -g 1234 "$scratch/data"
  start mp3converter "$operations" --user 1234:1234 --env "MP3_LISTEN=127.0.0.1:$http" --env MP3_ADMIN_EMAIL=admin@localhost \
    --env "MP3_ADMIN_PASSWORD=$password" --volume "$scratch/data:/data" "$(image mp3converter)"
  wait_ready mp3converter "$operations"
  three_lines "http://127.0.0.1:$http" admin@localhost "$password" "$scratch/data/mail"
}

# A volume of the engine's is the image's user's. A folder of somebody else's is refused.
run_with_volumes() {
  local operations said="$scratch/said"
  operations=$(free_port)
  volume="images-test-data-$$"
  podman rm --force --time 5 "images-test-mp3converter-$$" > /dev/null
  start mp3converter "$operations" --env MP3_LISTEN=127.0.0.1:0 --volume "$volume:/data" "$(image mp3converter)"
  wait_ready mp3converter "$operations"
  install -d -o 1234 -g 1234 "$scratch/foreign"
  ! run --rm --env MP3_LISTEN=127.0.0.1:0 --volume "$scratch/foreign:/data" "$(image mp3converter)" 2> "$said" ||
    fail "it runs on a folder that it cannot write"
  grep -q /data "$said" || { cat "$said"; fail "it does not say which folder it cannot write"; }
  say "mp3converter: runs on a volume, and says which folder it cannot write"
}

# --- The order of things --------------------------------------------------------------------------------------------

[ "$(id -u)" -eq 0 ] || { echo "error: images-test makes base images and needs root: sudo make images-test" >&2; exit 64; }
if [ "${1:-}" = --servers ]; then
  scratch=$(mktemp -d /var/tmp/images-test.XXXXXX)
  trap finish EXIT
  ffmpeg -v error -f lavfi -i testsrc2=duration=10 -f lavfi -i sine=duration=10 -c:v mpeg4 -c:a aac "$scratch/sample.mp4"
  run_services
  run_single_process
  run_with_volumes
  exit
fi

scripts/setup.sh test
for program in buildah podman runc debootstrap; do
  command -v "$program" > /dev/null || missing+=("$program")
done
[ -z "${missing:-}" ] || apt-get install -y -qq --no-install-recommends "${missing[@]}"
scratch=$(mktemp -d /var/tmp/images-test.XXXXXX)
trap finish EXIT
make_base "$RUNTIME_BASE" ca-certificates add_nothing
make_base "$BUILDER_BASE" build-essential,ca-certificates,curl,dpkg-dev,git,pkg-config add_toolchain
BUILDER=buildah BUILD_OPTIONS="--isolation chroot --pull=never" scripts/images.sh
for service in auth gateway converter notification mp3converter; do check_libraries "$service"; check_health "$service"; done
for service in auth gateway notification; do check_size "$service" 40; done
check_size converter 100
check_size mp3converter 120
cargo build --locked --quiet --package testkit --bin with-servers
"${CARGO_TARGET_DIR:-target}/debug/with-servers" -- scripts/images-test.sh --servers
say "built, run, and found working"
