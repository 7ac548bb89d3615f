"""Processes that are measured side by side: daemons on a camera or a replay, and the floors beside them.

`daemon_given.py` and `daemon_rtsp.py` differ in where the pictures come from and what the floors are; when and how they
are measured, and what is said of it, stands here once.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import scenes
from benchmarks.measuring import ZERO, ZERO_2, Memory, Report, arguments, cpu_in_windows, memory_of, spread
from benchmarks.replay_camera import Recording
from tests.support.daemon_process import DaemonProcess

REPLAY = Path(__file__).with_name("replay_daemon.py")
RING_S = 15
"""The daemon's default pre-roll: measuring begins when the ring is full."""
QUIET = "daemon, quiet scene"
BUSY = "daemon, motion 20 % of the time"


class ReplayDaemon(DaemonProcess):
    """The daemon on a recording that `benchmarks.scenes` made. `marks` as `ReplayCamera` has it."""

    def __init__(self, folder: Path, recording: Path, *flags: str, marks: Path | None = None) -> None:
        super().__init__(folder, "replay", *flags)
        marked = [] if marks is None else ["--marks", str(marks)]
        self._command = [sys.executable, str(REPLAY), str(recording), *marked, "--", *self._command[3:]]


@contextlib.contextmanager
def all_running(daemons: Sequence[DaemonProcess]) -> Iterator[None]:
    """Start daemons and wait until all are ready; they are stopped in order at the end, and killed if that fails."""
    with contextlib.ExitStack() as stack:
        for daemon in daemons:
            daemon.start()
            stack.callback(_end, daemon)
        for daemon in daemons:
            daemon.wait_ready()
        yield


def _end(daemon: DaemonProcess) -> None:
    if daemon.is_running and daemon.stop() != 0:
        raise RuntimeError("a daemon did not stop in order:\n" + "\n".join(daemon.log))


@contextlib.contextmanager
def floor_running(*command: str | Path) -> Iterator[int]:
    """Run a program of ours until the block ends; gives its process id."""
    child = subprocess.Popen([sys.executable, *(str(part) for part in command)])
    try:
        yield child.pid
        if child.poll() is not None:
            raise RuntimeError(f"{command[0]} ended by itself with {child.returncode}")
    finally:
        child.terminate()
        child.wait(10)


class Line:
    """What was measured of one process: CPU seconds of each window, and memory at the end."""

    def __init__(self, spent_s: Sequence[float], window_s: float, memory: Memory) -> None:
        self.per_minute_s = [spent * 60 / window_s for spent in spent_s]
        self.memory = memory

    @property
    def cpu_per_minute_s(self) -> float:
        """CPU seconds in a minute, the median of the windows."""
        return statistics.median(self.per_minute_s)

    @property
    def percent(self) -> float:
        """Of one core."""
        return self.cpu_per_minute_s / 60 * 100


class Setting(NamedTuple):
    """The two scenes before which daemons are measured, and the windows in which that is done."""

    folder: Path
    quick: bool
    quiet: Recording
    busy: Recording
    warm_up_s: float
    windows: int
    window_s: float

    @classmethod
    def make(cls, folder: Path, *, quick: bool) -> Setting:
        """Record the scenes. A window is one round of the busy one, so that each holds the same motion."""
        quiet, busy = scenes.quiet(folder / "quiet", short=quick), scenes.busy(folder / "busy", short=quick)
        windows = (1.0, 1, 1.0) if quick else (RING_S + 3.0, 3, busy.duration_us / 1e6)
        return cls(folder, quick, quiet, busy, *windows)

    def watch(self, pids: dict[str, int]) -> dict[str, Line]:
        """Let processes run side by side until the ring is full, then measure them through the same windows."""
        time.sleep(self.warm_up_s)
        spent = cpu_in_windows(pids, windows=self.windows, window_s=self.window_s)
        return {name: Line(spent[name], self.window_s, memory_of(pid)) for name, pid in pids.items()}

    def explain(self, report: Report, clips: str) -> None:
        """Say under the table what the figures are."""
        report.note(
            f"Median of {self.windows} windows of {self.window_s:.0f} s (least–most). In the ring: {RING_S} s and at"
            f" most one GOP more = {self.quiet.bytes_per_s * (RING_S + 2) / 1e6:.1f} MB, which the resident size holds"
            f" too.\n{clips}"
        )


def estimated(percent: float) -> str:
    """What a share of this machine's core would be on slower ones."""
    return f"{percent * ZERO_2:.0f} % of a core of a Zero 2 and {percent * ZERO:.0f} % of a Zero"


def run(title: str, description: str | None, measure: Callable[[Report, Setting], None]) -> int:
    """The program around a measurement: its arguments, its folder and its report. Returns the exit code."""
    options = arguments(description).parse_args()
    report = Report(title)
    with tempfile.TemporaryDirectory(prefix="pinthesky-bench-") as folder:
        measure(report, Setting.make(Path(folder), quick=options.quick))
    return report.deliver(options.json)


def add_table(report: Report, lines: dict[str, Line], *, floor: str) -> None:
    """A row for each process, with the floor to compare with."""
    report.table(
        ["", "CPU s per minute", "% of a core", "x floor", "resident MB", "private MB", "peak MB"],
        [
            [
                name,
                spread(line.per_minute_s, 3),
                f"{line.percent:.2f}",
                f"{line.cpu_per_minute_s / lines[floor].cpu_per_minute_s:.1f}",
                *(f"{value:.1f}" for value in (line.memory.resident, line.memory.private, line.memory.peak)),
            ]
            for name, line in lines.items()
        ],
    )
