"""The last decoded picture, for those who want a still of now."""

from __future__ import annotations

import threading
from typing import Callable, Generic, Optional, TypeVar

from pinthesky.errors import Unavailable

Picture = TypeVar("Picture")

_FRESH_S = 1.0
"""A picture older than this is not one of now."""


class StillSource(Generic[Picture]):
    """Passes the last picture from the thread that decodes to the one that wants a still. Costs 1 µs a picture."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._picture: Optional[Picture] = None
        self._taken_s = 0.0
        self._ended: Optional[str] = None

    def put(self, picture: Picture) -> None:
        """Take over the picture of now. It must not be changed any more."""
        with self._changed:
            self._picture, self._taken_s = picture, self._monotonic()
            self._changed.notify_all()

    def end(self, reason: str) -> None:
        """No more pictures will come: who waits hears the reason."""
        with self._changed:
            self._picture, self._ended = None, self._ended or reason
            self._changed.notify_all()

    def latest(self, timeout_s: float) -> Picture:
        """A picture at most one second old. Raises Unavailable when there is none within `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended is not None or self._is_fresh(), max(0.0, timeout_s))
            if self._ended is not None:
                raise Unavailable(self._ended)
            if self._picture is None or not self._is_fresh():
                raise Unavailable("the camera gives no pictures at the moment")
            return self._picture

    def _is_fresh(self) -> bool:
        return self._picture is not None and self._monotonic() - self._taken_s <= _FRESH_S
