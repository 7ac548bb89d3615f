"""Prints what lies in a hub's media folder: one line for each clip, from the sidecars, the newest last.

Usage: python -m tools.show_clips [MEDIA_FOLDER]   (run-data/hub/media where none is named)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from pinthesky.errors import InvariantBroken
from pinthesky.hub.media_record import MediaRecord, media_name
from pinthesky.machine.log_lines import clean

MEDIA = Path("run-data/hub/media")
HEADINGS = ("started", "camera", "seconds", "KB", "trigger", "event", "part", "file")
CLIP_SUFFIXES = (".mp4", ".h264")
SHOWN_MAX = 40


def is_clip(record: MediaRecord) -> bool:
    """Whether it is a clip, and not a picture."""
    return record.address.name.endswith(CLIP_SUFFIXES)


def stored_clips(media: Path) -> list[MediaRecord]:
    """Every whole clip in the order of time. Changes nothing: a hub may be at work there."""
    found = []
    for sidecar in media.glob("*/*/.*.json"):
        name = media_name(sidecar.name)
        try:
            record = MediaRecord.decode(sidecar.read_bytes())
        except (FileNotFoundError, InvariantBroken):
            continue
        if name is not None and is_clip(record) and sidecar.with_name(name).is_file():
            found.append(record)
    return sorted(found, key=lambda record: (record.recorded_at_s, record.key))


def facts(record: MediaRecord) -> str:
    """Length, size and reason of a clip, for a sentence; what the camera has not said is left out."""
    told = record.metadata
    seconds = f"{float(told['duration']):.1f} s, " if _is_number(told.get("duration")) else ""
    return f"{seconds}{record.size / 1_000_000:.1f} MB, {clean(told.get('trigger', 'motion'))}"


def row(record: MediaRecord) -> tuple[str, ...]:
    """The cells of one line."""
    told = record.metadata
    return (
        datetime.fromtimestamp(record.recorded_at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        record.address.thing,
        f"{float(told['duration']):.1f}" if _is_number(told.get("duration")) else "",
        f"{record.size / 1000:.0f}",
        clean(told.get("trigger", "")),
        clean(told.get("event_id", ""))[:8],
        clean(told.get("part", "")),
        record.file,
    )


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """The rows under their headings, in columns."""
    lines = [HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and 0.0 <= float(text) < 1e9
    except ValueError:
        return False


def main(arguments: Sequence[str]) -> int:
    """Print the table; exit 2 where there is no such folder."""
    if len(arguments) > 1:
        print("usage: python -m tools.show_clips [MEDIA_FOLDER]", file=sys.stderr)
        return 2
    media = Path(arguments[0]) if arguments else MEDIA
    if not media.is_dir():
        print(f"show_clips: there is no folder {media}; `make run` makes it", file=sys.stderr)
        return 2
    clips = stored_clips(media)
    left_out = f", the newest {SHOWN_MAX} of them" if len(clips) > SHOWN_MAX else ""
    print(f"{len(clips)} clip{'' if len(clips) == 1 else 's'} in {media}{left_out}")
    if clips:
        print(f"\n{table(map(row, clips[-SHOWN_MAX:]))}")
        print(f"\nLook at one with any player or browser:\n  xdg-open {media / clips[-1].file}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
