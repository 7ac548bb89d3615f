"""Calls that may hang hold nobody up for longer than wanted."""

from __future__ import annotations

import threading
import time

import pytest

from pinthesky.device.cameras.bounded_calls import BoundedCalls
from pinthesky.errors import Unavailable


@pytest.fixture
def calls():
    made = BoundedCalls("camera-calls", look_after=lambda: None, every_s=0.01)
    yield made
    assert made.end(lambda: None, 5)


def test_a_call_gives_what_the_work_gives(calls: BoundedCalls):
    assert calls.call(lambda: 7, 5) == 7


def test_all_work_is_done_in_one_thread_in_order(calls: BoundedCalls):
    threads = {calls.call(threading.get_ident, 5) for _ in range(5)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_what_the_work_raises_is_raised_to_who_asked(calls: BoundedCalls):
    with pytest.raises(ZeroDivisionError):
        calls.call(lambda: 1 // 0, 5)
    assert calls.call(lambda: 1, 5) == 1


def test_a_time_out_that_the_work_itself_raises_is_not_taken_for_ours(calls: BoundedCalls):
    def work() -> None:
        raise TimeoutError("of the library")

    with pytest.raises(TimeoutError, match="of the library"):
        calls.call(work, 5)


def test_work_that_hangs_is_waited_for_no_longer_than_asked_and_holds_up_what_comes_after():
    calls, released = BoundedCalls("camera-calls", look_after=lambda: None, every_s=0.01), threading.Event()
    done: list[int] = []
    began_s = time.monotonic()
    with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s"):
        calls.call(lambda: released.wait(30), 0.05)
    with pytest.raises(Unavailable):
        calls.call(lambda: done.append(1), 0.05)
    assert not calls.end(lambda: done.append(2), 0.05)
    assert time.monotonic() - began_s < 5
    released.set()
    assert calls.end(lambda: done.append(3), 5)
    assert done == [2], "what was given up is not done, and the end only once"


def test_the_end_raises_what_the_last_work_raises():
    calls = BoundedCalls("camera-calls", look_after=lambda: None, every_s=0.01)

    def last() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        calls.end(last, 5)


def test_between_the_calls_it_looks_after_what_runs():
    looked = threading.Event()
    calls = BoundedCalls("camera-calls", look_after=looked.set, every_s=0.01)
    assert looked.wait(5)
    assert calls.end(lambda: None, 5)
