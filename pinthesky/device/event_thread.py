"""The event queue and its subscribers: what happened is posted from any thread and handled here, in order."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any, Callable, Optional, TypeVar

from pinthesky.errors import PinTheSkyError
from pinthesky.machine.permanent_thread import Crash, PermanentThread

logger = logging.getLogger(__name__)

Handler = Callable[[Any], None]
_T = TypeVar("_T")

QUEUE_MAX = 2000
"""Waiting events. What people send is refused beyond it; what the daemon itself posts is far below it."""
_LONGEST_WAIT_S = 1.0
_REST_S = 1.0


class _Timer:
    """Work that is due now and then. After a failure it rests a little, whatever `due_in` says."""

    def __init__(self, due_in: Callable[[], Optional[float]], run: Callable[[], object]) -> None:
        self._due_in = due_in
        self._run = run
        self._rests_until_s = 0.0
        self._failing = False

    def wait_s(self, now_s: float) -> Optional[float]:
        """Seconds until it is due, 0 or less for now, or None."""
        due_s = self._due_in()
        return None if due_s is None else max(due_s, self._rests_until_s - now_s)

    def run_if_due(self, now_s: float) -> None:
        wait_s = self.wait_s(now_s)
        if wait_s is None or wait_s > 0:
            return
        try:
            self._run()
        except (PinTheSkyError, OSError) as error:
            self._rests_until_s = now_s + _REST_S
            if not self._failing:
                logger.warning("%s; trying again", error)
            self._failing = True
        else:
            self._failing = False


class EventThread(PermanentThread):
    """Hands each posted event to the handlers of its class, and calls timers when they are due.

    Handlers are quick: nothing here waits for a network or a camera. A handler that fails with one of our own errors
    or an OSError is logged and the next event is served; any other failure is a defect and ends the process. A timer
    that fails so is logged when it begins to fail, and tried again.
    """

    def __init__(self, on_crash: Crash, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__("events", on_crash)
        self._monotonic = monotonic
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._handlers: dict[type[Any], list[Handler]] = {}
        self._timers: list[_Timer] = []
        self._refused = 0
        self._lock = threading.Lock()

    def subscribe(self, kind: type[_T], handler: Callable[[_T], None]) -> None:
        """Call `handler` for each event of class `kind`. Before the start only."""
        self._handlers.setdefault(kind, []).append(handler)

    def add_timer(self, due_in: Callable[[], Optional[float]], run: Callable[[], object]) -> None:
        """Call `run` whenever `due_in()` says 0 or less; None means not at all for now. Before the start only."""
        self._timers.append(_Timer(due_in, run))

    def add_periodic(self, every_s: float, run: Callable[[], object]) -> None:
        """Call `run` every so often. Before the start only."""
        due_at_s = self._monotonic() + every_s

        def due_in() -> float:
            return due_at_s - self._monotonic()

        def fire() -> None:
            nonlocal due_at_s
            due_at_s = self._monotonic() + every_s
            run()

        self.add_timer(due_in, fire)

    def post(self, event: object) -> None:
        """Queue an event. Beyond QUEUE_MAX that wait it is refused, which is logged once until there is room again."""
        if self._queue.qsize() >= QUEUE_MAX:
            with self._lock:
                self._refused += 1
                if self._refused == 1:
                    logger.error("More than %d events wait; further ones are refused", QUEUE_MAX)
            return
        self._queue.put(event)

    @property
    def backlog(self) -> int:
        """Events that wait."""
        return self._queue.qsize()

    def wake(self) -> None:
        """Make a waiting step return."""
        self._queue.put(None)

    def step(self) -> None:
        """Serve one event or the timers that are due."""
        try:
            event = self._queue.get(timeout=self._wait_s())
        except queue.Empty:
            event = None
        if event is not None:
            self._serve(event)
        for timer in self._timers:
            timer.run_if_due(self._monotonic())

    def finish(self) -> None:
        """Serve what was posted before the end."""
        while True:
            try:
                event = self._queue.get_nowait()
            except queue.Empty:
                return
            if event is not None:
                self._serve(event)

    def _wait_s(self) -> float:
        now_s = self._monotonic()
        waits_s = [wait_s for wait_s in (timer.wait_s(now_s) for timer in self._timers) if wait_s is not None]
        return max(0.0, min([_LONGEST_WAIT_S, *waits_s]))

    def _serve(self, event: object) -> None:
        with self._lock:
            if self._refused and self._queue.qsize() < QUEUE_MAX // 2:
                logger.warning("Events are accepted again; %d were refused", self._refused)
                self._refused = 0
        for handler in self._handlers.get(type(event), ()):
            try:
                handler(event)
            except (PinTheSkyError, OSError) as error:
                logger.warning("%s", error)
