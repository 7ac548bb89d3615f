"""The event queue: order, timers, failures, bounds, the end."""

from __future__ import annotations

import threading
import time
from typing import Optional

import pytest

from pinthesky.device import event_thread
from pinthesky.device.event_thread import EventThread
from pinthesky.device.fakes import FakeClock
from pinthesky.errors import Unavailable


class Said:
    def __init__(self, word: str) -> None:
        self.word = word


class Done:
    pass


class Stage:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.crashes: list[BaseException] = []
        self.heard: list[str] = []
        self.thread = EventThread(lambda _, error: self.crashes.append(error), monotonic=self.clock.monotonic)

    def step(self) -> None:
        self.thread.wake()
        self.thread.step()

    def serve_all(self) -> None:
        while self.thread.backlog:
            self.thread.step()

    def after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.step()


def test_events_are_served_in_the_order_they_were_posted():
    stage = Stage()
    stage.thread.subscribe(Said, lambda event: stage.heard.append(event.word))
    for word in ("one", "two", "three"):
        stage.thread.post(Said(word))
    assert stage.thread.backlog == 3
    stage.serve_all()
    assert stage.heard == ["one", "two", "three"]


def test_every_subscriber_of_a_class_hears_its_events_and_no_others():
    stage = Stage()
    stage.thread.subscribe(Said, lambda event: stage.heard.append("first " + event.word))
    stage.thread.subscribe(Said, lambda event: stage.heard.append("second " + event.word))
    stage.thread.subscribe(Done, lambda _: stage.heard.append("done"))
    stage.thread.post(Said("a"))
    stage.thread.post(object())
    stage.thread.post(Done())
    stage.serve_all()
    assert stage.heard == ["first a", "second a", "done"]


def test_a_timer_runs_when_it_is_due_and_not_before():
    stage = Stage()
    due: list[Optional[float]] = [None]
    stage.thread.add_timer(lambda: due[0], lambda: stage.heard.append("ran"))
    stage.step()
    due[0] = 0.4
    stage.step()
    assert stage.heard == []
    due[0] = -0.1
    stage.step()
    assert stage.heard == ["ran"]


def test_a_step_waits_no_longer_than_until_the_next_timer():
    stage = Stage()
    stage.thread.add_timer(lambda: 0.0 if stage.heard else 0.01, lambda: stage.heard.append("ran"))
    began = time.monotonic()
    stage.thread.step()
    assert time.monotonic() - began < 0.5


def test_periodic_work_runs_every_so_often():
    stage = Stage()
    stage.thread.add_periodic(10, lambda: stage.heard.append("tick"))
    for _ in range(35):
        stage.after(1)
    assert stage.heard == ["tick"] * 3


def test_timers_run_while_events_keep_coming():
    stage = Stage()
    stage.thread.subscribe(Said, lambda _: stage.thread.post(Said("again")))
    stage.thread.add_periodic(1, lambda: stage.heard.append("tick"))
    stage.thread.post(Said("first"))
    for _ in range(10):
        stage.clock.advance(1)
        stage.thread.step()
    assert stage.heard == ["tick"] * 10


@pytest.mark.parametrize("error", [Unavailable("no network"), OSError(28, "no space")])
def test_a_foreseen_failure_of_a_handler_is_logged_and_the_others_are_served(
    error: Exception, caplog: pytest.LogCaptureFixture
):
    stage = Stage()

    def fail(_: Said) -> None:
        raise error

    stage.thread.subscribe(Said, fail)
    stage.thread.subscribe(Said, lambda event: stage.heard.append(event.word))
    stage.thread.post(Said("a"))
    stage.thread.post(Said("b"))
    stage.serve_all()
    assert stage.heard == ["a", "b"]
    assert str(error) in caplog.text


def test_a_defect_in_a_handler_ends_the_process():
    stage = Stage()

    def fail(_: Said) -> None:
        raise KeyError("defect")

    stage.thread.subscribe(Said, fail)
    stage.thread.post(Said("a"))
    stage.thread.start()
    assert stage.thread.join(10)
    assert [type(error) for error in stage.crashes] == [KeyError]


def test_a_timer_that_fails_rests_and_is_logged_once_until_it_works_again(caplog: pytest.LogCaptureFixture):
    stage = Stage()
    works: list[bool] = []

    def run() -> None:
        stage.heard.append("tried")
        if not works:
            raise Unavailable("disk is full")

    stage.thread.add_timer(lambda: 0.0, run)
    for _ in range(50):
        stage.step()
    assert stage.heard == ["tried"]
    for _ in range(3):
        stage.after(1.0)
    assert stage.heard == ["tried"] * 4
    assert caplog.text.count("disk is full") == 1
    works.append(True)
    stage.after(1.0)
    works.clear()
    stage.after(1.0)
    assert caplog.text.count("disk is full") == 2


def test_beyond_the_bound_events_are_refused_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(event_thread, "QUEUE_MAX", 10)
    stage = Stage()
    stage.thread.subscribe(Said, lambda event: stage.heard.append(event.word))
    for number in range(15):
        stage.thread.post(Said(str(number)))
    assert stage.thread.backlog == 10
    stage.serve_all()
    assert stage.heard == [str(number) for number in range(10)]
    stage.thread.post(Said("later"))
    stage.serve_all()
    assert stage.heard[-1] == "later"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "5 were refused" in caplog.text


def test_the_end_serves_what_was_posted_before_it_and_what_that_posts():
    stage = Stage()
    held = threading.Event()

    def post_another(_: Done) -> None:
        held.wait(10)
        stage.thread.post(Said("last"))

    stage.thread.subscribe(Done, post_another)
    stage.thread.subscribe(Said, lambda event: stage.heard.append(event.word))
    stage.thread.post(Done())
    stage.thread.start()
    stage.thread.post(Said("waiting"))
    stage.thread.stop()
    held.set()
    assert stage.thread.join(10)
    assert stage.heard == ["waiting", "last"]
    assert stage.crashes == []
