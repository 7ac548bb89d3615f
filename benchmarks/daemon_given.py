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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_processes import (
    BUSY,
    QUIET,
    REPLAY,
    Line,
    ReplayDaemon,
    Setting,
    add_table,
    all_running,
    estimated,
    floor_running,
    run,
)
from benchmarks.measuring import ZERO, ZERO_2, Report
from tests.support.aws_fixtures import moto_client
from tests.support.aws_servers import REGION, CredentialsServer, moto_server

BUCKET = "clips"
CPU_PERCENT_MAX = 2.0
RESIDENT_BEFORE_UPLOAD_MAX_MB = 70.0
RESIDENT_AFTER_UPLOAD_MAX_MB = 120.0
FLOOR = "floor: the replay alone"
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


def measure(report: Report, setting: Setting) -> None:
    """Run all side by side, and write down what they used."""
    folder, quiet, busy = setting.folder, setting.quiet.data.parent, setting.busy.data.parent
    with contextlib.ExitStack() as stack:
        upload = upload_flags(stack, folder / "certificates")
        upload += ["--buffer", "0", "--post-roll", "1"] if setting.quick else []
        daemons = {
            QUIET: ReplayDaemon(folder / "a", quiet),
            BUSY: ReplayDaemon(folder / "b", busy),
            UPLOADING: ReplayDaemon(folder / "c", busy, *upload),
        }
        floor = stack.enter_context(floor_running(REPLAY, busy, "--floor"))
        stack.enter_context(all_running(list(daemons.values())))
        if setting.quick:
            daemons[UPLOADING].wait_log("Stored ", timeout_s=30.0)
        lines = setting.watch({FLOOR: floor, **{name: daemon.pid for name, daemon in daemons.items()}})
        stored = len(daemons[UPLOADING].wait_log("Stored .*mp4", count=1, timeout_s=30.0))
        clips = len(daemons[BUSY].clips())
    add_table(report, lines, floor=FLOOR)
    setting.explain(report, f"Clips made before the memory was read: {clips} without upload, {stored} stored with it.")
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
    report.note(
        f"Estimates, not measured: {estimated(lines[QUIET].percent)} for the quiet scene,"
        f" {estimated(lines[BUSY].percent)} with motion (this machine's figure times {ZERO_2} and {ZERO})."
    )


def main() -> int:
    """Measure and print."""
    return run("The daemon with packets and luma frames given", __doc__, measure)


if __name__ == "__main__":
    sys.exit(main())
