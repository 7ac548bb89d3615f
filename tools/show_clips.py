"""Prints what lies in a spool folder: one line per clip and still, from the sidecars, and how to look at them.

    python tools/show_clips.py run-data/spool
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

HEADINGS = ("started", "seconds", "KB", "kind", "trigger", "event", "part", "file")


def read_sidecars(spool: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return every stored file with its sidecar, in the order of time; a sidecar that cannot be read counts as empty.

    A file without a sidecar is listed too: what is on the disk is shown, whatever is known of it.
    """
    ready = spool / "ready"
    found = []
    for media in sorted(ready.iterdir()) if ready.is_dir() else []:
        if media.suffix == ".json" or media.name.startswith("."):
            continue
        try:
            facts = json.loads(media.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            facts = {}
        found.append((media, facts if isinstance(facts, dict) else {}))
    return sorted(found, key=lambda item: started_at(item[1]) or item[0].stat().st_mtime)


def started_at(facts: dict[str, Any]) -> float | None:
    """Return the start in seconds since 1970, or None while the clock was not known to be right."""
    value = facts.get("started_at")
    return float(value) if isinstance(value, (int, float)) else None


def row(media: Path, facts: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of one line."""
    start = started_at(facts)
    seconds = facts.get("duration_s")
    return (
        "?" if start is None else datetime.fromtimestamp(start).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        f"{seconds:.1f}" if isinstance(seconds, (int, float)) else "",
        f"{media.stat().st_size / 1000:.0f}",
        str(facts.get("kind") or media.suffix.lstrip(".")) + (" (recovered)" if facts.get("recovered") else ""),
        str(facts.get("trigger") or ""),
        str(facts.get("event_id") or "")[:8],
        str(facts.get("part") or ""),
        str(media),
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
    stored = read_sidecars(Path(arguments[0]))
    if not stored:
        print(f"No clips in {arguments[0]} yet.")
        return 0
    clips = [(media, facts) for media, facts in stored if media.suffix in (".mp4", ".h264")]
    print(f"\n{len(clips)} clip{'' if len(clips) == 1 else 's'} on the disk:\n")
    print(table(row(media, facts) for media, facts in stored))
    if clips:
        print(f"\nLook at one with any player or browser:\n  xdg-open {clips[-1][0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
