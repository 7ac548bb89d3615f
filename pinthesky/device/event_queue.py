"""What the device tells the cloud, through a folder that our own device client empties: no slot, so no pacing.

Every event is a file of its own, made under another name and renamed, so the client sees it whole; it removes the file
when the broker has acknowledged it. Names and order: `pinthesky.model.event_queue`. Nothing is made durable: what a
power cut takes was minutes of news, and the store tells of the clips itself.
"""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path
from typing import Optional

from pinthesky.device.event_output import WRITE_RETRY_S, WaitingEvents
from pinthesky.device.ports import Clock
from pinthesky.machine import durable_files
from pinthesky.model.event_queue import SEQUENCE_MAX, EventFile, parse_event_file

logger = logging.getLogger(__name__)

FILES_MAX = 2000
BYTES_MAX = 8_000_000
"""Most events, and bytes of them, in the folder. The oldest goes first, and the starts of motion after all others."""


class EventQueue(WaitingEvents):
    """Writes events into the folder. Belongs to one thread, which calls `flush` whenever `due_in` says 0."""

    def __init__(self, folder: Path, *, clock: Clock, files_max: int = FILES_MAX, bytes_max: int = BYTES_MAX) -> None:
        super().__init__()
        self._folder = folder
        self._clock = clock
        self._files_max = files_max
        self._bytes_max = bytes_max
        self._run = secrets.token_hex(4)
        self._sequence = 0
        self._sizes: dict[EventFile, int] = {}
        self._not_before_s = float("-inf")
        self._failing = False

    def prepare(self) -> None:
        """Make the folder, and go on behind what an earlier run left in it. Raises OSError."""
        durable_files.make_folder(self._folder)
        for name in durable_files.names_in(self._folder):
            if name.startswith(".") and name.endswith(".new"):
                durable_files.remove(self._folder / name)
        self._sizes = {}
        self._look()
        self._sequence = max((file.sequence for file in self._sizes), default=0) % SEQUENCE_MAX

    def due_in(self) -> Optional[float]:
        """Seconds until `flush` has something to do: 0 for now, None while nothing waits."""
        return max(0.0, self._not_before_s - self._clock.monotonic()) if self.waiting else None

    def flush(self) -> bool:
        """Write all that waits, in order. Returns whether anything was written.

        A write that fails is tried again after WRITE_RETRY_S, with a new folder if it was removed; what it held waits.
        """
        written = False
        try:
            if self._failing and self.due_in() == 0.0:
                durable_files.make_folder(self._folder)
            while self.due_in() == 0.0:
                self._write_first()
                written = True
        except OSError as error:
            if not self._failing:
                logger.warning("Cannot write events to %s: %s", self._folder, error.strerror)
            self._failing = True
            self._not_before_s = self._clock.monotonic() + WRITE_RETRY_S
        else:
            if written and self._failing:
                logger.info("Events are written to %s again; %d were dropped", self._folder, self.dropped)
            self._failing = self._failing and not written
        return written

    def _write_first(self) -> None:
        urgent = bool(self._motion)
        health = not urgent and not self._others
        encoded = (self._motion or self._others or [self._health or b""])[0]
        file = EventFile(urgent, self._sequence + 1, self._run, health)
        self._make_room(file, len(encoded))
        temporary = self._folder / f".{file.name}.new"
        try:
            temporary.write_bytes(encoded)
            temporary.chmod(0o600)
            durable_files.move(temporary, self._folder / file.name)
        except OSError:
            durable_files.remove(temporary)
            raise
        self._sequence += 1
        self._sizes[file] = len(encoded)
        self._take()

    def _make_room(self, coming: EventFile, size: int) -> None:
        """Remove what the new event makes obsolete, and the oldest where the bounds ask for it."""
        self._look()
        if coming.health:
            for file in [file for file in self._sizes if file.health]:
                self._remove(file)
        by_rank = sorted(self._sizes, key=lambda file: (file.urgent, file.sequence))
        total = sum(self._sizes.values())
        dropped = 0
        while by_rank and (len(by_rank) >= self._files_max or total + size > self._bytes_max):
            file = by_rank.pop(0)
            total -= self._sizes[file]
            self._remove(file)
            dropped += 1
            self._count_dropped()
        if not dropped:
            self._dropping = False

    def _look(self) -> None:
        """Learn what the client has taken, and what is there beside what we wrote."""
        present = {}
        for name in os.listdir(self._folder):  # noqa: PTH208 - names are what is wanted
            file = parse_event_file(name)
            if file is not None:
                present[file] = self._sizes[file] if file in self._sizes else _size(self._folder / name)
        self._sizes = present

    def _remove(self, file: EventFile) -> None:
        durable_files.remove(self._folder / file.name)
        del self._sizes[file]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # the client was quicker
