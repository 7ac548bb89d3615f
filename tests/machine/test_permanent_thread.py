"""Threads that beat, can be woken, and end the process when they fail."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Callable, Optional

import pytest

from pinthesky.errors import Unavailable
from pinthesky.machine.permanent_thread import PermanentThread


class Worker(PermanentThread):
    """Runs what it is given, one piece at a step, and then waits to be woken."""

    def __init__(self, *works: Callable[[], object]) -> None:
        self.crashes: list[tuple[str, BaseException]] = []
        super().__init__("worker", lambda name, error: self.crashes.append((name, error)))
        self.works = list(works)
        self.ends: list[str] = []
        self.woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wake(self) -> None:
        self.woken.put(None)

    def step(self) -> None:
        if self.works:
            self.works.pop(0)()
        else:
            self.woken.get(timeout=10)

    def finish(self) -> None:
        self.ends.append("finish")

    def left(self) -> None:
        self.ends.append("left")


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def test_it_steps_until_it_is_stopped_and_ends_in_order():
    done = threading.Event()
    worker = Worker(lambda: None, done.set)
    worker.start()
    assert done.wait(10)
    worker.stop()
    assert worker.join(10)
    assert worker.stopping
    assert worker.ends == ["finish", "left"]
    assert worker.crashes == []


def test_each_step_is_a_beat():
    beats: list[float] = []
    done = threading.Event()
    worker = Worker(lambda: beats.append(worker.last_beat), lambda: beats.append(worker.last_beat), done.set)
    before = worker.last_beat
    worker.start()
    assert done.wait(10)
    worker.stop()
    worker.join(10)
    assert before <= beats[0] <= beats[1]


def test_a_stop_wakes_a_step_that_waits():
    waiting = threading.Event()
    worker = Worker(waiting.set)
    worker.start()
    assert waiting.wait(10)
    worker.stop()
    assert worker.join(5)


@pytest.mark.parametrize("error", [RuntimeError("a defect"), SystemExit(3), Unavailable("gone")], ids=repr)
def test_whatever_comes_out_of_a_step_ends_the_process(error: BaseException):
    worker = Worker(raising(error))
    worker.start()
    assert worker.join(10)
    assert worker.crashes == [("worker", error)]
    assert worker.ends == ["left"]


def test_a_failure_in_the_orderly_end_ends_the_process():
    worker = Worker()
    error = RuntimeError("cannot finish")
    worker.finish = raising(error)  # type: ignore[method-assign]  # stands for an override
    worker.start()
    worker.stop()
    assert worker.join(10)
    assert worker.crashes == [("worker", error)]


@pytest.mark.parametrize("error, has_traceback", [(RuntimeError("a defect"), True), (Unavailable("gone"), False)])
def test_only_a_defect_is_logged_with_its_traceback(
    error: Exception, has_traceback: bool, caplog: pytest.LogCaptureFixture
):
    worker = Worker(raising(error))
    worker.start()
    worker.join(10)
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert (record.exc_info is not None) == has_traceback
    assert str(error) in record.getMessage()


def test_one_that_was_never_started_has_ended_and_leaves_nobody_waiting():
    worker = Worker()
    worker.stop()
    assert worker.join(0)
    assert worker.ends == ["left"]


def test_a_join_that_takes_too_long_says_so():
    release = threading.Event()
    began = threading.Event()

    def hang() -> Optional[bool]:
        began.set()
        return release.wait(10)

    worker = Worker(hang)
    worker.start()
    assert began.wait(10)
    worker.stop()
    assert not worker.join(0.01)
    release.set()
    assert worker.join(10)


def test_what_a_thread_does_is_for_its_class_to_say():
    thread = PermanentThread("bare", lambda *_: None)
    with pytest.raises(NotImplementedError):
        thread.step()
    with pytest.raises(NotImplementedError):
        thread.wake()
    thread.finish()
    thread.left()
