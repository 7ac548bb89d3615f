#!/bin/sh
# Raspberry Pi OS of Debian 12 starts this once, before anything else, because cmdline.txt says so; then it starts anew.
boot=/boot/firmware
sh "$boot/pinthesky/begin.sh" >"$boot/pinthesky/begin.txt" 2>&1
sed -i 's| systemd\.run=.*||' "$boot/cmdline.txt"
rm -f "$boot/firstrun.sh"
exit 0
