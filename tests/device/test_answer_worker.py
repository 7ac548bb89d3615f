"""Answers to consoles' connections: where they may go, and that nothing waits for them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any, Optional

import pytest

from pinthesky.device import answer_worker
from pinthesky.device.answer_worker import AnswerWorker
from pinthesky.device.fakes import FakeConnectionPoster
from pinthesky.errors import PinTheSkyError, Unavailable
from tests.support.upload_world import wait_until

ALLOWED = "https://data.example/prod"


class Stage:
    def __init__(self) -> None:
        self.poster = FakeConnectionPoster("alive")
        self.makings: list[Optional[Exception]] = []
        """What making the adapter fails with, at each coming attempt."""
        self.gate = threading.Event()
        self.gate.set()
        self.under_way = threading.Event()
        self.worker = AnswerWorker(self.make, self.route)

    def make(self) -> Any:
        failure = self.makings.pop(0) if self.makings else None
        if failure is not None:
            raise failure
        return self

    def post(self, **request: Any) -> None:
        self.under_way.set()
        self.gate.wait(10)
        self.poster.post(**request)

    @staticmethod
    def route(asked: Optional[str]) -> Optional[tuple[str, str]]:
        return None if asked not in (None, ALLOWED) else (ALLOWED, "eu-west-1")

    def answer(self, number: int = 1, *, connection: str = "alive", endpoint: Optional[str] = None) -> None:
        self.worker.answer({"id": connection, "management_endpoint": endpoint}, {"name": "health_end", "n": number})

    @property
    def numbers(self) -> list[int]:
        return [json.loads(payload)["invoke"]["n"] for _, _, payload in self.poster.posts]


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.gate.set()
    assert made.worker.stop(10)


def test_an_answer_is_the_event_wrapped_as_an_invocation(stage: Stage):
    stage.answer(endpoint=ALLOWED)
    wait_until(lambda: stage.numbers == [1])
    endpoint, connection, payload = stage.poster.posts[0]
    assert (endpoint, connection) == (ALLOWED, "alive")
    assert json.loads(payload) == {"invoke": {"name": "health_end", "n": 1}}


def test_answers_go_out_in_order(stage: Stage):
    for number in range(20):
        stage.answer(number)
    wait_until(lambda: len(stage.numbers) == 20)
    assert stage.numbers == list(range(20))


def test_an_endpoint_that_was_not_allowed_gets_nothing(stage: Stage, caplog: pytest.LogCaptureFixture):
    stage.answer(endpoint="https://thief.example/x")
    assert stage.worker._thread is None
    assert "not an allowed destination" in caplog.text


def test_a_connection_without_id_gets_nothing(stage: Stage):
    stage.worker.answer({"id": None}, {"name": "health_end"})
    assert stage.worker._thread is None


def test_a_connection_that_is_gone_is_no_failure(stage: Stage, caplog: pytest.LogCaptureFixture):
    stage.answer(1, connection="gone")
    stage.answer(2)
    wait_until(lambda: stage.numbers == [2])
    assert caplog.records == []


@pytest.mark.parametrize("failure", [Unavailable("no network"), PinTheSkyError("whatever of ours")])
def test_a_network_that_is_away_is_told_once_and_once_when_it_is_back(
    stage: Stage, failure: PinTheSkyError, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    stage.poster.fail_next(failure, failure, failure)
    for number in range(5):
        stage.answer(number)
    wait_until(lambda: stage.numbers == [3, 4])
    assert caplog.text.count(str(failure)) == 1
    wait_until(lambda: caplog.text.count("sent again") == 1)


def test_an_adapter_that_cannot_be_made_yet_is_made_for_a_later_answer(stage: Stage):
    stage.makings = [Unavailable("no credentials"), None]
    stage.answer(1)
    stage.answer(2)
    wait_until(lambda: bool(stage.numbers))
    assert stage.numbers == [2]


def test_a_defect_in_one_answer_does_not_end_the_others(stage: Stage, caplog: pytest.LogCaptureFixture):
    stage.makings = [KeyError("defect")]
    stage.answer(1)
    stage.answer(2)
    wait_until(lambda: stage.numbers == [2])
    assert caplog.records[0].exc_info is not None


def test_answers_beyond_the_bound_are_dropped_and_nobody_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(answer_worker, "WAITING_MAX", 3)
    stage = Stage()
    stage.gate.clear()
    stage.answer(0)
    assert stage.under_way.wait(10)
    for number in range(1, 10):
        stage.answer(number)
    assert "this one is dropped" in caplog.text
    assert not stage.worker.stop(0.01)
    stage.gate.set()
    assert stage.worker.stop(10)
    assert stage.numbers == [0]


def test_a_stop_ends_after_the_answer_that_is_under_way(stage: Stage):
    stage.gate.clear()
    stage.answer(1)
    stage.answer(2)
    assert stage.under_way.wait(10)
    assert not stage.worker.stop(0.01)
    stage.gate.set()
    assert stage.worker.stop(10)
    assert stage.numbers == [1]


def test_one_that_never_answered_stops_at_once(stage: Stage):
    assert stage.worker.stop(0)
