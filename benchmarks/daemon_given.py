#!/usr/bin/env python3
"""CPU and memory of the whole daemon when packets and luma frames are given to it, as a Pi's camera gives them.

    python benchmarks/daemon_given.py [--quick]

640x480 at 20 fps and 2 Mb/s, 320x240 luma ten times a second, nobody watching; defaults throughout. Side by side: the
daemon before a quiet scene, before one with motion a fifth of the time, the same with upload to an S3 on this machine
(served by another process), and the floor: the same replay handed to nothing.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import scenes
from benchmarks.measured_processes import (
    REPLAY,
    RING_S,
    Line,
    ReplayDaemon,
    add_table,
    all_running,
    floor_running,
    watch,
)
from benchmarks.measuring import ZERO, ZERO_2, Report, arguments
from tests.support.aws_fixtures import moto_client
from tests.support.aws_servers import REGION, CredentialsServer, moto_server

BUCKET = "clips"
CPU_PERCENT_MAX = 2.0
RESIDENT_BEFORE_UPLOAD_MAX_MB = 70.0
RESIDENT_AFTER_UPLOAD_MAX_MB = 120.0
FLOOR = "floor: the replay alone"
QUIET = "daemon, quiet scene"
BUSY = "daemon, motion 20 % of the time"
UPLOADING = "the same, uploading"


def upload_flags(stack: contextlib.ExitStack, folder: Path) -> list[str]:
    """Serve credentials and S3 in this process until the stack ends; the flags that lead there."""
    folder.mkdir()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would log every request of S3 between our lines
    credentials = stack.enter_context(CredentialsServer(folder))
    port = stack.enter_context(moto_server())
    moto_client(port, "s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return [
        *("--bucket-name", BUCKET, "--s3-endpoint", f"http://127.0.0.1:{port}", "--cloudwatch-region", REGION),
        *("--thing-cert", str(credentials.thing.cert), "--thing-key", str(credentials.thing.key)),
        *("--ca-cert", str(credentials.authority.cert), "--credentials-endpoint", credentials.endpoint),
        *("--role-alias", credentials.role_alias),
    ]


def measure(report: Report, folder: Path, *, quick: bool) -> None:
    """Run all side by side, and write down what they used."""
    quiet, busy = scenes.quiet(folder / "quiet", short=quick), scenes.busy(folder / "busy", short=quick)
    # A window is one round of the busy scene, so that each holds the same motion.
    warm_up_s, windows, window_s = (1.0, 1, 1.0) if quick else (RING_S + 3.0, 3, busy.duration_us / 1e6)
    with contextlib.ExitStack() as stack:
        daemons = {
            QUIET: ReplayDaemon(folder / "a", quiet.data.parent),
            BUSY: ReplayDaemon(folder / "b", busy.data.parent),
            UPLOADING: ReplayDaemon(
                folder / "c", busy.data.parent, *upload_flags(stack, folder / "certificates"),
                *(("--buffer", "0", "--post-roll", "1") if quick else ()),
            ),
        }  # fmt: skip
        floor = stack.enter_context(floor_running(REPLAY, busy.data.parent, "--floor"))
        stack.enter_context(all_running(list(daemons.values())))
        if quick:
            daemons[UPLOADING].wait_log("Stored ", timeout_s=30.0)
        lines = watch(
            {FLOOR: floor, **{name: daemon.pid for name, daemon in daemons.items()}},
            warm_up_s=warm_up_s,
            windows=windows,
            window_s=window_s,
        )
        stored = len(daemons[UPLOADING].wait_log("Stored .*mp4", count=1, timeout_s=30.0))
        clips = len(daemons[BUSY].clips())
    add_table(report, lines, floor=FLOOR)
    report.note(
        f"Median of {windows} windows of {window_s:.0f} s (least–most). In the ring: {RING_S} s and at most one GOP"
        f" more = {quiet.bytes_per_s * (RING_S + 2) / 1e6:.1f} MB, which the resident size holds too.\n"
        f"Clips made before the memory was read: {clips} without upload, {stored} stored with it."
    )
    _judge(report, lines)


def _judge(report: Report, lines: dict[str, Line]) -> None:
    beside = f"{lines[FLOOR].percent:.2f} % for the replay alone"
    for name in (QUIET, BUSY):
        report.judge(f"CPU, {name}", lines[name].percent, CPU_PERCENT_MAX, unit="% of a core", beside=beside)
    report.judge(
        "memory before the first upload",
        lines[BUSY].memory.resident,
        RESIDENT_BEFORE_UPLOAD_MAX_MB,
        unit="MB",
        beside=f"{lines[FLOOR].memory.resident:.0f} MB for the replay alone",
    )
    report.judge("memory after uploads", lines[UPLOADING].memory.resident, RESIDENT_AFTER_UPLOAD_MAX_MB, unit="MB")
    percent = lines[QUIET].percent
    report.note(
        f"Estimates, not measured: {percent * ZERO_2:.0f} % of a core of a Zero 2 and {percent * ZERO:.0f} % of a Zero"
        f" for the quiet scene, {lines[BUSY].percent * ZERO_2:.0f} % and {lines[BUSY].percent * ZERO:.0f} % with motion"
        f" (this machine's figure times {ZERO_2} and {ZERO})."
    )


def main() -> int:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    report = Report("The daemon with packets and luma frames given")
    with tempfile.TemporaryDirectory(prefix="pinthesky-bench-") as folder:
        measure(report, Path(folder), quick=options.quick)
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
