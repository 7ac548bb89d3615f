"""Pushes: who hears of what at once, and who catches up later."""

from __future__ import annotations

import json

import pytest

from pinthesky.model.identifiers import ConnectionId
from pinthesky.planes import pushes
from pinthesky.planes.records.connections import Socket
from pinthesky.planes.records.pushes import Push, PushId
from tests.planes.fakes import START_S, out_of_reach
from tests.planes.home import (
    GARDEN,
    GUEST,
    HALL,
    MEMBER,
    OWNER,
    STRANGER,
    VIEWER,
    StagedHome,
    ask,
    ask_for,
    list_all,
    problem_of,
)


def connect(home: StagedHome, person, name: str | None = None) -> ConnectionId:
    """A console of a person, logged in."""
    connection = home.connections.open(name or f"{person.id}-console")
    now_ms = home.clock.now_ms
    home.sockets.add(
        Socket(id=connection, kind="manager", connected_at=now_ms, last_active_at=now_ms, person=person.id)
    )
    return connection


def push(home: StagedHome, thing=GARDEN, **fields) -> Push:
    news = Push(**{"type": "camera_online", "camera": thing, "time": home.clock.now_ms, **fields})
    return pushes.push(home, news, home.clock())


def heard(home: StagedHome, connection: ConnectionId) -> list[dict]:
    return [json.loads(message)["event"] for message in home.connections.posted.get(connection, [])]


def test_a_push_reaches_every_console_whose_person_sees_the_camera(fleet):
    consoles = {person.id: connect(fleet, person) for person in (OWNER, MEMBER, VIEWER, GUEST, STRANGER)}
    told = push(fleet, HALL)
    assert {who for who, connection in consoles.items() if heard(fleet, connection)} == {"olga", "max", "vera"}
    assert heard(fleet, consoles[OWNER.id]) == [
        {"type": "camera_online", "camera": "hall", "time": fleet.clock.now_ms, "id": told.id}
    ]
    push(fleet, GARDEN)
    assert len(heard(fleet, consoles[GUEST.id])) == 1


def test_a_clock_that_is_set_back_hides_nothing_from_who_catches_up(fleet):
    seen = str(push(fleet).id)
    fleet.clock.now_s -= 3600
    missed = [str(push(fleet).id) for _ in range(2)]
    # Another process, which has only the table.
    fleet.__dict__.pop("pushes")
    missed.append(str(push(fleet).id))
    assert missed == sorted(missed)
    assert missed[0] > seen
    found = [each["id"] for each in list_all(fleet, OWNER, "/events", after=seen)]
    assert [each for each in found if each > seen] == missed


def test_what_only_owners_may_know_reaches_owners_alone(fleet):
    owner, member = connect(fleet, OWNER), connect(fleet, MEMBER)
    push(fleet, type="job_progress", job="job-1", status="QUEUED")
    assert (len(heard(fleet, owner)), heard(fleet, member)) == (1, [])
    assert [each["job"] for each in ask_for(fleet, OWNER, "GET", "/events")["items"]] == ["job-1"]
    assert ask_for(fleet, MEMBER, "GET", "/events")["items"] == []


def test_what_is_about_no_camera_reaches_those_who_see_all(fleet):
    viewer, guest = connect(fleet, VIEWER), connect(fleet, GUEST)
    push(fleet, None)
    assert (len(heard(fleet, viewer)), heard(fleet, guest)) == (1, [])


def test_a_console_that_is_gone_is_forgotten_and_a_slow_one_is_closed(fleet):
    gone, slow, good = (connect(fleet, OWNER, name) for name in ("gone", "slow", "good"))
    del fleet.connections.posted[gone]
    fleet.connections.slow.add(slow)
    push(fleet)
    assert len(heard(fleet, good)) == 1
    assert fleet.connections.closed == [slow]
    assert gone not in [each.id for each in fleet.sockets.managers()]


def test_a_slow_console_that_cannot_be_closed_now_does_not_keep_the_others_waiting(fleet, monkeypatch):
    slow, good = connect(fleet, OWNER, "a-slow-one"), connect(fleet, OWNER, "good")
    fleet.connections.slow.add(slow)
    monkeypatch.setattr(fleet.connections, "close", out_of_reach)
    push(fleet)
    assert len(heard(fleet, good)) == 1


def test_a_console_of_somebody_who_was_removed_hears_nothing(fleet):
    console = connect(fleet, VIEWER)
    fleet.people.remove(VIEWER.id)
    push(fleet)
    assert heard(fleet, console) == []


def test_a_push_is_kept_even_if_nobody_can_be_told(fleet, monkeypatch):
    connect(fleet, VIEWER)
    with monkeypatch.context() as broken:
        broken.setattr(fleet.people, "get", out_of_reach)
        told = push(fleet)
    assert [each["id"] for each in ask_for(fleet, VIEWER, "GET", "/events")["items"]] == [told.id]


def test_who_was_away_catches_up_from_a_little_before_what_it_saw_last(fleet):
    told = []
    for _ in range(5):
        told.append(push(fleet).id)
        fleet.clock.now_s += 6
    assert [each["id"] for each in list_all(fleet, VIEWER, "/events", limit=2)] == told
    assert [each["id"] for each in list_all(fleet, VIEWER, "/events", after=told[3])] == told[2:]


def test_a_viewer_of_a_group_catches_up_with_its_cameras_alone(fleet):
    for number in range(40):
        push(fleet, GARDEN if number % 20 == 19 else HALL)
        fleet.clock.now_s += 1
    assert [each["camera"] for each in list_all(fleet, GUEST, "/events", limit=1)] == ["garden", "garden"]


def test_pushes_are_kept_for_a_day(fleet):
    push(fleet)
    fleet.clock.now_s += 86_399
    assert len(list_all(fleet, OWNER, "/events")) == 1
    fleet.clock.now_s += 1
    assert list_all(fleet, OWNER, "/events") == []


@pytest.mark.parametrize("after", ["x", "1800000000000", "1800000000000-zzzzzzzzzzzz"])
def test_what_is_no_id_of_a_push_is_refused(fleet, after):
    assert problem_of(fleet, OWNER, "GET", "/events", after=after) == (400, "after")


def test_who_has_no_role_catches_up_with_nothing(fleet):
    assert ask(fleet, STRANGER, "GET", "/events")[0] == 403


def test_ids_come_in_the_order_of_their_times():
    first, second = PushId.new(int(START_S * 1000)), PushId.new(int(START_S * 1000) + 1)
    assert first < second
    assert first.at_ms == int(START_S * 1000)
