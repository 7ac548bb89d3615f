"""The worker between the camera thread and the spool: makes clips of closed journals and takes pictures in.

It keeps slow disks and MP4 making away from the camera. What a closed journal needs is derived from the spool itself,
so nothing is forgotten when the process ends: the next start finds the same journals.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import Callable, Optional

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
        self._stop_at_s: Optional[float] = None
        self._defective: set[Path] = set()
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
            self._stop_at_s = time.monotonic() + timeout_s
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            with self._changed:
                if not self._pictures and not self._news and self._stop_at_s is None:
                    self._changed.wait(_RETRY_S if self._disk_refuses else None)
                is_last, self._news = self._stop_at_s is not None, False
            self._take_pictures_in()
            for path in self._spool.pending_journals():
                if self._is_late():
                    return
                self._finish_one(path)
                self._take_pictures_in()

    def _is_late(self) -> bool:
        return self._stop_at_s is not None and time.monotonic() >= self._stop_at_s

    def _take_pictures_in(self) -> None:
        while self._pictures:
            with self._changed:
                data, item = self._pictures.popleft()
            self._take_in(data, item)

    def _take_in(self, data: bytes, item: Item) -> None:
        try:
            spooled = self._spool.add_bytes(data, item)
        except Unavailable as error:
            self._refused(error)
            self._post(PictureRefused(item, str(error)))
            return
        self._accepted()
        self._post(ItemsReady([spooled.item]))

    def _finish_one(self, path: Path) -> None:
        if path in self._defective:
            return
        try:
            items = self._finish(path)
        except NotFound:
            return
        except Unavailable as error:
            self._refused(error)
            return
        except Exception:
            # The next start tries it again; the others must not wait for that.
            logger.exception("Making a clip of journal %s failed", path.name)
            self._defective.add(path)
            return
        self._accepted()
        if items:
            self._post(ItemsReady(items))

    def _accepted(self) -> None:
        if self._disk_refuses:
            self._disk_refuses = False
            logger.warning("The disk takes clips and pictures again")

    def _refused(self, error: Unavailable) -> None:
        if not self._disk_refuses:
            logger.error("%s; trying again every %.0f s", error, _RETRY_S)
        self._disk_refuses = True
