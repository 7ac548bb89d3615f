"""Runs programs in the root file system that `tools/picamera2_rootfs.sh` makes, with the checkout in the same place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
ROOT = CHECKOUT / ".rootfs" / "debian13"
RECIPE = CHECKOUT / "tools" / "picamera2_rootfs.sh"

# In a mount namespace of its own, so that nothing has to be cleaned up.
_ENTER = """
mkdir -p "$1$2" && mount --rbind /proc "$1/proc" && mount --bind "$2" "$1$2" || exit 125
root=$1 checkout=$2; shift 2
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$checkout" "$@"
"""
_NOT_ENTERED = 125


def enter(*command: str) -> list[str]:
    """The command line that runs `command` in there, in the checkout's folder."""
    return ["unshare", "--mount", "sh", "-c", _ENTER, "sh", str(ROOT), str(CHECKOUT), *command]


def why_not() -> str | None:
    """Why nothing can be run in there, for people; None when it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "the real picamera2 runs in a root file system, which only root can enter"
    if subprocess.run([str(RECIPE), "--check"], check=False, capture_output=True).returncode != 0:
        return f"{ROOT.relative_to(CHECKOUT)} is not there or out of date: run {RECIPE.relative_to(CHECKOUT)}"
    probe = subprocess.run(enter("true"), check=False, capture_output=True, text=True)
    return None if probe.returncode == 0 else f"mounting is not allowed here: {probe.stderr.strip()}"


def run(*command: str, environment: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
    """Run `command` in there; returns its exit code and what it printed. On time-out all it started is ended."""
    process = subprocess.Popen(
        enter(*command),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\nended after {timeout_s:.0f} s\n"
    return process.returncode, output
