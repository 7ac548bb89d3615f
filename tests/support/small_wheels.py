"""Wheels called pinthesky that hold the real root helper, and in place of daemon and device client small programs.

The daemon of such a wheel says that it is ready and lives, or dies in the way that it was made to. The device client
runs the handler that it finds in `step.json` of the state folder as the real ones do, again and again until it has
ended, and leaves `result.json`.
"""

from __future__ import annotations

import hashlib
import textwrap
import zipfile
from pathlib import Path
from typing import NamedTuple

from tests.support.house.source import ROOT

PACKAGES = ("admin", "machine")

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

CLIENT = """
import json, os, pathlib, subprocess, time
from pinthesky.machine.systemd import Notifier
from pinthesky.version import __version__

STATE = pathlib.Path("/var/lib/pinthesky")

def main():
    notifier = Notifier(os.environ)
    notifier.ready()
    while True:
        step = STATE / "step.json"
        if step.exists():
            wanted = json.loads(step.read_text())
            command = ["/opt/pinthesky/jobs/" + wanted["handler"], "", *wanted["args"]]
            ended = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                   env={"PATH": "/usr/bin:/bin", "PINTHESKY_JOB_ID": wanted["job"]})
            result = {"code": ended.returncode, "stdout": ended.stdout, "stderr": ended.stderr, "by": __version__}
            (STATE / "result.new").write_text(json.dumps(result))
            os.replace(STATE / "result.new", STATE / "result.json")
            step.unlink()
        notifier.feed_watchdog()
        time.sleep(0.05)
"""

ENTRY_POINTS = """[console_scripts]
pinthesky = pinthesky.device.daemon:main
pinthesky-admin = pinthesky.admin.command:main
pits-device-client = pinthesky.link.client:main
"""


class SmallWheel(NamedTuple):
    """A wheel and its SHA-256."""

    path: Path
    sha256: str


def make_wheel(
    folder: Path, version: str, behaviour: str = LIVES, *, name: str = "pinthesky", says: str | None = None
) -> SmallWheel:
    """Make a wheel whose daemon does `behaviour`. `name` is whose wheel it is, `says` a version other than its own."""
    files = {"pinthesky/__init__.py": "", "pinthesky/version.py": f'__version__ = "{says or version}"\n'}
    files["pinthesky/errors.py"] = (ROOT / "pinthesky" / "errors.py").read_text(encoding="utf-8")
    for package in PACKAGES:
        for path in sorted((ROOT / "pinthesky" / package).glob("*.py")):
            files[f"pinthesky/{package}/{path.name}"] = path.read_text(encoding="utf-8")
    files |= {"pinthesky/device/__init__.py": "", "pinthesky/device/daemon.py": DAEMON + behaviour}
    files |= {"pinthesky/link/__init__.py": "", "pinthesky/link/client.py": CLIENT}
    info = f"{name}-{version}.dist-info"
    needs = "Metadata-Version: 2.1\nName: {}\nVersion: {}\nRequires-Dist: msgspec\nProvides-Extra: client\n"
    files[f"{info}/METADATA"] = needs.format(name, version)
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = textwrap.dedent(ENTRY_POINTS)
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in files.items():
            # With the same date every time: the same contents are the same wheel.
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return SmallWheel(target, hashlib.sha256(target.read_bytes()).hexdigest())
