"""The thread in which the planes take in what cameras say, and do what is due from time to time."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pinthesky.errors import Unavailable
from pinthesky.machine.permanent_thread import Crash, PermanentThread

logger = logging.getLogger(__name__)

WAITING_MAX = 4096
"""Errands that wait: more than the broker lets be under way, so only our own news can be too much."""
RETRY_FIRST_S, RETRY_LAST_S = 0.5, 15.0
WAIT_S = 1.0


def _nothing() -> None:
    return


@dataclass(frozen=True)
class Errand:
    """Something to take in. `done` is called when it is taken in, or will never be."""

    what: str
    run: Callable[[], object]
    done: Callable[[], None] = _nothing


@dataclass
class Chore:
    """Something to do every so often. `first_s` after the start for the first time."""

    what: str
    run: Callable[[], object]
    every_s: float
    first_s: float = 0.0


class IngestWorker(PermanentThread):
    """Errands in their order, one at a time; chores when they are due."""

    def __init__(
        self,
        chores: Sequence[Chore],
        on_crash: Crash,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("ingest", on_crash)
        self._monotonic_s = monotonic_s
        begin_s = monotonic_s()
        self._chores = [(chore, begin_s + chore.first_s) for chore in chores]
        self._waiting: deque[Errand] = deque()
        self._news = threading.Condition()
        self._retry_s = 0.0
        self.given_up = 0
        """Errands that were not taken in."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, errand: Errand) -> None:
        """Let an errand wait. Does not block; where too many wait it is given up, and that is said."""
        with self._news:
            if len(self._waiting) < WAITING_MAX:
                self._waiting.append(errand)
                self._news.notify()
                return
        self.given_up += 1
        logger.error("More than %d messages wait to be taken in; %s is given up", WAITING_MAX, errand.what)
        errand.done()

    def wake(self) -> None:
        """See PermanentThread."""
        with self._news:
            self._news.notify()

    def step(self) -> None:
        """See PermanentThread. One errand, or what is due."""
        self._do_chores()
        with self._news:
            if not self._waiting or self._retry_s:
                self._news.wait(self._retry_s or WAIT_S)
            if self.stopping or not self._waiting:
                return
            errand = self._waiting[0]
        try:
            errand.run()
        except Unavailable as error:
            if not self._retry_s:
                logger.warning("What cameras say waits to be taken in: %s", error)
            self._retry_s = min(RETRY_LAST_S, max(RETRY_FIRST_S, 2 * self._retry_s))
            return
        except Exception:
            self.given_up += 1
            logger.exception("%s is given up", errand.what)
        if self._retry_s:
            logger.info("What cameras say is taken in again")
        self._retry_s = 0.0
        with self._news:
            self._waiting.popleft()
        errand.done()

    def _do_chores(self) -> None:
        now_s = self._monotonic_s()
        for number, (chore, due_s) in enumerate(self._chores):
            if now_s < due_s or self.stopping:
                continue
            self._chores[number] = (chore, now_s + chore.every_s)
            try:
                chore.run()
            except Exception:
                logger.exception("To %s did not work; it is tried again in %.0f s", chore.what, chore.every_s)
