"""Runs a camera for two minutes and prints a report to be pasted into an issue: `python -m tools.camera_check`.

Uses the adapter that the daemon uses, so the daemon must be stopped: a camera has one owner. Exit status 0 when all was
as it should be, 1 when something was not, 2 when the camera cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from pinthesky.device.cameras.selection import camera_for, resolved
from pinthesky.device.pi_model import pi_model
from pinthesky.errors import InvalidInput, PinTheSkyError
from pinthesky.model.presets import preset_for
from pinthesky.model.settings import CameraSettings, parse_section
from tools.camera_measurement import measure
from tools.camera_report import concerns, report

SECONDS = 120.0


def _settings(given: argparse.Namespace, sensor: str) -> CameraSettings:
    """Those of the board's preset, and of the flags that are given."""
    preset = preset_for(pi_model() or "", sensor)
    base = CameraSettings(rotation=0, encoding_bitrate=3_000_000) if preset is None else preset.new_installation()
    fields: dict[str, Any] = {
        "resolution": given.resolution,
        "framerate": given.framerate,
        "rotation": given.rotation,
        "encoding_bitrate": given.bitrate,
    }
    asked = {name: value for name, value in fields.items() if value is not None}
    found = parse_section("camera", asked, base)
    return msgspec.convert(found, CameraSettings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="camera_check", description="Runs a camera and prints a report on it.")
    parser.add_argument("--camera", default="auto", help="as the daemon's flag (default: auto)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"how long (default: {SECONDS:.0f})")
    for name in ("resolution", "framerate", "rotation", "bitrate"):
        parser.add_argument(f"--{name}", help="as the daemon's flag (default: the board's preset)")
    given = parser.parse_args(arguments)
    try:
        if not 1 <= given.seconds <= 3600:
            raise InvalidInput("--seconds", f"must be from 1 to 3600, got {given.seconds:g}")
        choice = resolved(given.camera)
        settings = _settings(given, choice.sensor or "")
        camera = camera_for(choice.address)
        print(f"{given.seconds:.0f} s …", file=sys.stderr)
        found = measure(camera, settings, given.seconds)
    except PinTheSkyError as error:
        print(f"camera_check: {error}", file=sys.stderr)
        return 2
    print(report(found))
    return 1 if concerns(found) else 0


if __name__ == "__main__":
    sys.exit(main())
