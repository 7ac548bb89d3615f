#!/usr/bin/env python3
"""What a list of clips costs, whether there are a hundred or a million.

    python benchmarks/records_lists.py [--quick]

Clips of eight cameras in the hub's database, asked for through the control plane's router as a console does: pages of
20, the newest first. The rows are made by bulk SQL, as ingest would have written them; nothing is cached between two
calls but what SQLite keeps. A filter that every fifth clip passes reads five rows for each that it finds.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import Report, arguments, percentile
from pinthesky.model.identifiers import MediaKey, ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.records.clips import Clip, VideoId
from tests.planes.fakes import START_S
from tests.planes.home import OWNER, StagedHome, ask_for, make_home

CAMERAS = [ThingName(f"camera-{number}") for number in range(8)]
LIMIT = 20
LABELLED_EVERY = 5
SPACING_S = 2
KINDS = ("first page", "a page in the middle", "filtered by label", "one camera's")
BUDGET = 2.0
"""A list of a million clips may cost so many times what one of a hundred costs: its index is some levels deeper."""


class Cost(NamedTuple):
    """Milliseconds for each call: of the processor, which nothing beside it disturbs, and until the answer is there."""

    cpu_ms: float
    wall_ms: float
    wall_p95_ms: float


def clip_rows(number: int) -> Iterator[tuple[str, str, bytes, str, str, int, int]]:
    """Rows of the table, of clips that are SPACING_S apart, the last of them now."""
    expires_at_s = int(START_S) + 30 * 86_400
    for count in range(number):
        thing = CAMERAS[count % len(CAMERAS)]
        epoch_s = int(START_S) - (number - count) * SPACING_S
        video = VideoId(f"{epoch_s}-{count:032x}.motion.mp4")
        clip = Clip(
            thing_name=thing,
            video=video,
            media_key=MediaKey(f"motion_videos/{thing}/{video}"),
            started_at=epoch_s * 1000,
            stored_at=epoch_s * 1000,
            size=4_000_000,
            duration_seconds=30.0,
            event_id=f"{count:032x}",
            labels={"person": 0.9} if count % LABELLED_EVERY == 0 else {},
            thumbnail_key=f"motion_videos/{thing}/{video.stem}.jpg",
        )
        index_sort = f"{clip.started_at:013d}#{thing}#{video}"
        yield f"clip#{thing}", str(video), rows.encode(clip), "clip", index_sort, expires_at_s, 1


def fill(home: StagedHome, number: int) -> None:
    """Put clips into the table."""
    _ = home.table  # made with its schema
    with home.database.transaction() as connection:
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", clip_rows(number))


def queries(home: StagedHome, number: int) -> dict[str, tuple[str, dict[str, object]]]:
    """Path and query of each kind of list."""
    middle_ms = round((START_S - number * SPACING_S / 2) * 1000)
    at_middle: dict[str, object] = {"endTime": middle_ms, "limit": LIMIT}
    token = ask_for(home, OWNER, "GET", "/videos", **at_middle)["nextToken"]
    return dict(
        zip(
            KINDS,
            (
                ("/videos", {"limit": LIMIT}),
                ("/videos", {**at_middle, "nextToken": token}),
                ("/videos", {"limit": LIMIT, "label": "person"}),
                (f"/cameras/{CAMERAS[0]}/videos", {"limit": LIMIT // 2}),
            ),
            strict=True,
        )
    )


def measure(home: StagedHome, number: int, *, calls: int) -> dict[str, Cost]:
    """The cost of each kind of list."""
    found = {}
    for kind, (path, query) in queries(home, number).items():
        cpu_ms, wall_ms = [], []
        for _ in range(calls):
            began_s, cpu_began_s = time.perf_counter(), time.thread_time()
            page = ask_for(home, OWNER, "GET", path, **query)
            cpu_ms.append((time.thread_time() - cpu_began_s) * 1000)
            wall_ms.append((time.perf_counter() - began_s) * 1000)
            assert len(page["items"]) == query["limit"], json.dumps(page)[:200]
        found[kind] = Cost(statistics.median(cpu_ms), statistics.median(wall_ms), percentile(wall_ms, 95))
    return found


def main() -> int:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    numbers = (100, 1000) if options.quick else (100, 10_000, 1_000_000)
    report = Report("Lists of clips", libraries=("msgspec",))
    costs: dict[int, dict[str, Cost]] = {}
    sizes: list[str] = []
    for number in numbers:
        with tempfile.TemporaryDirectory() as place:
            home = make_home(Path(place))
            try:
                fill(home, number)
                costs[number] = measure(home, number, calls=20 if options.quick else 300)
                size = sum(each.stat().st_size for each in Path(place).iterdir() if each.is_file())
                sizes.append(f"{number:,} clips: {size / 1e6:.1f} MB".replace(",", " "))
            finally:
                home.database.close()
    least, most = numbers[0], numbers[-1]
    columns = [
        "page of 20: CPU ms, ms (p95)",
        *(f"{number:,} clips".replace(",", " ") for number in numbers),
        "ratio of CPU",
    ]
    table = []
    for kind in KINDS:
        ratio = costs[most][kind].cpu_ms / costs[least][kind].cpu_ms
        each = [costs[number][kind] for number in numbers]
        shown = [f"{cost.cpu_ms:.2f}, {cost.wall_ms:.2f} ({cost.wall_p95_ms:.2f})" for cost in each]
        table.append([kind, *shown, f"{ratio:.2f}"])
        report.judge(f"list of clips, {kind}: a million over a hundred", ratio, BUDGET, unit="times")
    report.table(columns, table)
    report.note(f"The database: {'; '.join(sizes)}. Of one camera pages of {LIMIT // 2} were asked for.")
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
