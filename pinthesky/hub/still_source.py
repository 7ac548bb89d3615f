"""Pictures of watched cameras from their stills: each camera is asked for the next one when the last has come.

All who watch a camera share what it is asked for. A camera that is away is asked nothing: what would wait for it is of
no use to anybody by then.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.hub.picture_streams import Picture
from pinthesky.model.identifiers import FileName, KeyPrefix, MediaKey, ThingName
from pinthesky.model.recording import LATEST_STILL
from pinthesky.planes.ports import Commands, Media

logger = logging.getLogger(__name__)

EVERY_S = 2.0
"""Between two questions, at least."""
PATIENCE_S = 10.0
"""A camera that has not answered for so long is asked again."""
PICTURE_MAX = 8 * 1024 * 1024


@dataclass
class _Watched:
    asked_s: float = float("-inf")
    is_awaited: bool = False


class StillSource:
    """A `PictureSource`. `want` belongs to one thread, `stored` to another."""

    def __init__(
        self,
        *,
        commands: Commands,
        media: Media,
        prefix: KeyPrefix,
        is_connected: Callable[[ThingName], bool],
        show: Callable[[ThingName, Picture], None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`prefix` is that of the stills; `is_connected` tells whether a camera would hear a question."""
        self._commands = commands
        self._media = media
        self._prefix = prefix
        self._is_connected = is_connected
        self._show = show
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._watched: dict[ThingName, _Watched] = {}

    def want(self, things: Collection[ThingName]) -> None:
        """See `hub.picture_streams.PictureSource`."""
        with self._lock:
            new = [thing for thing in things if thing not in self._watched]
            self._watched = {thing: self._watched.get(thing, _Watched()) for thing in things}
        for thing in new:
            self._show_stored(thing)
        for thing in things:
            self._ask(thing)

    def stored(self, key: str) -> None:
        """Something was stored: a still of a watched camera is shown."""
        with self._lock:
            found = [thing for thing in self._watched if self._key(thing) == key]
            for thing in found:
                self._watched[thing].is_awaited = False
        for thing in found:
            self._show_stored(thing)

    def _ask(self, thing: ThingName) -> None:
        now_s = self._monotonic_s()
        with self._lock:
            state = self._watched[thing]
            due_s = state.asked_s + (PATIENCE_S if state.is_awaited else EVERY_S)
        try:
            if now_s < due_s or not self._is_connected(thing):
                return
            with self._lock:
                # Before it is sent: the answer may be quicker.
                state.asked_s, state.is_awaited = now_s, True
            context = {"capture_id": secrets.token_hex(16), "file_name": LATEST_STILL}
            self._commands.send(thing, {"name": "capture_image", "context": context})
        except Unavailable as error:
            logger.info("%s is not asked for a picture: %s", thing, error)

    def _show_stored(self, thing: ThingName) -> None:
        key = self._key(thing)
        try:
            described = self._media.describe(key)
            if described is not None:
                self._show(thing, Picture(self._media.read(key, limit=PICTURE_MAX), described.stored_at_s))
        except (NotFound, InvalidInput, Unavailable) as error:
            logger.info("A picture of %s is not shown: %s", thing, error)

    def _key(self, thing: ThingName) -> MediaKey:
        return MediaKey.of(self._prefix, thing, FileName(LATEST_STILL))
