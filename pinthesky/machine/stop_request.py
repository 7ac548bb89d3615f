"""The one word that ends the process, said by a signal or by any thread."""

from __future__ import annotations

import contextlib
import os
import select
from typing import Optional


class StopRequest:
    """A pipe and no Event.

    The kernel may hand a signal to any thread, and nothing then wakes a main thread that waits on a lock;
    `signal.set_wakeup_fd(writer)` does. And a handler may run while the main thread holds an Event's lock.
    """

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)

    def set(self) -> None:
        """Ask. From any thread and from a signal's handler, any number of times; after `close` it says nothing."""
        with contextlib.suppress(OSError):
            os.write(self.writer, b"\0")

    def is_set(self) -> bool:
        """Whether it was asked for."""
        return self.wait(0.0)

    def wait(self, timeout_s: Optional[float] = None) -> bool:
        """Wait until it is asked for. Nothing is read from the pipe, so what was asked stays asked."""
        return bool(select.select([self._reader], [], [], timeout_s)[0])

    def close(self) -> None:
        """Give the pipe back. Call it once, when nobody waits any more."""
        writer, self.writer = self.writer, -1
        os.close(writer)
        os.close(self._reader)
