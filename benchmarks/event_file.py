"""Watches the file in which a daemon leaves its events for the device client, as the client itself does: by inotify."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inotify_simple import INotify, flags

from tests.support.daemon_process import DaemonProcess


class Sighting(NamedTuple):
    """A `motion_start` that was read from the event file of one of the daemons."""

    daemon: int
    event_id: str
    seen_ns: int
    """CLOCK_MONOTONIC, when inotify told of the change."""


def motion_starts(daemons: Sequence[DaemonProcess], duration_s: float) -> list[Sighting]:
    """Watch the event files for a while; each event once."""
    found: dict[str, Sighting] = {}
    end_s = time.monotonic() + duration_s
    with INotify() as watcher:
        numbers = {
            watcher.add_watch(daemon.event_output, flags.MODIFY | flags.CLOSE_WRITE): number
            for number, daemon in enumerate(daemons)
        }
        while (left_s := end_s - time.monotonic()) > 0:
            for change in watcher.read(timeout=int(left_s * 1000) + 1):
                seen_ns = time.monotonic_ns()
                number = numbers[change.wd]
                event_id = _motion_start_in(daemons[number].event_output)
                if event_id is not None:
                    found.setdefault(event_id, Sighting(number, event_id, seen_ns))
    return list(found.values())


def _motion_start_in(path: Path) -> str | None:
    """The id of the `motion_start` that the file holds, if it holds one and is not just being written."""
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return None
    return str(document["event_id"]) if document.get("name") == "motion_start" else None
