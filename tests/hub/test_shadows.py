from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound, Unavailable
from pinthesky.hub.database import Database
from pinthesky.hub.shadows import (
    DELETED_PER_THING_MAX,
    FORGET_AFTER_S,
    SHADOWS_PER_THING_MAX,
    Shadows,
)
from pinthesky.hub.thing_changes import ThingChanges, TooManyRequests
from pinthesky.model.identifiers import ThingName
from tests.support.hub_things import FakeTime

THING = ThingName("garden")
BASE = "$aws/things/garden/shadow/name/pinthesky"


class Stage:
    """Shadows on a real database, and what they had published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeTime()
        self.messages: list[tuple[str, Any]] = []
        self.open()

    def open(self) -> None:
        self.database = Database(self.folder / "hub.sqlite")
        self.changes = ThingChanges(self.database, self.publish)
        self.shadows = Shadows(self.database, self.changes, clock=self.clock)

    def publish(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, json.loads(payload)))

    def request(self, operation: str, payload: bytes | Any, thing: ThingName = THING) -> list[tuple[str, Any]]:
        """What is published because of a request by MQTT."""
        self.messages.clear()
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        with self.changes.begin() as change:
            self.shadows.handle(change, thing, operation.split("/"), payload=raw)
        return self.messages


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.database.close()


def test_an_update_by_mqtt_is_answered_and_told(stage: Stage):
    document = {"state": {"desired": {"a": 1}, "reported": {"a": 2}}, "clientToken": "token"}
    accepted, delta, documents = stage.request("name/pinthesky/update", document)
    stamp = {"timestamp": 1_800_000_000}
    assert accepted == (
        f"{BASE}/update/accepted",
        {
            "state": document["state"],
            "metadata": {"desired": {"a": stamp}, "reported": {"a": stamp}},
            "version": 1,
            **stamp,
            "clientToken": "token",
        },
    )
    assert delta == (
        f"{BASE}/update/delta",
        {"state": {"a": 1}, "metadata": {"a": stamp}, "version": 1, **stamp, "clientToken": "token"},
    )
    topic, told = documents
    assert topic == f"{BASE}/update/documents"
    assert told["previous"] == {"state": {}, "metadata": {}, "version": 0}
    assert told["current"]["state"] == document["state"]
    assert (told["current"]["version"], told["timestamp"], told["clientToken"]) == (1, 1_800_000_000, "token")


def test_an_update_by_the_planes_publishes_the_same_messages(stage: Stage):
    document = {"state": {"desired": {"a": 1}}, "clientToken": "t"}
    by_mqtt = list(stage.request("name/one/update", document))
    stage.messages.clear()
    stage.shadows.update(THING, "two", document)
    assert [(topic.replace("/two/", "/one/"), message) for topic, message in stage.messages] == by_mqtt


def test_there_is_no_delta_message_where_nothing_differs(stage: Stage):
    messages = stage.request("name/pinthesky/update", {"state": {"reported": {"a": 1}}})
    assert [topic.rpartition("/")[2] for topic, _ in messages] == ["accepted", "documents"]


def test_a_shadow_survives_a_restart(stage: Stage):
    stage.shadows.update(THING, "pinthesky", {"state": {"reported": {"a": 2**60 + 1}}})
    stage.database.close()
    stage.open()
    found = stage.shadows.get(THING, "pinthesky")
    assert (found["state"], found["version"]) == ({"reported": {"a": 2**60 + 1}}, 1)


def test_get_and_delete_by_mqtt_take_an_empty_message(stage: Stage):
    stage.shadows.update(THING, "pinthesky", {"state": {"reported": {"a": 1}}})
    ((topic, found),) = stage.request("name/pinthesky/get", b"")
    assert (topic, found["state"]) == (f"{BASE}/get/accepted", {"reported": {"a": 1}})
    ((topic, gone),) = stage.request("name/pinthesky/delete", b"")
    assert (topic, gone) == (f"{BASE}/delete/accepted", {"version": 1, "timestamp": 1_800_000_000})
    ((topic, refused),) = stage.request("name/pinthesky/get", {"clientToken": "t"})
    assert topic == f"{BASE}/get/rejected"
    assert refused == {
        "code": 404,
        "message": "No shadow exists with name: 'pinthesky'",
        "timestamp": 1_800_000_000,
        "clientToken": "t",
    }


@pytest.mark.parametrize(
    "operation, payload, code",
    [
        ("update", b"{", 400),
        ("get", b"", 400),
        ("name/pinthesky/update", b"{", 400),
        ("name/pinthesky/update", b"", 400),
        ("name/pinthesky/get", b"[]", 400),
        ("name/pinthesky/get", b'{"clientToken": 5}', 400),
        ("name/pinthesky/delete", b"", 404),
        ("name/pinthesky/patch", b"{}", 400),
        ("name/no name/get", b"", 400),
        (f"name/{'n' * 65}/get", b"", 400),
        ("name/pinthesky/update", b'{"state": {"desired": {"a": "' + b"x" * 9000 + b'"}}}', 413),
        ("name/pinthesky/update", b'{"state": {}, "version": 7}', 409),
    ],
)
def test_what_cannot_be_served_is_rejected_with_a_code(stage: Stage, operation: str, payload: bytes, code: int):
    ((topic, message),) = stage.request(operation, payload)
    assert topic == f"$aws/things/garden/shadow/{operation}/rejected"
    assert message["code"] == code


@pytest.mark.parametrize(
    "error, code",
    [
        (NotAuthorized("no"), 403),
        (TooManyRequests("too many"), 429),
        (Unavailable("disk full"), 500),
    ],
)
def test_other_errors_have_a_code_too(stage: Stage, error: Any, code: int):
    assert stage.shadows.rejection(error, {"clientToken": "t"})["code"] == code


def test_messages_too_large_for_the_broker_refuse_the_update(stage: Stage):
    def fill(section: str) -> int:
        state = {section: {"a": [1] * 1900}}
        return stage.request("name/pinthesky/update", {"state": state})[0][1].get("code", 200)

    assert fill("desired") == 200
    assert fill("reported") == 413
    assert list(stage.shadows.get(THING, "pinthesky")["state"]) == ["desired", "delta"]


def test_the_version_is_forgotten_two_days_after_a_deletion(stage: Stage):
    for _ in range(3):
        stage.shadows.update(THING, "pinthesky", {"state": {}})
    stage.shadows.delete(THING, "pinthesky")
    stage.clock.now_s += FORGET_AFTER_S - 1
    assert stage.shadows.update(THING, "pinthesky", {"state": {}})["version"] == 4
    stage.shadows.delete(THING, "pinthesky")
    stage.clock.now_s += FORGET_AFTER_S
    assert stage.shadows.update(THING, "pinthesky", {"state": {}})["version"] == 1


def test_a_thing_has_a_bounded_number_of_shadows(stage: Stage):
    for number in range(SHADOWS_PER_THING_MAX):
        stage.shadows.update(THING, f"shadow-{number}", {"state": {}})
    with pytest.raises(InvalidInput, match="at most 10 shadows"):
        stage.shadows.update(THING, "one-more", {"state": {}})
    stage.shadows.update(ThingName("yard"), "one-more", {"state": {}})
    stage.shadows.update(THING, "shadow-1", {"state": {}})
    assert len(stage.shadows.names(THING)) == SHADOWS_PER_THING_MAX


def test_what_is_remembered_of_deleted_shadows_is_bounded(stage: Stage):
    for number in range(DELETED_PER_THING_MAX + 20):
        stage.clock.now_s += 1
        stage.shadows.update(THING, f"shadow-{number}", {"state": {}})
        stage.shadows.delete(THING, f"shadow-{number}")
    with stage.database.reading() as connection:
        kept = connection.execute("SELECT COUNT(*) FROM shadows").fetchone()[0]
    assert kept <= DELETED_PER_THING_MAX + 1


def test_forgetting_a_thing_leaves_the_others(stage: Stage):
    for thing in (THING, ThingName("yard")):
        stage.shadows.update(thing, "pinthesky", {"state": {}})
    with stage.changes.begin() as change:
        stage.shadows.forget(change.connection, THING)
    assert (stage.shadows.names(THING), stage.shadows.names(ThingName("yard"))) == ([], ["pinthesky"])


def test_the_planes_get_errors_as_errors(stage: Stage):
    with pytest.raises(NotFound):
        stage.shadows.get(THING, "pinthesky")
    with pytest.raises(NotFound):
        stage.shadows.delete(THING, "pinthesky")
    with pytest.raises(Conflict):
        stage.shadows.update(THING, "pinthesky", {"state": {}, "version": 2})
    with pytest.raises(InvalidInput):
        stage.shadows.update(THING, "pinthesky", {"state": {"desired": {"a": float("nan")}}})
    assert stage.messages == []
