#!/usr/bin/env python3
"""How long the daemon takes from its start to READY=1, and what importing it costs.

    python benchmarks/startup.py [--quick]

Wall time is from before the process is made to the arrival of READY=1 at the notify socket; CPU is what the process had
used then. "Cold" asks the kernel to forget the files of Python, the libraries and the daemon first (what other programs
have mapped stays), "warm" comes right after another start. Imports are measured in processes of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import scenes
from benchmarks.measured_processes import ReplayDaemon
from benchmarks.measuring import ROOT, Report, arguments, cpu_s, memory_of, spread
from tests.support.daemon_process import DaemonProcess, running

READY_MAX_S = 3.0
"""The daemon is to be ready again this soon after a crash."""
FOOTAGE = ROOT / "tests" / "footage" / "people.mp4"
IMPORTS = {
    "nothing: Python alone": "pass",
    "numpy": "import numpy",
    "pinthesky.device.daemon": "import pinthesky.device.daemon",
    "the same with PyAV, loaded at the first clip": "import pinthesky.device.daemon, av",
    "the same with boto3, loaded at the first upload": "import pinthesky.device.daemon, boto3",
}
IMPORT_PROGRAM = """
import json, resource, sys, time
wall, cpu = time.perf_counter(), time.process_time()
{what}
used = [time.perf_counter() - wall, time.process_time() - cpu]
resident = int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]) * 1024
print(json.dumps([*used, resident / 1e6]))
"""


def forget_files() -> None:
    """Ask the kernel to drop what it has cached of the files that a start reads."""
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platlib", "purelib")} | {str(ROOT / "pinthesky")}
    for folder in folders:
        for path in Path(folder).rglob("*"):
            if path.suffix in (".py", ".pyc", ".so") or ".so." in path.name:
                with contextlib.suppress(OSError), path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def start(daemon: DaemonProcess) -> tuple[float, float, float]:
    """Start it once; wall and CPU seconds to READY=1, and MB resident then."""
    began_s = time.monotonic()
    with running(daemon):
        daemon.wait_ready()
        wall_s = time.monotonic() - began_s
        used_s, resident_mb = cpu_s(daemon.pid), memory_of(daemon.pid).resident
    return wall_s, used_s, resident_mb


def measure_starts(report: Report, folder: Path, *, rounds: int) -> None:
    """Cold and warm starts of a daemon to which packets are given, and of one that reads a file itself."""
    recording = scenes.quiet(folder / "quiet", short=True).data.parent
    kinds: dict[str, Callable[[Path], DaemonProcess]] = {
        "packets given": lambda place: ReplayDaemon(place, recording),
        "a camera through PyAV": lambda place: DaemonProcess(place, str(FOOTAGE)),
    }
    rows = []
    for kind, make in kinds.items():
        for state in ("cold", "warm"):
            found = []
            for number in range(rounds):
                if state == "cold":
                    forget_files()
                found.append(start(make(folder / f"{kind}-{state}-{number}")))
            wall_s, used_s, resident_mb = zip(*found, strict=True)
            rows.append(
                [f"{kind}, {state}", spread(wall_s, 2), spread(used_s, 2), f"{statistics.median(resident_mb):.1f}"]
            )
            if state == "warm":
                report.judge(
                    f"start to READY=1, {kind}",
                    statistics.median(wall_s),
                    READY_MAX_S,
                    unit="s",
                    beside=f"{statistics.median(used_s):.2f} s of it CPU",
                )
    report.table(["start to READY=1", "wall s", "CPU s", "resident MB"], rows)


def measure_imports(report: Report, *, rounds: int) -> None:
    """Imports, each in a process of its own."""
    rows = []
    for name, what in IMPORTS.items():
        found = []
        for _ in range(rounds):
            program = IMPORT_PROGRAM.format(what=what)
            ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
            found.append(json.loads(ran.stdout))
        wall_s, used_s, resident_mb = (statistics.median(column) for column in zip(*found, strict=True))
        rows.append([name, f"{wall_s * 1000:.0f}", f"{used_s * 1000:.0f}", f"{resident_mb:.1f}"])
        if name == "pinthesky.device.daemon":
            beside = f"{rows[0][3]} MB for Python alone, {rows[1][3]} MB with numpy"
            report.headline("import of the daemon", f"{rows[-1][2]} ms CPU, {rows[-1][3]} MB resident", beside)
    report.table(["import of", "wall ms", "CPU ms", "resident MB"], rows)


def main() -> int:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    report = Report("From start to ready")
    with tempfile.TemporaryDirectory(prefix="pinthesky-bench-") as folder:
        measure_starts(report, Path(folder), rounds=1 if options.quick else 5)
    measure_imports(report, rounds=1 if options.quick else 7)
    report.note("Medians (least–most).")
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
