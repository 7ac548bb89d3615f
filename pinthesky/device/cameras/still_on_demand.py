"""A copy of the next picture for whoever waits for one; nothing is copied while nobody does."""

from __future__ import annotations

import threading
from typing import Callable, Generic, Optional, TypeVar

from pinthesky.errors import Unavailable

Picture = TypeVar("Picture")


class StillOnDemand(Generic[Picture]):
    """Stands between the thread that has the pictures, which it never holds up, and the one that wants a still."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wanted = False
        self._given: list[Picture] = []
        self._ended: Optional[str] = None

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return self._wanted

    def offer(self, copy: Callable[[], Picture]) -> None:
        """A picture is there. `copy` is called, in this thread, when somebody waits for one."""
        if not self._wanted:
            return
        picture = copy()
        with self._changed:
            self._given = [picture]
            self._wanted = False
            self._changed.notify_all()

    def end(self, reason: str) -> None:
        """No more pictures will come: who waits hears the reason."""
        with self._changed:
            self._ended = self._ended or reason
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Picture:
        """The next picture. Raises Unavailable when none comes within `timeout_s`. For one caller at a time."""
        with self._changed:
            self._given.clear()
            self._wanted = True
            self._changed.wait_for(lambda: self._ended is not None or self._given, max(0.0, timeout_s))
            self._wanted = False
            if self._ended is not None:
                raise Unavailable(self._ended)
            if not self._given:
                raise Unavailable("the camera gives no pictures at the moment")
            return self._given.pop()
