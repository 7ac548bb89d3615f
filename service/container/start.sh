#!/bin/sh
# Starts the containers of compose.yaml; fetches newer images first where the owner wants that: PINTHESKY_PULL=yes in
# .env beside it. An image that cannot be fetched (no network yet) is no reason not to start the one that is there.
#     start.sh           at boot, by pinthesky-container.service
#     start.sh update    by its timer: fetches, and starts anew what has changed; does nothing unless told to
set -eu
cd "$(dirname -- "$0")"
pull=no
if [ -f .env ]; then pull=$(sed -n 's/^PINTHESKY_PULL=//p' .env | tail -n 1); fi
if [ "$pull" = yes ]; then
    docker compose pull --quiet || echo "start: no newer image could be fetched; going on with the one that is here"
elif [ "${1:-}" = update ]; then
    exit 0
fi
docker compose up --detach --remove-orphans
if [ "$pull" = yes ]; then docker image prune --force >/dev/null; fi
