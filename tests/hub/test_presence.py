from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pinthesky.errors import Unavailable
from pinthesky.hub.database import Database
from pinthesky.hub.presence import REASON_MAX, RESTARTED, Presence, ThingPresence
from pinthesky.model.identifiers import ThingName
from tests.support.hub_things import FakeTime

GARDEN, YARD = ThingName("garden"), ThingName("yard")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "hub.sqlite")
    yield database
    database.close()


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime(1000.0)


def test_connections_and_their_ends_are_kept_with_time_and_reason(database: Database, clock: FakeTime):
    presence = Presence(database, clock=clock)
    presence.tell(GARDEN, True, "192.0.2.7")
    clock.now_s += 5
    presence.tell(YARD, True, "192.0.2.8")
    presence.tell(GARDEN, False, "exceeded timeout")
    assert presence.of(GARDEN) == ThingPresence(False, 1005.0, "exceeded timeout")
    assert presence.all()[YARD] == ThingPresence(True, 1005.0, "192.0.2.8")
    assert presence.of(ThingName("gate")) is None


def test_listeners_hear_each_change_once(database: Database, clock: FakeTime):
    presence = Presence(database, clock=clock)
    heard: list[tuple[ThingName, bool]] = []
    presence.on_change(lambda thing, now: heard.append((thing, now.connected)))
    for connected in (True, True, False, False, True):
        presence.tell(GARDEN, connected, "")
    assert heard == [(GARDEN, True), (GARDEN, False), (GARDEN, True)]


def test_after_a_restart_who_is_connected_is_learnt_anew(database: Database, clock: FakeTime):
    before = Presence(database, clock=clock)
    before.tell(GARDEN, True, "192.0.2.7")
    before.tell(YARD, True, "192.0.2.8")
    before.tell(YARD, False, "closed its connection")
    clock.now_s += 60
    after = Presence(database, clock=clock)
    heard: list[ThingName] = []
    after.on_change(lambda thing, _now: heard.append(thing))
    assert after.of(GARDEN) == ThingPresence(False, 1060.0, RESTARTED)
    assert after.of(YARD) == ThingPresence(False, 1000.0, "closed its connection")
    after.tell(GARDEN, True, "192.0.2.7")
    assert heard == [GARDEN]


def test_a_removed_thing_is_forgotten(database: Database, clock: FakeTime):
    presence = Presence(database, clock=clock)
    presence.tell(GARDEN, True, "")
    presence.forget(GARDEN)
    presence.forget(GARDEN)
    assert presence.all() == {} == Presence(database, clock=clock).all()


def test_a_full_disk_costs_the_record_and_not_the_truth(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    presence = Presence(database)

    def full() -> None:
        raise Unavailable("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(database, "transaction", full)
        presence.tell(GARDEN, True, "")
    now = presence.of(GARDEN)
    assert now is not None
    assert now.connected
    assert "That garden is connected could not be written" in caplog.text


def test_a_reason_is_bounded(database: Database):
    presence = Presence(database)
    presence.tell(GARDEN, False, "x" * 5000)
    now = presence.of(GARDEN)
    assert now is not None
    assert len(now.reason) == REASON_MAX
