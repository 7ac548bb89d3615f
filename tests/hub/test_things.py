from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinthesky.errors import Unavailable
from pinthesky.hub import things as things_module
from pinthesky.hub.database import Database
from pinthesky.hub.jobs import Jobs
from pinthesky.hub.mqtt import Delivery
from pinthesky.hub.shadows import Shadows
from pinthesky.hub.thing_changes import ThingChanges
from pinthesky.hub.things import BATCH_MAX, WAITING_PER_THING_MAX, Things
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus
from tests.support.aws_servers import wait_until
from tests.support.hub_things import FakeTime


def full_disk():
    raise Unavailable("database or disk is full")


class Stage:
    """The worker on a real database, without a broker: what is published and finished is written down in order."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "hub.sqlite")
        self.clock = FakeTime()
        self.log: list[tuple[str, Any]] = []
        self.known = {ThingName("garden"), ThingName("yard")}
        self.broker_is_full = False
        self.crashes: list[BaseException] = []
        self.changes = ThingChanges(self.database, self.publish)
        self.shadows = Shadows(self.database, self.changes, clock=self.clock)
        self.jobs = Jobs(self.database, self.changes, clock=self.clock)
        self.things = Things(
            self.changes,
            shadows=self.shadows,
            jobs=self.jobs,
            is_active=self.known.__contains__,
            publish=self.publish,
            on_crash=lambda _name, error: self.crashes.append(error),
        )

    def publish(self, topic: str, payload: bytes) -> None:
        if self.broker_is_full:
            raise Unavailable("full")
        self.log.append((topic, json.loads(payload)))

    def receive(self, topic: str, payload: bytes | Any = b"", *, number: int = 0) -> None:
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.things.receive(Delivery(topic, raw, lambda: self.log.append(("done", number))))

    def turn(self) -> None:
        """One turn of the worker, in this thread."""
        self.things.step()

    def update(self, value: Any, *, thing: str = "garden", number: int = 0) -> None:
        document = {"state": {"reported": {"a": value}}, "clientToken": str(number)}
        self.receive(f"$aws/things/{thing}/shadow/name/pinthesky/update", document, number=number)

    def told(self, end: str) -> list[Any]:
        return [message for topic, message in self.log if topic.endswith(end)]

    @property
    def finished(self) -> list[int]:
        return [number for topic, number in self.log if topic == "done"]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.database.close()
    assert not stage.crashes


def test_what_many_things_say_is_one_transaction(stage: Stage):
    for number in range(10):
        stage.update(number, thing=["garden", "yard"][number % 2], number=number)
    before = stage.database.changes()
    stage.turn()
    assert stage.database.changes() == before + 1
    assert sorted(stage.finished) == list(range(10))


def test_a_message_is_done_with_after_its_answer_was_published(stage: Stage):
    stage.update(1)
    stage.turn()
    assert [topic.rpartition("/")[2] for topic, _ in stage.log] == ["accepted", "documents", "done"]


def test_what_a_thing_says_is_served_in_its_order(stage: Stage):
    for number in range(20):
        stage.update(number, number=number)
    stage.turn()
    assert [message["state"]["reported"]["a"] for message in stage.told("update/accepted")] == list(range(20))


def test_a_flood_of_one_thing_waits_behind_the_others(stage: Stage):
    for number in range(WAITING_PER_THING_MAX):
        stage.update(number, number=number)
    stage.update("me too", thing="yard", number=99)
    stage.turn()
    assert stage.finished.index(99) == 1


def test_a_thing_that_floods_is_told_once_and_loses_only_its_own(stage: Stage):
    for number in range(WAITING_PER_THING_MAX + 20):
        stage.update(number, number=number)
    stage.update("me too", thing="yard", number=99)
    (refusal,) = stage.told("update/rejected")
    assert (refusal["code"], refusal["clientToken"]) == (429, str(WAITING_PER_THING_MAX))
    stage.turn()
    assert sorted(stage.finished) == [*range(WAITING_PER_THING_MAX + 20), 99]
    assert stage.shadows.get(ThingName("yard"), "pinthesky")["state"] == {"reported": {"a": "me too"}}


def test_a_flood_on_jobs_is_throttled(stage: Stage):
    for number in range(WAITING_PER_THING_MAX + 1):
        stage.receive("$aws/things/garden/jobs/get", b"not read", number=number)
    assert [message["code"] for message in stage.told("rejected")] == ["RequestThrottled"]


def test_a_batch_is_bounded(stage: Stage):
    for thing in range(5):
        stage.known.add(ThingName(f"thing-{thing}"))
        for number in range(WAITING_PER_THING_MAX):
            stage.update(number, thing=f"thing-{thing}")
    stage.turn()
    assert len(stage.finished) == BATCH_MAX


def test_a_request_that_is_refused_takes_nothing_of_the_others_along(stage: Stage):
    stage.update(1, number=1)
    stage.receive("$aws/things/garden/shadow/name/pinthesky/update", b"{", number=2)
    stage.receive("$aws/things/garden/shadow/name/pinthesky/frobnicate", b"{}", number=3)
    stage.receive("$aws/things/garden/jobs/frobnicate", b"{}", number=4)
    stage.turn()
    assert [message["code"] for message in stage.told("rejected")] == [400, 400, "InvalidTopic"]
    assert stage.finished == [1, 2, 3, 4]
    assert stage.shadows.names(ThingName("garden")) == ["pinthesky"]


@pytest.mark.parametrize(
    "topic",
    [
        "$aws/things/stranger/shadow/name/pinthesky/update",
        "$aws/things/no name/shadow/name/pinthesky/update",
        "$aws/things/garden/jobs/notify",
        "$aws/things/garden/jobs/get/accepted",
        "$aws/things/garden/shadow/name/pinthesky/update/documents",
    ],
)
def test_what_is_no_request_of_a_thing_is_dropped_without_an_answer(stage: Stage, topic: str):
    stage.receive(topic, {"state": {}})
    stage.turn()
    assert stage.log == [("done", 0)]


def test_what_cannot_be_kept_is_rejected_and_said_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patch:
        patch.setattr(stage.database, "transaction", full_disk)
        for number in range(3):
            stage.update(number, number=number)
            stage.turn()
    stage.update(4, number=4)
    stage.turn()
    assert [message["code"] for message in stage.told("rejected")] == [500] * 3
    assert stage.finished == [0, 1, 2, 4]
    assert [record.message for record in caplog.records] == [
        "What things say is refused, since it cannot be kept: database or disk is full",
        "What things say is kept again",
    ]


def test_a_defect_met_by_one_message_costs_that_message_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    handle = stage.shadows.handle

    def stumble(change, thing, operation, payload):
        if b'"stumble"' in payload:
            raise KeyError("a defect")
        handle(change, thing, operation, payload=payload)

    monkeypatch.setattr(stage.shadows, "handle", stumble)
    for number, value in enumerate([1, "stumble", 3]):
        stage.update(value, number=number)
    stage.turn()
    assert [message["code"] for message in stage.told("rejected")] == [500]
    assert [message["state"]["reported"]["a"] for message in stage.told("accepted")] == [1, 3]
    assert stage.finished == [0, 1, 2]


def test_a_broker_that_takes_nothing_is_said_once_and_costs_answers_alone(
    stage: Stage, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    stage.broker_is_full = True
    for number in range(WAITING_PER_THING_MAX + 1):
        stage.update(number, number=number)
    stage.turn()
    stage.broker_is_full = False
    stage.update("last")
    stage.turn()
    assert stage.shadows.get(ThingName("garden"), "pinthesky")["version"] == WAITING_PER_THING_MAX + 1
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "What things should hear is given up until the broker takes messages again",
        "The broker takes messages again",
    ]


def test_the_worker_serves_what_comes_and_what_is_due(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(things_module, "TICK_S", 0.01)
    ticks = threading.Event()
    outcomes = iter([Unavailable("locked"), sqlite3.OperationalError("a defect")])

    def tick():
        error = next(outcomes, None)
        if error is not None:
            raise error
        ticks.set()

    monkeypatch.setattr(stage.jobs, "tick", tick)
    stage.things.start()
    stage.update(1)
    wait_until(lambda: stage.finished == [0])
    assert ticks.wait(5)
    stage.things.stop()
    assert stage.things.join(5)


def test_what_waits_at_the_end_is_left_to_the_broker(stage: Stage):
    stage.things.stop()
    stage.update(1)
    stage.turn()
    assert stage.log == []


def test_what_is_known_of_a_removed_thing_goes(stage: Stage):
    garden, yard = ThingName("garden"), ThingName("yard")
    for thing in (garden, yard):
        stage.shadows.update(thing, "pinthesky", {"state": {}})
    stage.jobs.create(JobId("reboot"), {}, [garden, yard])
    stage.things.forget(garden)
    stage.things.forget(garden)
    assert (stage.shadows.names(garden), stage.shadows.names(yard)) == ([], ["pinthesky"])
    assert stage.jobs.describe(JobId("reboot")).counts == {JobStatus.REMOVED: 1, JobStatus.QUEUED: 1}
