"""Prints what lies in a spool folder: one line per clip and still, from the sidecars, and how to look at them.

Usage: python tools/show_clips.py run-data/spool
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from pinthesky.errors import InvariantBroken
from pinthesky.model.recording import Item

HEADINGS = ("started", "seconds", "KB", "kind", "trigger", "event", "part", "file")
CLIP_SUFFIXES = (".mp4", ".h264")


def stored_items(spool: Path) -> list[tuple[Path, Item]]:
    """Return every stored file with what its sidecar says, in the order of time; changes nothing.

    A daemon may be at work there: what it has not finished, or has just uploaded, is left out.
    """
    found = []
    for sidecar in (spool / "ready").glob("*.json"):
        media = sidecar.with_suffix("")
        try:
            found.append((media.stat().st_mtime, media, Item.decode(sidecar.read_bytes())))
        except (FileNotFoundError, InvariantBroken):
            continue
    found.sort(key=lambda entry: (entry[2].start.wall_s or entry[0], entry[1].name))
    return [(media, item) for _, media, item in found]


def row(media: Path, item: Item) -> tuple[str, ...]:
    """Return the cells of one line; a start is unknown while the clock was not known to be right."""
    start = item.start.wall_s
    return (
        "?" if start is None else datetime.fromtimestamp(start).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        f"{item.duration_s:.1f}" if item.duration_s else "",
        f"{item.size / 1000:.0f}",
        item.kind + (" (recovered)" if item.recovered else ""),
        item.trigger,
        item.event_id[:8],
        str(item.part),
        media.name,
    )


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return the rows under their headings, in columns."""
    lines = [HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def main(arguments: list[str]) -> int:
    """Print the table; exit 2 if no folder was named."""
    if len(arguments) != 1:
        print("usage: show_clips.py SPOOL_FOLDER", file=sys.stderr)
        return 2
    spool = Path(arguments[0])
    stored = stored_items(spool)
    clips = [media for media, _ in stored if media.suffix in CLIP_SUFFIXES]
    print(f"\n{len(clips)} clip{'' if len(clips) == 1 else 's'} in {spool / 'ready'}")
    if stored:
        print(f"\n{table(row(media, item) for media, item in stored)}")
    if clips:
        print(f"\nLook at one with any player or browser:\n  xdg-open {clips[-1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
