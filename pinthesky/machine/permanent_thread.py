"""Threads that live as long as the process: each beats, can be woken to stop, and ends the process when it fails."""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable

from pinthesky.errors import PinTheSkyError

logger = logging.getLogger(__name__)

Crash = Callable[[str, BaseException], None]


class PermanentThread:
    """A non-daemon thread that calls `step` until it is stopped.

    An exception out of `step` is handed to `on_crash(thread's name, exception)` and the thread ends: the process is
    expected to end non-zero and to be started again. `last_beat` is the monotonic time at which the last step began.
    """

    def __init__(self, name: str, on_crash: Crash) -> None:
        self.name = name
        self.last_beat = time.monotonic()
        self._on_crash = on_crash
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=False)

    def start(self) -> None:
        """Begin to step."""
        self.last_beat = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end after its current step, and wake it."""
        self._stopping.set()
        if self._thread.ident is None:
            self.left()
        self.wake()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end. False when the thread still runs; one that was never started has ended."""
        if self._thread.ident is None:
            return True
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether the end was asked for."""
        return self._stopping.is_set()

    def wake(self) -> None:
        """Make a step that waits return at once."""
        raise NotImplementedError

    def step(self) -> None:
        """One turn: wait a bounded time for work, and do it."""
        raise NotImplementedError

    def finish(self) -> None:
        """Orderly end, in this thread, after the last step of a thread that was asked to stop."""

    def left(self) -> None:
        """Nothing will be served any more, whether the end was orderly or not: let nobody wait for it."""

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.last_beat = time.monotonic()
                self.step()
            self.finish()
        except BaseException as error:
            foreseen = isinstance(error, PinTheSkyError)
            logger.critical("Thread %s ends: %s", self.name, error, exc_info=None if foreseen else error)
            self._on_crash(self.name, error)
        finally:
            self.left()
