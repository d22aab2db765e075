#!/usr/bin/env bash
# Builds the five images, mp3converter/{auth,gateway,converter,notification,mp3converter}:VERSION, or those that are named.
#
#   scripts/images.sh [IMAGE...]    with docker, else podman, else buildah; BUILDER= chooses, BUILD_OPTIONS= go along
#   scripts/images.sh --builder     only says with which
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)

builder() {
  local program
  for program in docker podman buildah; do
    if command -v "$program" > /dev/null && { [ "$program" != docker ] || docker info > /dev/null 2>&1; }; then
      echo "$program"
      return
    fi
  done
  echo "error: none of docker, podman and buildah is here" >&2
  exit 64
}

BUILDER=${BUILDER:-$(builder)}
[ "${1:-}" != --builder ] || { echo "$BUILDER"; exit; }
# OCI's own format, which the other two would choose, has no health checks.
case $BUILDER in
  docker) command=(docker build); export DOCKER_BUILDKIT=1 ;;
  podman) command=(podman build --format docker) ;;
  buildah) command=(buildah build --layers --format docker) ;;
  *) echo "error: BUILDER is docker, podman or buildah, not $BUILDER" >&2; exit 64 ;;
esac
read -ra options <<< "${BUILD_OPTIONS:-}"

[ "$#" -ne 0 ] || set -- auth gateway converter notification mp3converter
for image in "$@"; do
  echo "building mp3converter/$image:$VERSION with $BUILDER"
  "${command[@]}" "${options[@]}" --file "Dockerfiles/$image.Dockerfile" --tag "mp3converter/$image:$VERSION" \
    --build-arg "VERSION=$VERSION" --build-arg "REVISION=$REVISION" .
done
