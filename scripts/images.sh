#!/usr/bin/env bash
# Builds the five images, mp3converter/{auth,gateway,converter,notification,mp3converter}:VERSION, or those that are named.
#
#   scripts/images.sh [IMAGE...]    with docker, else podman, else buildah; BUILDER= chooses, BUILD_OPTIONS= go along
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
command=("$BUILDER" build)
[ "$BUILDER" != buildah ] || command=(buildah build --layers)
[ "$BUILDER" != docker ] || export DOCKER_BUILDKIT=1
read -ra options <<< "${BUILD_OPTIONS:-}"

[ "$#" -ne 0 ] || set -- auth gateway converter notification mp3converter
for image in "$@"; do
  echo "building mp3converter/$image:$VERSION with $BUILDER"
  "${command[@]}" "${options[@]}" --file "Dockerfiles/$image.Dockerfile" --tag "mp3converter/$image:$VERSION" \
    --build-arg "VERSION=$VERSION" --build-arg "REVISION=$REVISION" .
done
