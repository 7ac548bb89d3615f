"""The worker between the camera thread and the spool: makes clips of closed journals and takes pictures in.

It keeps slow disks and MP4 making away from the camera. What a closed journal needs is derived from the spool itself,
so nothing is forgotten when the process ends: the next start finds the same journals.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path
from typing import Callable

from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.internal_events import ItemsReady, PictureRefused
from pinthesky.errors import NotFound, Unavailable
from pinthesky.model.recording import Item

logger = logging.getLogger(__name__)

PICTURES_MAX = 64
_RETRY_S = 5.0

Finish = Callable[[Path], list[Item]]
"""Makes the items of one journal and commits them. Raises Unavailable, NotFound."""


class FinishingWorker:
    """One thread, owned and joined by the daemon."""

    def __init__(self, spool: ClipSpool, finish: Finish, post: Callable[[object], object]) -> None:
        self._spool = spool
        self._finish = finish
        self._post = post
        self._pictures: deque[tuple[bytes, Item]] = deque()
        self._changed = threading.Condition()
        self._news = True
        self._stopping = False
        self._disk_refuses = False
        self._thread = threading.Thread(target=self._run, name="finishing", daemon=False)

    def start(self) -> None:
        """Begin, with what an earlier run left."""
        self._thread.start()

    def journal_closed(self) -> None:
        """A journal waits in the spool."""
        with self._changed:
            self._news = True
            self._changed.notify()

    def take_picture_in(self, data: bytes, item: Item) -> None:
        """Commit a still or a thumbnail. Beyond `PICTURES_MAX` that wait the oldest is refused."""
        with self._changed:
            refused = self._pictures.popleft()[1] if len(self._pictures) >= PICTURES_MAX else None
            self._pictures.append((data, item))
            self._changed.notify()
        if refused is not None:
            logger.error("The disk is too slow: a picture is dropped")
            self._post(PictureRefused(refused, "the disk is too slow"))

    def stop(self, timeout_s: float) -> bool:
        """Finish what waits, within the time; what is left is finished at the next start. False when it still runs."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._pictures and not self._news and not self._stopping:
                    self._changed.wait(_RETRY_S if self._disk_refuses else None)
                stopping, self._news = self._stopping, False
                pictures = list(self._pictures)
                self._pictures.clear()
            for data, item in pictures:
                self._take_in(data, item)
            for path in self._spool.pending_journals():
                self._finish_one(path)
            with self._changed:
                if stopping and not self._pictures and not self._news:
                    return

    def _take_in(self, data: bytes, item: Item) -> None:
        try:
            spooled = self._spool.add_bytes(data, item)
        except Unavailable as error:
            self._refused(error)
            self._post(PictureRefused(item, str(error)))
            return
        self._post(ItemsReady([spooled.item]))

    def _finish_one(self, path: Path) -> None:
        try:
            items = self._finish(path)
        except NotFound:
            return
        except Unavailable as error:
            self._refused(error)
            return
        if self._disk_refuses:
            self._disk_refuses = False
            logger.warning("The disk takes clips again")
        if items:
            self._post(ItemsReady(items))

    def _refused(self, error: Unavailable) -> None:
        if not self._disk_refuses:
            logger.error("%s; trying again every %.0f s", error, _RETRY_S)
        self._disk_refuses = True
