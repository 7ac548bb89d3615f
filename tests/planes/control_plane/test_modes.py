"""Modes: for all cameras, a group, or one; and what holds now."""

from __future__ import annotations

import pytest

from pinthesky.planes.ingest import settings_events
from tests.planes.fakes import out_of_reach
from tests.planes.home import GARDEN, GATE, GUEST, HALL, MEMBER, OWNER, VIEWER, StagedHome, ask_for, problem_of

HOUR_MS = 3_600_000


def modes(home: StagedHome, field: str = "mode") -> dict[str, object]:
    return {item["thingName"]: item[field] for item in ask_for(home, OWNER, "GET", "/modes")["items"]}


def shown(home: StagedHome) -> dict[str, object]:
    return {item["thingName"]: item["mode"] for item in ask_for(home, OWNER, "GET", "/cameras")["items"]}


@pytest.mark.parametrize(
    "who, changed",
    [({}, [GARDEN, GATE, HALL]), ({"group": "outside"}, [GARDEN, GATE]), ({"camera": "hall"}, [HALL])],
)
def test_a_mode_is_set_for_all_a_group_or_one(fleet: StagedHome, who, changed):
    answer = ask_for(fleet, MEMBER, "PUT", "/modes", {"mode": "away", **who})
    assert answer == {"changed": changed, "failed": []}
    expected = {thing: "away" if thing in changed else "armed" for thing in (GARDEN, GATE, HALL)}
    assert modes(fleet) == shown(fleet) == expected
    state = fleet.shadows.get(changed[0])
    assert state is not None
    assert state.desired == {"mode": {"mode": "away"}}


def test_a_mode_that_has_ended_is_armed_again(fleet: StagedHome):
    until = fleet.clock.now_ms + HOUR_MS
    ask_for(fleet, OWNER, "PUT", "/modes", {"mode": "privacy", "camera": "hall", "until": until})
    state = fleet.shadows.get(HALL)
    assert state is not None
    assert state.desired["mode"] == {"mode": "privacy", "until": until // 1000}
    assert modes(fleet, "until")[HALL] == until
    assert ask_for(fleet, OWNER, "GET", "/cameras/hall")["modeUntil"] == until
    fleet.clock.now_s += 3600
    assert modes(fleet)[HALL] == shown(fleet)[HALL] == "armed"
    assert modes(fleet, "until")[HALL] is None
    assert ask_for(fleet, OWNER, "GET", "/cameras/hall")["modeUntil"] is None


def test_a_mode_without_an_end_takes_the_end_of_the_one_before(fleet: StagedHome):
    ask_for(fleet, OWNER, "PUT", "/modes", {"mode": "privacy", "until": fleet.clock.now_ms + HOUR_MS})
    ask_for(fleet, OWNER, "PUT", "/modes", {"mode": "home"})
    fleet.clock.now_s += 7200
    assert set(modes(fleet).values()) == set(shown(fleet).values()) == {"home"}


def test_what_holds_now_is_what_the_camera_says(fleet: StagedHome):
    ask_for(fleet, OWNER, "PUT", "/modes", {"mode": "away", "camera": "hall"})
    fleet.shadows.report(HALL, {"mode": {"mode": "home", "until": None, "time_zone": None}})
    now = ask_for(fleet, VIEWER, "GET", "/modes")["items"][2]
    assert now == {"thingName": "hall", "mode": "home", "until": None, "desired": "away", "settled": False}
    fleet.shadows.report(HALL, {"mode": {"mode": "away"}})
    assert modes(fleet, "settled")[HALL] is True


def test_a_mode_that_no_camera_knows_counts_as_armed(fleet: StagedHome):
    fleet.shadows.report(HALL, {"mode": {"mode": "asleep"}})
    assert modes(fleet)[HALL] == "armed"


def test_a_mode_set_among_the_settings_is_shown_with_the_camera(fleet: StagedHome):
    ask_for(fleet, OWNER, "POST", "/cameras/hall/configuration", {"mode": {"mode": "privacy"}})
    assert shown(fleet)[HALL] == "privacy"
    ask_for(fleet, OWNER, "POST", "/cameras/hall/configuration", {"mode": None})
    assert shown(fleet)[HALL] == "armed"


def test_a_mode_that_was_set_past_the_planes_is_shown_once_the_camera_reports_it(fleet: StagedHome):
    fleet.shadows.desire(HALL, {"mode": {"mode": "home"}})
    settings_events.reported(fleet, HALL, {"mode": {"mode": "home"}}, at_ms=fleet.clock.now_ms, now_s=fleet.clock())
    assert shown(fleet)[HALL] == "home"


def test_a_viewer_of_a_group_is_told_the_modes_of_its_cameras(fleet: StagedHome):
    first = ask_for(fleet, GUEST, "GET", "/modes", limit=1)
    second = ask_for(fleet, GUEST, "GET", "/modes", limit=1, nextToken=first["nextToken"])
    assert [item["thingName"] for page in (first, second) for item in page["items"]] == [GARDEN, GATE]
    assert second["nextToken"] is None


@pytest.mark.parametrize("person", [VIEWER, GUEST])
def test_a_viewer_sets_no_mode(fleet: StagedHome, person):
    assert problem_of(fleet, person, "PUT", "/modes", {"mode": "privacy", "camera": "garden"})[0] == 403
    assert fleet.shadows.get(GARDEN) is None


@pytest.mark.parametrize(
    "body, field",
    [
        ({}, "mode"),
        ({"mode": "asleep"}, "mode"),
        ({"mode": "home", "camera": "hall", "group": "inside"}, "camera"),
        ({"mode": "home", "camera": "a b"}, "camera"),
        ({"mode": "home", "group": "a/b"}, "group"),
        ({"mode": "armed", "until": 1_900_000_000_000}, "until"),
        ({"mode": "home", "until": 1_800_000_000_000}, "until"),
        ({"mode": "home", "until": 4_102_444_800_001}, "until"),
        ({"mode": "home", "until": -1}, "until"),
        ({"mode": "home", "cameras": []}, "cameras"),
    ],
)
def test_an_order_names_the_field_that_is_wrong(fleet: StagedHome, body, field):
    assert problem_of(fleet, OWNER, "PUT", "/modes", body) == (400, field)


def test_a_group_that_is_not_there_has_no_mode(fleet: StagedHome):
    assert problem_of(fleet, OWNER, "PUT", "/modes", {"mode": "home", "group": "attic"})[0] == 404


def test_a_home_without_cameras_has_no_modes(home: StagedHome):
    assert ask_for(home, OWNER, "PUT", "/modes", {"mode": "home"}) == {"changed": [], "failed": []}
    assert modes(home) == {}


def test_where_one_camera_fails_the_others_are_set(fleet: StagedHome, monkeypatch):
    desire = fleet.shadows.desire

    def sometimes(thing, *arguments, **named):
        return (out_of_reach if thing == GATE else desire)(thing, *arguments, **named)

    monkeypatch.setattr(fleet.shadows, "desire", sometimes)
    fleet.shadows.report(HALL, {})
    answer = ask_for(fleet, OWNER, "PUT", "/modes", {"mode": "privacy"})
    assert answer["changed"] == [GARDEN, HALL]
    assert [failure["thingName"] for failure in answer["failed"]] == [GATE]
    assert "secret detail" not in answer["failed"][0]["message"]
    assert shown(fleet) == {GARDEN: "privacy", GATE: "armed", HALL: "privacy"}


def test_a_camera_whose_other_settings_leave_no_room_is_named_with_the_reason(fleet: StagedHome):
    fleet.shadows.desire(GATE, {"hologram": {"text": "x" * 3060}})
    (failure,) = ask_for(fleet, OWNER, "PUT", "/modes", {"mode": "privacy"})["failed"]
    assert failure["thingName"] == GATE
    assert "3072" in failure["message"]


def test_where_every_camera_fails_the_order_has_failed(fleet: StagedHome, monkeypatch):
    monkeypatch.setattr(fleet.shadows, "desire", out_of_reach)
    assert problem_of(fleet, OWNER, "PUT", "/modes", {"mode": "privacy"})[0] == 500


def test_a_camera_removed_while_an_order_runs_is_named(fleet: StagedHome, monkeypatch):
    get = fleet.cameras.get

    def gone(thing):
        if thing == GATE:
            fleet.cameras.remove(thing)
        return get(thing)

    monkeypatch.setattr(fleet.cameras, "get", gone)
    (failure,) = ask_for(fleet, OWNER, "PUT", "/modes", {"mode": "privacy"})["failed"]
    assert failure == {"thingName": "gate", "message": "there is no camera gate"}
