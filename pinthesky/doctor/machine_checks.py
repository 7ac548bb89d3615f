"""The machine, and what the daemon says of itself: each check is a function from facts to a finding."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Optional

from pinthesky.model.findings import Finding, found

SKEW_WARNING_S, SKEW_FAILED_S = 60.0, 300.0
"""AWS refuses signatures at 900 s; TLS fails when certificates look out of date."""
FRAME_OLD_S = 15.0
_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
_NTP = "Look at `timedatectl`: a time server has to be reachable (UDP 123), or set the clock by hand."


def clock(synchronised: bool, skew_s: Optional[float]) -> Finding:
    """`skew_s` is how far this clock is ahead of the credentials endpoint's; None: nobody has told."""
    if skew_s is not None and abs(skew_s) > SKEW_WARNING_S:
        amount = str(timedelta(seconds=round(abs(skew_s))))
        what = f"{amount} {'ahead of' if skew_s > 0 else 'behind'} the credentials endpoint's"
        return found("clock", "failed" if abs(skew_s) > SKEW_FAILED_S else "warning", what, advice=_NTP)
    if not synchronised:
        agrees = "; it agrees with the credentials endpoint's" if skew_s is not None else ""
        return found("clock", "ok" if skew_s is not None else "warning", f"not synchronised{agrees}", advice=_NTP)
    return found("clock", "ok", "synchronised")


def disk(folder: Path, *, min_free: int, free: Optional[int] = None) -> Finding:
    """Room for recordings: `min_free` bytes have to stay free. `free` takes the place of what the system says."""
    try:
        if free is None:
            told = os.statvfs(folder)
            free = told.f_bavail * told.f_frsize
    except OSError as error:
        return found(
            "disk", "failed", f"{folder}: {error.strerror}", advice="Is the daemon installed and was it started?"
        )
    what = f"{free / 1e9:.1f} GB free for {folder}"
    if free < min_free:
        advice = (
            "Clips are dropped, the oldest first. Make room (`sudo du -xh / | sort -h | tail`), or use a larger card."
        )
        return found("disk", "failed", f"{what}, {min_free / 1e9:.1f} GB have to stay free", advice=advice)
    if free < 2 * min_free:
        return found("disk", "warning", what, advice="Little room is left for clips when the network is away.")
    return found("disk", "ok", what)


def power(told: Optional[int] = None, path: Path = THROTTLED) -> Finding:
    """What the firmware says of voltage and temperature; `told` takes the place of the file."""
    if told is None:
        try:
            text = path.read_text("ascii", "replace").strip()
        except OSError:
            return found("power", "skipped", "this machine does not tell")
        if re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text) is None:
            return found("power", "skipped", "this machine does not tell")
        told = int(text, 16)
    now = [name for bit, name in _BITS.items() if told & 1 << bit]
    since = [name for bit, name in _BITS.items() if told & 1 << bit + 16 and name not in now]
    advice = "A stronger power supply and a shorter cable help with voltage, a heat sink with temperature."
    if now:
        return found("power", "failed", f"now: {', '.join(now)}", advice=advice)
    if since:
        return found("power", "warning", f"since the boot: {', '.join(since)}", advice=advice)
    return found("power", "ok", "no under-voltage, not throttled")


def frames(report: Mapping[str, Any], mode: str) -> Finding:
    """Whether the camera gives pictures, by the daemon's own report."""
    age, model = report.get("frame_age"), report.get("camera_model") or "the camera"
    if isinstance(age, (int, float)) and age <= FRAME_OLD_S:
        return found("frames", "ok", f"{model}: the last one {age:.1f} s ago")
    if mode == "privacy":
        return found("frames", "skipped", "the camera is closed on purpose (mode privacy)")
    what = f"{model} gives no pictures" + (f" since {age:.0f} s" if isinstance(age, (int, float)) else "")
    advice = "`journalctl -u pinthesky -n 50` says why. Is the ribbon cable in its place, does another program use it?"
    return found("frames", "failed", what, advice=advice)


def uploads(report: Mapping[str, Any]) -> Finding:
    """What becomes of recordings, by the daemon's own report."""
    state, files = report.get("upload_state"), report.get("spool_files") or 0
    reason = f": {report['upload_error']}" if report.get("upload_error") else ""
    if state in ("failing", "refused"):
        words = {"failing": "the store cannot be reached", "refused": "the store refuses"}[state]
        return found("uploads", "failed", f"{words}{reason}; {files} files wait", advice="See the lines on the store.")
    if report.get("items_lost"):
        what = f"{report['items_lost']} recordings were forced out before they were stored, since the start"
        return found("uploads", "warning", what, advice="The disk was full, or the network away for too long.")
    if state == "off":
        return found("uploads", "skipped", "recordings stay on this machine: no bucket is set, or storage is off")
    return found("uploads", "ok", "nothing waits" if not files else f"{files} files wait")
