"""The promise to things: what was answered as accepted is kept, whatever becomes of the hub in between."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from pinthesky.hub.database import Database
from pinthesky.hub.jobs import Jobs
from pinthesky.hub.shadows import Shadows
from pinthesky.hub.thing_changes import ThingChanges
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus
from tests.support.aws_servers import wait_until
from tests.support.hub_things import HubBroker, ThingsHub

THING = ThingName("garden")
BASE = f"$aws/things/{THING}/shadow/name/pinthesky/update"


def serve(folder: Path, socket: Path, die_before: str | None, ready: Any) -> None:
    """A hub of its own that kills itself with SIGKILL at one point of its work, or works until it is killed."""
    hub = ThingsHub(folder, socket)
    if die_before == "commit":
        hub.shadows.handle = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]  # a crash
    if die_before == "answer":
        hub.changes._publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if die_before == "acknowledgement":
        acknowledge = hub.mqtt._acknowledge

        def die(message: Any, connection: int) -> None:
            # What the hub before this one had not acknowledged yet comes first.
            if message.topic.endswith("/update"):
                wait_until(lambda: not hub.mqtt._waiting())  # the broker has the answer
                os.kill(os.getpid(), signal.SIGKILL)
            acknowledge(message, connection)

        hub.mqtt._acknowledge = die  # type: ignore[method-assign]  # a crash
    with hub:
        ready.set()
        threading.Event().wait(60)


@contextmanager
def hub_process(folder: Path, broker: HubBroker, die_before: str | None = None) -> Iterator[SpawnProcess]:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=serve, args=(folder, broker.socket, die_before, ready))
    process.start()
    try:
        assert ready.wait(20), "the hub does not start"
        yield process
    finally:
        process.kill()
        process.join(10)


@contextmanager
def kept(folder: Path) -> Iterator[tuple[Shadows, Jobs]]:
    """What is in the database."""
    database = Database(folder / "hub.sqlite")
    changes = ThingChanges(database, lambda _topic, _payload: None)
    try:
        yield Shadows(database, changes), Jobs(database, changes)
    finally:
        database.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[HubBroker]:
    with HubBroker(tmp_path) as broker:
        yield broker


@pytest.mark.parametrize("die_before, answers", [("commit", 1), ("answer", 1), ("acknowledgement", 2)])
def test_what_was_not_done_with_when_the_hub_died_is_answered_by_the_next(
    broker: HubBroker, tmp_path: Path, die_before: str, answers: int
):
    with broker.client(THING) as thing:
        thing.subscribe(f"{BASE}/accepted")
        with hub_process(tmp_path, broker, die_before) as dying:
            thing.publish(BASE, {"state": {"reported": {"a": 1}}, "clientToken": "mine"})
            wait_until(lambda: not dying.is_alive())
            assert dying.exitcode == -signal.SIGKILL
        with ThingsHub(tmp_path, broker.socket) as hub:
            answer = thing.wait_for(f"{BASE}/accepted", answers)[-1]
            assert answer.document["clientToken"] == "mine"
            found = hub.shadows.get(THING, "pinthesky")
    assert found["state"] == {"reported": {"a": 1}}
    assert found["version"] == answer.document["version"]


def test_everything_that_was_accepted_survives_a_kill_in_the_middle_of_it(broker: HubBroker, tmp_path: Path):
    things = [ThingName(f"camera-{number}") for number in range(8)]
    with broker.client() as cloud:
        cloud.subscribe("$aws/things/+/shadow/name/+/update/accepted")
        with hub_process(tmp_path, broker) as hub:
            for count in range(25):
                for thing in things:
                    topic = f"$aws/things/{thing}/shadow/name/pinthesky/update"
                    cloud.publish(topic, {"state": {"reported": {f"k{count}": count}}})
            wait_until(lambda: len(cloud.messages) > 20)
            hub.kill()
            hub.join(10)
        wait_until_quiet(cloud)
        accepted = [(message.topic.split("/")[2], message.document) for message in cloud.messages[:-1]]
    with kept(tmp_path) as (shadows, _):
        for name, document in accepted:
            found = shadows.get(ThingName(name), "pinthesky")
            assert found["version"] >= document["version"]
            assert document["state"]["reported"].items() <= found["state"]["reported"].items()


def wait_until_quiet(client: Any) -> None:
    """Until nothing is under way: what is published now comes behind everything."""
    client.subscribe("pinthesky/last")
    client.publish("pinthesky/last", b"")
    client.wait_for("pinthesky/last")


def test_a_job_that_was_reported_as_done_stays_done(broker: HubBroker, tmp_path: Path):
    base = f"$aws/things/{THING}/jobs"
    with kept(tmp_path) as (_, jobs):
        jobs.create(JobId("reboot"), {}, [THING])
    with broker.client(THING) as thing:
        thing.subscribe(f"{base}/+/accepted", f"{base}/+/+/accepted", f"{base}/+/+/rejected")
        with hub_process(tmp_path, broker):
            thing.publish(f"{base}/start-next", {})
            thing.wait_for(f"{base}/start-next/accepted")
        with hub_process(tmp_path, broker, "acknowledgement"):
            thing.publish(f"{base}/reboot/update", {"status": "SUCCEEDED"})
            thing.wait_for(f"{base}/reboot/update/accepted")
        with hub_process(tmp_path, broker):
            (repeated,) = thing.wait_for(f"{base}/reboot/update/rejected")
    assert repeated.document["code"] == "InvalidStateTransition"
    assert repeated.document["executionState"]["status"] == "SUCCEEDED"
    with kept(tmp_path) as (_, jobs):
        assert jobs.execution(JobId("reboot"), THING).status is JobStatus.SUCCEEDED
