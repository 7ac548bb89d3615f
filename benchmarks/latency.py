#!/usr/bin/env python3
"""How long it takes from a luma frame that shows motion to the event in the file that the device client publishes.

    python benchmarks/latency.py [--quick]

Several daemons at once, each before a replayed scene into which a figure steps again and again, between one picture and
the next. The clock starts when the camera hands over the first luma frame with the figure in it, and stops when inotify
tells this process of the event file and `motion_start` is read from it. Every figure that was shown is counted.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import scenes
from benchmarks.event_file import motion_starts
from benchmarks.measured_processes import ReplayDaemon, all_running
from benchmarks.measuring import Report, arguments, percentile
from benchmarks.replay_camera import Recording

BUDGET_MS = 100.0
SHORTEST_CLIPS = ("--buffer", "2", "--post-roll", "1")
"""So that a clip ends before the next figure steps in."""
AT_LEAST_WATCHED_NS = 500_000_000
"""A figure that stepped in later than this before the end of the watch is not counted."""


def latencies_ms(shown_ns: Sequence[int], seen_ns: Sequence[int]) -> list[float]:
    """From each figure shown to the first event before the next figure; without an event it is infinite."""
    found = []
    for shown, until in zip(shown_ns, [*shown_ns[1:], math.inf], strict=True):
        answer = next((seen for seen in seen_ns if shown <= seen < until), math.inf)
        found.append((answer - shown) / 1e6)
    return found


def watch(folder: Path, recording: Recording, *, count: int, duration_s: float) -> list[float]:
    """Run `count` daemons before the recording for a while; a latency for each figure that was shown."""
    marks = [folder / f"marks-{number}" for number in range(count)]
    daemons = [
        ReplayDaemon(folder / str(number), recording.data.parent, *SHORTEST_CLIPS, marks=marks[number])
        for number in range(count)
    ]
    with all_running(daemons):
        seen = motion_starts(daemons, duration_s)
        until_ns = time.monotonic_ns() - AT_LEAST_WATCHED_NS
    taken_ms: list[float] = []
    for number, marked in enumerate(marks):
        handed_ns = [int(line) for line in marked.read_text(encoding="utf-8").split()]
        taken_ms += latencies_ms(
            [shown for shown in handed_ns if shown < until_ns],
            [sighting.seen_ns for sighting in seen if sighting.daemon == number],
        )
    return taken_ms


def measure(report: Report, folder: Path, *, quick: bool) -> None:
    """Show figures, wait for events, and write down how long they took."""
    recording = scenes.crossings(folder / "crossings")
    count, rounds = (2, 0.45) if quick else (5, 4.2)
    taken_ms = watch(folder, recording, count=count, duration_s=rounds * recording.duration_us / 1e6)
    seen_ms = [taken for taken in taken_ms if taken < math.inf]
    report.table(
        ["figures shown", "events seen", "p50 ms", "p95 ms", "max ms", "over 100 ms"],
        [
            [
                str(len(taken_ms)),
                str(len(seen_ms)),
                *(f"{percentile(taken_ms, percent):.1f}" for percent in (50, 95, 100)),
                str(sum(taken > BUDGET_MS for taken in taken_ms)),
            ]
        ],
    )
    report.note(
        f"{count} daemons side by side. The detector decides on the first frame here; of a figure that appears little"
        " by little it may take one frame more, 100 ms at ten luma frames a second.\nAn event that"
        " begins within 0.6 s of another write, such as the end of a clip, waits for the rest of that time: the"
        " client may not have read the file yet. That is what a figure of hundreds of milliseconds here is."
    )
    report.judge(
        "motion to event file, 95 of 100 events",
        percentile(taken_ms, 95),
        BUDGET_MS,
        unit="ms",
        beside=f"median {percentile(taken_ms, 50):.1f} ms, most {max(taken_ms):.1f} ms of {len(taken_ms)}",
    )


def main() -> int:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    report = Report("From motion to the event file", libraries=("numpy", "msgspec"))
    with tempfile.TemporaryDirectory(prefix="pinthesky-bench-") as folder:
        measure(report, Path(folder), quick=options.quick)
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
