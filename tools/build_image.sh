#!/bin/sh
# Builds the container image of the wheel in dist/: `make image`. Told by the environment:
#     IMAGE              its name, with the registry's before it
#     PLATFORMS          linux/arm64,linux/amd64; none: this machine's
#     PUSH               yes: to the registry, as REGISTRY_USER with REGISTRY_PASSWORD where these are set
# It is tagged with its version, and latest too: but for one of an unreleased version that is pushed.
set -eu
cd "$(dirname -- "$0")/.."
image=$(echo "${IMAGE:-pinthesky}" | tr '[:upper:]' '[:lower:]') # registries take no capitals
platforms=${PLATFORMS:-}
push=${PUSH:-}
command -v docker >/dev/null || {
    echo "image: docker is missing; with Debian: sudo apt-get install docker.io docker-buildx" >&2
    exit 1
}
wheel=$(basename dist/pinthesky-*.whl)
version=${wheel#pinthesky-}
version=${version%%-*}

set -- buildx build --file service/container/Dockerfile --tag "$image:$(echo "$version" | tr + -)"
case $push:$version in
yes:*[!0-9.]*) ;;
*) set -- "$@" --tag "$image:latest" ;;
esac
if [ -n "$platforms" ]; then set -- "$@" --platform "$platforms"; fi
if [ "$push" = yes ]; then
    if [ -n "${REGISTRY_PASSWORD:-}" ]; then
        printf %s "$REGISTRY_PASSWORD" | docker login "${image%%/*}" --username "$REGISTRY_USER" --password-stdin
    fi
    # The builder that Docker comes with makes images for one machine only.
    docker buildx inspect pinthesky >/dev/null 2>&1 || docker buildx create --name pinthesky >/dev/null
    exec docker "$@" --builder pinthesky --provenance true --sbom true --push .
fi
exec docker "$@" --load .
