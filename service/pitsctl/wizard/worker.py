"""The thread in which the installer works, so that the screen never waits for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Does one thing after another, in the order it was asked.

    The thread is a daemon: a program that a person leaves at once does not wait for a machine that does not answer.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="wizard-worker", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have `call` done; its result, or whatever it raises, is in the future."""
        future: Future[T] = Future()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                _carry(call, future)

        self._jobs.put(job)
        return future

    def stop(self, timeout_s: float) -> bool:
        """Let what is being done end, for so long; whether it has."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _carry(call: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - whoever waits for the call gets its error
        future.set_exception(error)
