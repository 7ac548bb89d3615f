#!/bin/sh
# On the boot partition of a card that `pitsctl sd-card` has prepared, in its folder `pinthesky`. Run once, as root:
#   begin.sh        by firstrun.sh, before there is a network; the system starts anew afterwards
#   begin.sh now    by cloud-init, when there is one
# It only puts a service in place, which does the rest as soon as it can, and again until it is done.
# PINTHESKY_ROOT stands before every path of the system; tests set it.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=${PINTHESKY_ROOT:-}
unit=pinthesky-first-boot.service
state=$root/var/lib/pinthesky-first-boot

if [ -e "$state/done" ]; then
    echo "pinthesky: this card's first start was long ago; nothing to do"
    exit 0
fi
mkdir -p "$state" "$root/etc/systemd/system"
chmod 700 "$state"
cp "$here"/*.whl "$here/first-boot.sh" "$here/answers.yaml" "$state/"
echo "$here" >"$state/boot-folder"
chmod 600 "$state"/*
cp "$here/$unit" "$root/etc/systemd/system/$unit"
chmod 644 "$root/etc/systemd/system/$unit"
# What is on the disk counts: whoever pulls the plug now finds it there.
sync
systemctl daemon-reload || true
systemctl enable "$unit"
if [ "${1:-}" = now ]; then systemctl start --no-block "$unit"; fi
