"""Tells what was stored and what was removed, in order, until every listener has heard it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pinthesky.errors import PinTheSkyError
from pinthesky.hub.media_index import MediaIndex, News
from pinthesky.hub.media_record import MediaRecord

logger = logging.getLogger(__name__)

Listener = Callable[[MediaRecord], None]
"""Called in the announcer's thread. Raises a PinTheSkyError to be told again; a crash also tells again."""
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0


class MediaAnnouncer:
    """The thread between the media folder and those who want to know of it. News survives a crash."""

    def __init__(self, index: MediaIndex, *, retry_first_s: float = RETRY_FIRST_S) -> None:
        """Listeners are registered before the start."""
        self._index = index
        self._retry_first_s = retry_first_s
        self._stored: list[Listener] = []
        self._removed: list[Listener] = []
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="media-announcer")

    def on_stored(self, listener: Listener) -> None:
        """Have `listener` called for each object that was stored, after it is certain."""
        self._stored.append(listener)

    def on_removed(self, listener: Listener) -> None:
        """Have `listener` called for each object that was removed, by whom and for whatever reason."""
        self._removed.append(listener)

    def look(self) -> None:
        """There is news. Never waits."""
        self._wake.set()

    def start(self) -> None:
        """Begin, with what earlier lives have left untold."""
        self._wake.set()
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End. What is untold waits for the next start. False if a listener did not return in time."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        retry_s = self._retry_first_s
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self._tell_all()
                retry_s = self._retry_first_s
            except Exception as error:
                logger.error(
                    "News of the media folder waits: %s", error, exc_info=not isinstance(error, PinTheSkyError)
                )
                self._stopping.wait(retry_s)
                retry_s = min(2 * retry_s, RETRY_MAX_S)
                self._wake.set()

    def _tell_all(self) -> None:
        while news := self._index.news():
            for one in news:
                if self._stopping.is_set():
                    return
                self._tell(one)
                self._index.told(one.number)

    def _tell(self, news: News) -> None:
        for listener in self._stored if news.kind == "stored" else self._removed:
            listener(news.record)
