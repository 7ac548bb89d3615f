#!/usr/bin/env python3
"""How long it takes from a luma frame that shows motion to the event in the file that the device client publishes.

    python benchmarks/latency.py [--quick]

Several daemons at once, each before a replayed scene into which a figure steps again and again, between one picture and
the next. The clock starts when the camera hands over the first luma frame with the figure in it, and stops when inotify
tells this process of the event file and `motion_start` is read from it. Every figure that was shown is counted.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import scenes
from benchmarks.event_file import motion_starts
from benchmarks.measured_processes import ReplayDaemon, all_running
from benchmarks.measuring import Report, arguments, percentile

BUDGET_MS = 100.0
SHORTEST_CLIPS = ("--buffer", "2", "--post-roll", "1")
"""So that a clip ends before the next figure steps in."""


def latencies_ms(shown_ns: list[int], seen_ns: list[int]) -> list[float]:
    """From each figure shown to the first event before the next figure; figures without one are left out."""
    found = []
    for index, shown in enumerate(shown_ns):
        until = shown_ns[index + 1] if index + 1 < len(shown_ns) else shown + 10**10
        answer = next((seen for seen in seen_ns if shown <= seen < until), None)
        if answer is not None:
            found.append((answer - shown) / 1e6)
    return found


def measure(report: Report, folder: Path, *, quick: bool) -> None:
    """Show figures and wait for events."""
    recording = scenes.crossings(folder / "crossings")
    count, rounds = (2, 0.5) if quick else (5, 4.25)
    marks = [folder / f"marks-{number}" for number in range(count)]
    daemons = [
        ReplayDaemon(folder / str(number), recording.data.parent, *SHORTEST_CLIPS, marks=marks[number])
        for number in range(count)
    ]
    with all_running(daemons):
        seen = motion_starts(daemons, rounds * recording.duration_us / 1e6)
    shown = 0
    taken_ms: list[float] = []
    for number, marked in enumerate(marks):
        # The last figure may have stepped in at the very end of the watch.
        handed_ns = [int(line) for line in marked.read_text(encoding="utf-8").split()]
        shown += len(handed_ns)
        taken_ms += latencies_ms(handed_ns, [sighting.seen_ns for sighting in seen if sighting.daemon == number])
    report.table(
        ["figures shown", "events seen", "p50 ms", "p95 ms", "max ms", "over 100 ms"],
        [
            [
                str(shown),
                str(len(taken_ms)),
                *(f"{percentile(taken_ms, percent):.1f}" for percent in (50, 95, 100)),
                str(sum(taken > BUDGET_MS for taken in taken_ms)),
            ]
        ],
    )
    report.note(
        f"{count} daemons side by side. The detector decides on the first frame here; of a figure that appears little"
        " by little it may take one frame more, 100 ms at ten luma frames a second.\nNot in these figures: an event"
        " that begins within 0.6 s of another waits for the rest of that time, since the client may not have read it."
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
