"""Calls into a library that may hang: one thread makes them, and nobody waits longer than wanted."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Any, Callable, Optional, TypeVar

from pinthesky.errors import Unavailable

Result = TypeVar("Result")


class BoundedCalls:
    """Makes the calls in order, in a thread of its own; between them it looks after what runs.

    The thread is daemonic: a call that never returns must not keep the process from ending.
    """

    def __init__(self, name: str, *, look_after: Callable[[], None], every_s: float) -> None:
        """`look_after` is called every `every_s` seconds while there is nothing else to do; it must not raise."""
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._look_after = look_after
        self._every_s = every_s
        self._last: Optional[Future[None]] = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], Result], timeout_s: float) -> Result:
        """What `work` returns or raises. Raises Unavailable when it is not done in time.

        Work that had not begun by then is dropped; one that hangs holds up all that come after it.
        """
        future: Future[Result] = Future()
        self._jobs.put((work, future))
        try:
            return future.result(max(0.0, timeout_s))
        except NotInTime as error:
            if future.done() and not future.cancelled():
                return future.result()
            future.cancel()
            raise Unavailable(f"the camera stack did not answer within {timeout_s:g} s") from error

    def end(self, last: Callable[[], None], timeout_s: float) -> bool:
        """Make the call `last` and end the thread. False when it has not ended in time; may be asked again.

        Raises what `last` raises.
        """
        if self._last is None:
            self._last = Future()
            self._jobs.put((last, self._last))
        self._thread.join(max(0.0, timeout_s))
        if self._thread.is_alive():
            return False
        self._last.result(0)
        return True

    def _run(self) -> None:
        while True:
            try:
                work, future = self._jobs.get(timeout=self._every_s)
            except queue.Empty:
                self._look_after()
                continue
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001 - whoever waits for the call gets it
                    future.set_exception(error)
            if future is self._last:
                return
