# syntax=docker/dockerfile:1.15
# The service in one image: no shell, no package manager, not root. Build it with `make docker`.

FROM rust:1.95.0-slim-bookworm AS build
# For the C that ring brings along.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches hold downloads and finished crates between builds; the binary is copied out of them.
ARG REVISION=unknown
RUN --mount=type=cache,id=sealane-cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=sealane-target,target=/src/target \
    SEALANE_REVISION="${REVISION}" cargo build --locked --release --bin sealane \
 && install -D target/release/sealane /out/sealane

# glibc, libgcc, CA certificates and the user 65532; nothing else.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Sealane" \
      org.opencontainers.image.description="One gRPC address for LLM inference, kept alive across Azure OpenAI regions" \
      org.opencontainers.image.source="https://github.com/sealane/sealane" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/sealane /usr/local/bin/sealane
# Mount the configuration here. In a container it listens on 0.0.0.0:50051, which needs `callers` in it; metrics and
# probes are on 9464 where `ops.listen: 0.0.0.0:9464` says so.
ENV SEALANE_CONFIG=/etc/sealane/sealane.yaml
USER 65532:65532
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/sealane", "healthcheck", "--addr", "localhost:50051", "--timeout-ms", "2000"]
ENTRYPOINT ["/usr/local/bin/sealane"]
CMD ["serve"]
