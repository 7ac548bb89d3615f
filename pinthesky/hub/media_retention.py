"""How much is kept: by age, by bytes, and by what the disk must have free; the oldest goes first, the starred stays.

Age and order are those of arrival: a Pi's clock can be wrong, and what comes late, after a week without network, is to
have its full time as well.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pinthesky.errors import InvalidInput, PinTheSkyError
from pinthesky.hub.media_folder import Incoming, MediaFolder, NoRoom
from pinthesky.hub.media_record import MediaRecord

logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 600.0
DAY_S = 86400


@dataclass(frozen=True, kw_only=True)
class RetentionLimits:
    """What is kept. Raises InvalidInput."""

    max_age_days: int | None = 30
    max_bytes: int | None = None
    """`maxspace`: of objects, without the sidecars, which are about 1 KB each."""
    min_free_bytes: int = 1024**3
    """What the disk must have left for everybody else."""

    def __post_init__(self) -> None:
        """Hold the bounds."""
        for name, value, least in (
            ("media.retention_days", self.max_age_days, 1),
            ("media.maxspace", self.max_bytes, 1024**2),
            ("media.min_free", self.min_free_bytes, 0),
        ):
            if value is not None and value < least:
                raise InvalidInput(name, f"must be at least {least}, got {value}")


def free_bytes(path: Path) -> int:
    """Bytes that the disk of `path` has left for us. Raises OSError."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


class MediaRetention:
    """Keeps the folder within its limits: before anything comes in, and every ten minutes for the age."""

    def __init__(
        self,
        folder: MediaFolder,
        limits: RetentionLimits,
        *,
        clock: Callable[[], float] = time.time,
        free: Callable[[Path], int] = free_bytes,
        every_s: float = SWEEP_EVERY_S,
    ) -> None:
        """`clock` gives epoch seconds, `free` what the disk of a path has left."""
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._free = free
        self._every_s = every_s
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="media-retention")
        self._is_tight = False
        self.removed_objects = 0
        """Removed since the start, to make room or for their age."""
        self.removed_bytes = 0

    def start(self) -> None:
        """Begin to look every ten minutes."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End the looking. False if it did not end in time."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def admit(self, size: int) -> Incoming:
        """Open a file for `size` bytes, the oldest objects removed where they stand in its way.

        Raises NoRoom where all that may be removed would not be enough; then nothing is removed. Raises Unavailable.
        """
        with self._lock:
            excess = self._excess(size)
            if excess > 0 and excess > self._folder.index.evictable():
                if not self._is_tight:
                    logger.error("No room for what cameras send: all that is left is starred, or not ours")
                self._is_tight = True
                raise NoRoom("what is stored may not become more, and nothing of it may be removed")
            while excess > 0 and self._remove_oldest(excess):
                excess = self._excess(size)
            if self._is_tight:
                logger.info("There is room again for what cameras send")
            self._is_tight = False
            return self._folder.begin(size)

    def sweep(self) -> int:
        """Remove what is too old, or too much by now. Returns how many. Raises Unavailable."""
        before = self.removed_objects
        with self._lock:
            if self._limits.max_age_days is not None:
                oldest_s = self._clock() - self._limits.max_age_days * DAY_S
                while self._remove(self._folder.index.oldest(stored_before_s=oldest_s), why="for their age"):
                    pass
            while (excess := self._excess(0)) > 0 and self._remove_oldest(excess):
                pass
        return self.removed_objects - before

    def _excess(self, size: int) -> int:
        """Bytes that must go before `size` more may come."""
        try:
            lacking = self._limits.min_free_bytes + size - self._free(self._folder.root)
        except OSError as error:
            raise NoRoom(f"{self._folder.root}: {error.strerror}") from error
        if self._limits.max_bytes is None:
            return lacking
        return max(lacking, self._folder.usage().size + size - self._limits.max_bytes)

    def _remove_oldest(self, excess: int) -> bool:
        """Remove the oldest objects that have `excess` bytes together. False where nothing could be removed."""
        chosen: list[MediaRecord] = []
        size = 0
        for record in self._folder.index.oldest():
            if size >= excess:
                break
            chosen.append(record)
            size += record.size
        return self._remove(chosen, why="to make room")

    def _remove(self, records: list[MediaRecord], *, why: str) -> bool:
        removed = [record for record in records if self._folder.delete(record.key)]
        if removed:
            size = sum(record.size for record in removed)
            self.removed_objects += len(removed)
            self.removed_bytes += size
            logger.info(
                "Removed %d objects (%.1f MB) %s, of %s to %s",
                len(removed),
                size / 1e6,
                why,
                removed[0].file,
                removed[-1].file,
            )
        return bool(removed)

    def _run(self) -> None:
        is_in_trouble = False
        while not self._stopping.is_set():
            try:
                self.sweep()
                is_in_trouble = False
            except PinTheSkyError as error:
                if not is_in_trouble:
                    logger.error("The media folder cannot be kept within its limits: %s", error)
                is_in_trouble = True
            self._stopping.wait(self._every_s)
