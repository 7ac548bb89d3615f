#!/usr/bin/env python3
"""CPU and memory of the whole daemon that watches an H.264 camera on the network, decoding included.

    python benchmarks/daemon_rtsp.py [--quick]

640x480 at 20 fps and 2 Mb/s over RTSP from a server in another process, nobody watching; defaults throughout. Every
picture is decoded, since a detector needs all of them in order; the recording itself is passed through. Side by side:
the daemon before a quiet scene and before one with motion a fifth of the time, and the floors: PyAV that only reads the
stream, and PyAV that reads and decodes it.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import scenes
from benchmarks.measured_processes import (
    BUSY,
    QUIET,
    Line,
    Setting,
    add_table,
    all_running,
    estimated,
    floor_running,
    run,
)
from benchmarks.measuring import ZERO, ZERO_2, Report
from tests.support.daemon_process import DaemonProcess
from tests.support.rtsp_server import RtspServer

BARE = Path(__file__).with_name("bare_pyav.py")
DEMUX = "floor: PyAV reads"
DECODE_QUIET = "floor: PyAV reads and decodes, quiet scene"
DECODE = "floor: PyAV reads and decodes, with motion"


def measure(report: Report, setting: Setting) -> None:
    """Run all side by side, and write down what they used."""
    folder = setting.folder
    with contextlib.ExitStack() as stack:
        quiet_url = stack.enter_context(RtspServer(scenes.packets_of(setting.quiet))).url
        busy_url = stack.enter_context(RtspServer(scenes.packets_of(setting.busy))).url
        daemons = {QUIET: DaemonProcess(folder / "a", quiet_url), BUSY: DaemonProcess(folder / "b", busy_url)}
        floors = {
            DEMUX: stack.enter_context(floor_running(BARE, busy_url)),
            DECODE_QUIET: stack.enter_context(floor_running(BARE, quiet_url, "--decode")),
            DECODE: stack.enter_context(floor_running(BARE, busy_url, "--decode")),
        }
        stack.enter_context(all_running(list(daemons.values())))
        for daemon in daemons.values():
            daemon.wait_log("Watching h264")
        lines = setting.watch({**floors, **{name: daemon.pid for name, daemon in daemons.items()}})
        clips = len(daemons[BUSY].clips())
    add_table(report, lines, floor=DEMUX)
    setting.explain(report, f"Clips made: {clips}.")
    _judge(report, lines)


def _judge(report: Report, lines: dict[str, Line]) -> None:
    for name, floor in ((QUIET, DECODE_QUIET), (BUSY, DECODE)):
        report.headline(
            f"CPU from an RTSP camera, {name.partition(', ')[2]}",
            f"{lines[name].percent:.2f} % of a core",
            f"{lines[floor].percent:.2f} % for bare PyAV that reads and decodes, {lines[DEMUX].percent:.2f} % reads",
        )
    report.headline("memory from an RTSP camera", f"{lines[BUSY].memory.resident:.0f} MB",
                    f"{lines[DECODE].memory.resident:.0f} MB for bare PyAV")  # fmt: skip
    own = lines[BUSY].percent - lines[DECODE].percent
    report.note(
        f"What the daemon adds to bare PyAV that decodes: {lines[QUIET].percent - lines[DECODE_QUIET].percent:.2f} % of"
        f" a core before the quiet scene, {own:.2f} % with motion.\n"
        f"Estimates, not measured: {estimated(lines[BUSY].percent)} with motion (this machine's figure times {ZERO_2}"
        f" and {ZERO}); decoding alone is {estimated(lines[DECODE].percent)}."
    )


def main() -> int:
    """Measure and print."""
    return run("The daemon with an RTSP camera", __doc__, measure)


if __name__ == "__main__":
    sys.exit(main())
