"""An installation in a folder: no root, no systemd, no pip. For what has to be tried hundreds of times.

`systemctl`, `journalctl` and `python` are small programs that behave. A version is a folder with the program of its
wheel; a service runs whatever `current` leads to when it is started, and lives if that program lives.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from pinthesky.admin.installation import Installation
from pinthesky.admin.requests import Upgrade
from pinthesky.admin.upgrade_record import UpgradeRecord
from pinthesky.admin.versions import CURRENT, STEADY, Versions

GOOD = "exit 0"
DIES = 'echo "no camera here"; exit 1'

# A service is up when a file says so: `current`'s program decides, asked at each start.
SYSTEMCTL = """#!/bin/sh
home=@HOME@
echo "$*" >> "$home/asked"
[ "$1" = --no-ask-password ] && shift
[ "$1" = --no-block ] && shift
verb=$1; shift
case $verb in
  reset-failed) ;;
  start|restart)
    for unit in "$@"; do
      [ "$unit" = pinthesky-upgrade.service ] && continue
      [ -e "$home/refuse" ] && { echo "Failed to connect to bus"; exit 1; }
      if "$home/opt/current/bin/pinthesky" --start > "$home/log-$unit"; then echo "run$(date +%N)$$" > "$home/up-$unit"
      else rm -f "$home/up-$unit"; : > "$home/down-$unit"; exit 1; fi
      [ -e "$home/opt/current/dies-soon" ] && rm "$home/up-$unit"
    done ;;
  stop) for unit in "$@"; do rm -f "$home/up-$unit"; done ;;
  show)
    for unit in "$@"; do :; done
    [ -e "$home/hiccup" ] && { read -r left < "$home/hiccup"
      if [ "$left" -gt 1 ]; then echo $((left - 1)) > "$home/hiccup"; else rm "$home/hiccup"; fi
      echo "Failed to get properties: Transport endpoint is not connected"; exit 1; }
    [ -e "$home/failed-$unit" ] && { echo ActiveState=failed; exit 0; }
    echo LoadState=loaded; echo NRestarts=0
    echo "StatusText=$([ -e "$home/status-$unit" ] && cat "$home/status-$unit")"
    if [ -e "$home/up-$unit" ]; then
      echo ActiveState=active; echo SubState=running; echo Result=success; echo "InvocationID=$(cat "$home/up-$unit")"
    elif [ -e "$home/down-$unit" ]; then
      echo ActiveState=activating; echo SubState=auto-restart; echo Result=exit-code; echo ExecMainStatus=1
      echo InvocationID=abc
    else
      echo ActiveState=inactive; echo SubState=dead; echo Result=success; echo InvocationID=
    fi ;;
  reboot|poweroff) ;;
  *) echo "Unknown command verb $verb"; exit 1 ;;
esac
exit 0
"""
JOURNALCTL = """#!/bin/sh
home=@HOME@
echo "$*" >> "$home/asked"
[ -e "$home/refuse" ] && { echo "No journal files were found."; exit 1; }
case $* in
  *_SYSTEMD_INVOCATION_ID=*) cat "$home"/log-pinthesky.service ;;
  *) cat "$home/journal" ;;
esac
"""
PYTHON = """#!/bin/sh
home=@HOME@
[ -e "$home/disk-full" ] && { echo "OSError: [Errno 28] No space left on device"; exit 1; }
shift
if [ "$1" = venv ]; then
  for folder in "$@"; do :; done
  mkdir -p "$folder/bin" && : > "$folder/bin/python"
else
  while [ "$1" != --python ]; do shift; done
  folder=${2%/bin/python}
  for wheel in "$@"; do :; done
  case $wheel in
    *.whl*) cd "$folder" && @PYTHON@ -I -S -m zipfile -e "${wheel%\\[*}" . && chmod +x bin/* ;;
  esac
fi
"""
PROGRAM = """#!/bin/sh
[ "$1" = --version ] && { echo "@NAME@ @SAYS@"; exit 0; }
@START@
"""


class MadeUpPi:
    """One installation with version 1.0.0, both services running."""

    def __init__(self, home: Path) -> None:
        self.home = home
        programs = home / "programs"
        for folder in (programs, home / "opt", home / "state" / "wheels"):
            folder.mkdir(parents=True)
        for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL), ("python", PYTHON)):
            (programs / name).write_text(text.replace("@HOME@", str(home)).replace("@PYTHON@", sys.executable))
            (programs / name).chmod(0o755)
        self.installation = Installation(
            versions=home / "opt",
            state=home / "state",
            socket=home / "socket",
            errands=home / "errands",
            boot_id=home / "boot_id",
            program_path=f"{programs}:/usr/bin:/bin",
            python=str(programs / "python"),
            user="root",
            settle_s=0.0,
        )
        (home / "boot_id").write_text("first-boot\n")
        (home / "journal").write_text("one\ntwo\nthree\n")
        self.record = UpgradeRecord(self.installation.state)
        self.versions = Versions(self.installation.versions)
        self.add_version("1.0.0")
        for link in (CURRENT, STEADY):
            self.versions.point(link, "1.0.0")
        for unit in ("pinthesky.service", "pits-device-client.service"):
            (home / f"up-{unit}").write_text("run0")

    def add_version(self, version: str) -> None:
        """Put a whole version there, as an earlier upgrade would have."""
        folder = self.versions.folder_of(version) / "bin"
        folder.mkdir(parents=True)
        program = PROGRAM.replace("@NAME@", "pinthesky").replace("@SAYS@", version).replace("@START@", GOOD)
        (folder / "pinthesky").write_text(program)
        (folder / "pinthesky").chmod(0o755)
        self.versions.complete(version, "0" * 64)

    def wheel(self, version: str, start: str = GOOD, *, name: str = "pinthesky", says: str | None = None) -> Path:
        """Make a wheel whose service does `start`, in the folder of wheels."""
        path = self.installation.wheels / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            for program in ("pinthesky", "pinthesky-admin"):
                text = PROGRAM.replace("@NAME@", program).replace("@SAYS@", says or version).replace("@START@", start)
                archive.writestr(f"bin/{program}", text)
        return path

    def request(self, wheel: Path, *, identity: str = "wish-1", allow_downgrade: bool = False) -> Upgrade:
        """Return the request to upgrade to a wheel."""
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        return Upgrade(source=wheel.name, sha256=digest, identity=identity, allow_downgrade=allow_downgrade)

    def with_settings(self, **settings: Any) -> Installation:
        """Return the installation with other settings."""
        return dataclasses.replace(self.installation, **settings)

    def links(self) -> tuple[str | None, str | None]:
        """Return what `current` and `steady` lead to."""
        return self.versions.pointed_at(CURRENT), self.versions.pointed_at(STEADY)

    def asked(self) -> str:
        """Return everything that systemctl and journalctl were asked, a line each."""
        path = self.home / "asked"
        return path.read_text() if path.exists() else ""

    def current_is_whole(self) -> bool:
        """Whether `current` leads to a version that can be started."""
        current = self.versions.pointed_at(CURRENT)
        return current is not None and os.access(self.versions.folder_of(current) / "bin" / "pinthesky", os.X_OK)


def wait_for_child(pid: int, within_s: float = 20.0) -> int:
    """Wait for a forked child and return its status; one that does not end is killed."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError(f"the child did not end within {within_s} s")
