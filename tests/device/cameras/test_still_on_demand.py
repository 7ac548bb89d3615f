"""A copy of the next picture, for who waits for one."""

from __future__ import annotations

import threading
import time

import pytest

from pinthesky.device.cameras.still_on_demand import StillOnDemand
from pinthesky.errors import Unavailable


class Source(threading.Thread):
    """Offers numbers until it is told to stop, and keeps those that were copied."""

    def __init__(self, stills: StillOnDemand[int]) -> None:
        super().__init__()
        self.stopped = threading.Event()
        self.copied: list[int] = []
        self._stills = stills
        self._number = 0

    def run(self) -> None:
        while not self.stopped.wait(0.001):
            self._number += 1
            self._stills.offer(self._copy)

    def _copy(self) -> int:
        self.copied.append(self._number)
        return self._number


def test_each_caller_gets_a_later_picture_and_nothing_is_copied_for_nobody():
    stills: StillOnDemand[int] = StillOnDemand()
    source = Source(stills)
    source.start()
    taken = [stills.take(5.0) for _ in range(3)]
    source.stopped.set()
    source.join()
    assert taken == sorted(set(taken))
    assert source.copied == taken


def test_a_picture_that_came_too_late_is_not_one_of_now():
    stills: StillOnDemand[int] = StillOnDemand()
    with pytest.raises(Unavailable, match="no pictures at the moment"):
        stills.take(0.01)
    stills.offer(lambda: 1)
    with pytest.raises(Unavailable):
        stills.take(0.0)


def test_the_first_reason_of_the_end_is_told_at_once():
    stills: StillOnDemand[int] = StillOnDemand()
    stills.end("the cable was pulled")
    stills.end("the camera is closed")
    began_s = time.monotonic()
    with pytest.raises(Unavailable, match="cable"):
        stills.take(5.0)
    assert time.monotonic() - began_s < 1.0
