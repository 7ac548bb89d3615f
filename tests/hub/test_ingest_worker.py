"""The thread that takes in what cameras say: in order, again where it could not be kept, and never stuck."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.hub import ingest_worker
from pinthesky.hub.ingest_worker import Chore, Errand, IngestWorker


def no_crash(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name} has crashed") from error


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[IngestWorker]:
    monkeypatch.setattr(ingest_worker, "RETRY_FIRST_S", 0.01)
    made = IngestWorker([], no_crash)
    made.start()
    yield made
    made.stop()
    assert made.join(5)


def test_errands_are_done_in_their_order_and_each_is_told_when_it_is(worker):
    done: list[str] = []
    all_done = threading.Event()
    for number in range(50):
        worker.put(Errand("one", partial(done.append, f"run {number}"), partial(done.append, f"done {number}")))
    worker.put(Errand("last", all_done.set))
    assert all_done.wait(10)
    assert done == [f"{what} {number}" for number in range(50) for what in ("run", "done")]


def test_what_cannot_be_kept_now_is_tried_again_before_anything_else(worker, caplog):
    tries: list[int] = []
    order: list[str] = []
    all_done = threading.Event()

    def first() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise Unavailable("disk full")
        order.append("first")

    worker.put(Errand("first", first))
    worker.put(Errand("second", lambda: order.append("second"), all_done.set))
    assert all_done.wait(10)
    assert order == ["first", "second"]
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_one_that_breaks_is_given_up_and_the_others_go_on(worker, caplog):
    finished, all_done = threading.Event(), threading.Event()

    def broken() -> None:
        raise InvariantBroken("a row cannot be read")

    worker.put(Errand("an event of garden", broken, finished.set))
    worker.put(Errand("another", all_done.set))
    assert all_done.wait(10)
    assert finished.is_set()
    assert worker.given_up == 1
    assert "an event of garden is given up" in caplog.text


def test_too_many_are_given_up_and_that_is_said(monkeypatch, caplog):
    monkeypatch.setattr(ingest_worker, "WAITING_MAX", 2)
    worker = IngestWorker([], no_crash)  # never started
    finished: list[int] = []
    for number in range(3):
        worker.put(Errand("news", lambda: None, partial(finished.append, number)))
    assert (len(worker), finished, worker.given_up) == (2, [2], 1)
    assert "news is given up" in caplog.text


def test_chores_are_done_when_they_are_due_and_one_that_fails_is_tried_again(caplog):
    clock, done = [0.0], []

    def failing() -> None:
        done.append("failing")
        raise Unavailable("locked")

    chores = [
        Chore("look", lambda: done.append("look"), every_s=10.0),
        Chore("fail", failing, every_s=20.0, first_s=5.0),
    ]
    worker = IngestWorker(chores, no_crash, monotonic_s=lambda: clock[0])
    worker.put(Errand("nothing", lambda: None))
    for now_s in (0.0, 4.0, 5.0, 9.0, 10.0, 25.0):
        clock[0] = now_s
        worker.put(Errand("nothing", lambda: None))
        worker.step()
    assert done == ["look", "failing", "look", "look", "failing"]
    assert "To fail did not work" in caplog.text
