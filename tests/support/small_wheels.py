"""Wheels of this checkout under other version numbers, with the real daemon or with a small one in its place.

A small daemon says that it is ready and lives, or dies in the way that it was made to. Root helper, device client,
units and handlers are always the real ones.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from tests.support.house.source import ROOT, project_names

BUILD_S = 120
WHOLE = ""
"""In place of a behaviour: the whole package with the real daemon."""
LIVES = """
    notifier.ready()
    while True:
        notifier.feed_watchdog()
        time.sleep(0.2)
"""
DIES_AT_START = """
    sys.exit("no camera in this version")
"""
DIES_SOON = """
    notifier.ready()
    time.sleep(0.3)
    sys.exit("the picture was too beautiful")
"""
LOOKS_AROUND = (
    """
    found = {"uid": os.getuid(), "groups": os.getgroups(), "status": pathlib.Path("/proc/self/status").read_text()}
    found["written"] = [path for path in os.environ["PROBE"].split() if may_write(path)]
    pathlib.Path("/var/lib/pinthesky/found.json").write_text(json.dumps(found))
"""
    + LIVES
)

DAEMON = """
import json, os, pathlib, sys, time
from pinthesky.machine.systemd import Notifier
from pinthesky.version import __version__

def may_write(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError:
        return False
    return True

def main():
    if "--version" in sys.argv:
        print("pinthesky", __version__)
        return 0
    notifier = Notifier(os.environ)
"""
_LEFT_OUT = re.compile(r"pinthesky/(?:aws|device|hub|planes)/")
"""What a small wheel has no use for."""


class SmallWheel(NamedTuple):
    """A wheel and its SHA-256."""

    path: Path
    sha256: str


def build_wheel(folder: Path) -> Path:
    """Build the wheel of the checkout, of what git would take."""
    source = folder / "source"
    for name in project_names():
        if name.startswith(("pinthesky/", "service/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
            (source / name).chmod((ROOT / name).stat().st_mode)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "PIP_"))}
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True, env=environment, timeout=BUILD_S)
    return next(folder.glob("pinthesky-*.whl"))


def make_wheel(built: Path, version: str, behaviour: str = LIVES, *, needs_python: str = ">=3.9") -> SmallWheel:
    """Make a wheel beside the one that was built, whose daemon does `behaviour`."""
    own = built.name.split("-")[1]
    target = built.with_name(f"pinthesky-{version}-py3-none-any.whl")
    with zipfile.ZipFile(built) as archive, zipfile.ZipFile(target, "w") as made:
        for entry in archive.infolist():
            name, data = entry.filename, archive.read(entry)
            if name.endswith(("/METADATA", "pinthesky/version.py", "/RECORD")):
                data = data.replace(own.encode(), version.encode())
                data = data.replace(b"Requires-Python: >=3.9", f"Requires-Python: {needs_python}".encode())
            if behaviour != WHOLE and _LEFT_OUT.match(name):
                continue
            # With the same date every time: the same contents are the same wheel.
            copy = zipfile.ZipInfo(name.replace(own, version), (2026, 1, 1, 0, 0, 0))
            copy.external_attr = entry.external_attr
            made.writestr(copy, data, zipfile.ZIP_DEFLATED)
        if behaviour != WHOLE:
            made.writestr(zipfile.ZipInfo("pinthesky/device/__init__.py", (2026, 1, 1, 0, 0, 0)), "")
            made.writestr(zipfile.ZipInfo("pinthesky/device/daemon.py", (2026, 1, 1, 0, 0, 0)), DAEMON + behaviour)
    return SmallWheel(target, hashlib.sha256(target.read_bytes()).hexdigest())
