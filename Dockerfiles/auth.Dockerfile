# The builder: the same lines in every Dockerfile here, so that one build serves all.
FROM docker.io/library/rust:1.95-bookworm AS builder
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libbz2-dev libclang-dev libcodec2-dev libgme-dev libopenmpt-dev nasm zlib1g-dev \
 && rm -rf /var/lib/apt/lists/* \
 # What the engine links beside FFmpeg, and what that needs itself.
 && install -D --target-directory=/out/lib /usr/lib/*-linux-gnu/libbz2.so.1.0 /usr/lib/*-linux-gnu/libcodec2.so.1.0 \
    /usr/lib/*-linux-gnu/libgme.so.0 /usr/lib/*-linux-gnu/libmpg123.so.0 /usr/lib/*-linux-gnu/libogg.so.0 \
    /usr/lib/*-linux-gnu/libopenmpt.so.0 /usr/lib/*-linux-gnu/libstdc++.so.6 /usr/lib/*-linux-gnu/libvorbis.so.0 \
    /usr/lib/*-linux-gnu/libvorbisfile.so.3 /usr/lib/*-linux-gnu/libz.so.1 \
 && for package in libbz2-1.0 libcodec2-1.0 libgme0 libmpg123-0 libogg0 libopenmpt0 libstdc++6 libvorbis0a libvorbisfile3 zlib1g; do \
      install -D --mode=644 "/usr/share/doc/$package/copyright" "/out/doc/$package/copyright" || exit 1; \
    done
WORKDIR /build
# The FFmpeg that the engine is linked with, static and without video: built again only when its script changes.
COPY scripts/ffmpeg.sh scripts/steps.sh scripts/
RUN scripts/ffmpeg.sh
COPY . .
# Dependencies are kept between builds, downloaded and compiled, but for what is linked with another FFmpeg by now.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    scripts/ffmpeg.sh \
 && cargo build --locked --release --package auth --package gateway --package converter --package notification --package standalone \
 && install -D --target-directory=/out target/release/auth target/release/gateway target/release/converter \
    target/release/notification target/release/mp3converter \
 && install -d -o 65532 -g 65532 /out/data

# glibc, libgcc, certificates and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mp3converter auth" \
      org.opencontainers.image.description="Passwords to tokens, tokens to claims" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="https://github.com/mp3converter/mp3converter" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=builder /out/auth /usr/local/bin/auth
USER 65532:65532
EXPOSE 5000 9090
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/usr/local/bin/auth", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/auth"]
