#!/usr/bin/env python3
"""What the adapter of the Pi's own cameras costs beside the bare library that does the same, for packets and luma.

    python benchmarks/adapter_cost.py [--rounds 3]

The real picamera2 runs in the root file system of its tests, 640x480 at 20 pictures a second. Both keep every packet
and copy ten small grey pictures a second; neither encodes, and the sensor's picture is painted beforehand. The adapter
looks into each packet besides (keyframes, parameter sets), makes full-range luma, and lets no error out. Without the
root file system (`make setup`, as root) it says so and measures nothing.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measuring import Report, arguments, spread  # noqa: E402 - the checkout, installed or not
from tests.picamera2 import rootfs  # noqa: E402 - as above

ROWS = {
    "bare": "picamera2 alone",
    "adapter": "the adapter",
    "masked": "the adapter, a privacy mask",
}
CALLS = {
    "packet": "a packet taken over",
    "picture": "a picture looked at, no luma",
    "luma": "a picture made into a luma frame",
}


def main() -> int:
    """Print two tables."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    reason = rootfs.why_not()
    if reason is not None:
        print(f"left out: {reason}")
        return 0
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, 8.0)
    code, output = rootfs.run(
        "/venv/bin/python",
        "benchmarks/adapter_in_rootfs.py",
        str(rounds),
        str(seconds),
        environment={"LIBCAMERA_LOG_LEVELS": "*:FATAL"},
        timeout_s=240.0,
    )
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if code != 0 or not lines:
        print(output, file=sys.stderr)
        return 1
    found = json.loads(lines[-1])
    report = Report("The adapter of the Pi's own cameras beside picamera2 alone", libraries=("numpy",))
    report.table(
        ("640x480 at 20 fps, nothing encoded", "CPU s per minute", "% of a core", "beside the library"),
        [
            (title, spread(found["cpu_s"][name], 3), f"{_percent(found['cpu_s'][name]):.2f}", _beside(found, name))
            for name, title in ROWS.items()
        ],
    )
    report.table(
        ("in the library's thread, CPU us", "picamera2 alone", "the adapter"),
        [
            (title, *(f"{found['calls_us'][who][name]:.0f}" for who in ("bare", "adapter")))
            for name, title in CALLS.items()
        ],
    )
    report.note(
        f"Median of {rounds} windows of {seconds:g} s (least–most), in turns. The library's own share holds the "
        "stand-in for the hardware, which copies each picture into memory as the Pi's image processor does for nothing."
    )
    ours, theirs = (found["calls_us"][who] for who in ("adapter", "bare"))
    report.headline(
        "CPU of the Pi camera's adapter for a packet and for a luma frame",
        f"{ours['packet']:.0f} and {ours['luma']:.0f} us",
        f"picamera2 alone: {theirs['packet']:.0f} and {theirs['luma']:.0f} us",
    )
    return report.deliver(options.json)


def _percent(cpu_s: list[float]) -> float:
    return statistics.median(cpu_s) / 60 * 100


def _beside(found: dict[str, dict[str, list[float]]], name: str) -> str:
    """What a picture costs more than with the library alone, in µs."""
    added_s = statistics.median(found["cpu_s"][name]) - statistics.median(found["cpu_s"]["bare"])
    return "" if name == "bare" else f"{added_s / 60 / 20 * 1e6:+.0f} us a picture"


if __name__ == "__main__":
    sys.exit(main())
