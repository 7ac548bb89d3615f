"""A camera's settings: what may be desired of it, and what is shown of what became of that."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from pinthesky.errors import Conflict, InvalidInput
from pinthesky.model import settings
from pinthesky.model.shadow import DESIRED_MAX, canonical, fingerprint
from pinthesky.planes import settings_edit
from pinthesky.planes.records.rows import TRIES_MAX
from tests.planes.home import GARDEN, GUEST, MEMBER, OWNER, VIEWER, StagedHome, ask, ask_for, problem_of

PATH = "/cameras/garden/configuration"


def desired(home: StagedHome) -> Any:
    return ask_for(home, OWNER, "GET", PATH)["desired"]


def test_a_camera_of_which_nothing_was_said_has_version_0(fleet: StagedHome):
    assert ask_for(fleet, VIEWER, "GET", PATH) == {
        "thingName": "garden",
        "version": 0,
        "desired": {},
        "reported": {},
        "settled": None,
    }


def test_sections_are_laid_over_what_is_desired(fleet: StagedHome):
    ask_for(fleet, MEMBER, "POST", PATH, {"camera": {"framerate": 15, "rotation": 90}, "health": {"interval": 60}})
    changed = ask_for(fleet, MEMBER, "POST", PATH, {"camera": {"framerate": 10}})
    assert changed["desired"] == {"camera": {"framerate": 10, "rotation": 90}, "health": {"interval": 60}}
    assert desired(fleet) == changed["desired"]
    assert ask_for(fleet, OWNER, "GET", PATH)["version"] == changed["version"]


def test_a_body_that_names_no_section_is_the_section_camera(fleet: StagedHome):
    assert ask_for(fleet, OWNER, "POST", PATH, {"framerate": "15"})["desired"] == {"camera": {"framerate": 15}}


def test_text_of_older_consoles_becomes_numbers(fleet: StagedHome):
    body = {"camera": {"framerate": "15", "buffer_size": "null"}, "storage": {"enabled": "true"}}
    assert ask_for(fleet, OWNER, "POST", PATH, body)["desired"] == {
        "camera": {"framerate": 15, "buffer_size": "null"},
        "storage": {"enabled": True},
    }


def test_null_takes_a_field_or_a_section_back(fleet: StagedHome):
    ask_for(fleet, OWNER, "POST", PATH, {"camera": {"framerate": 15, "rotation": 90}, "health": {"interval": 60}})
    ask_for(fleet, OWNER, "POST", PATH, {"camera": {"framerate": None}, "health": None})
    assert desired(fleet) == {"camera": {"rotation": 90}}


def test_what_a_newer_version_has_left_can_be_taken_back_and_nothing_else(fleet: StagedHome):
    fleet.shadows.desire(GARDEN, {"hologram": {"depth": 3}, "camera": {"wings": 2}})
    ask_for(fleet, OWNER, "POST", PATH, {"hologram": None, "camera": {"wings": None}})
    assert desired(fleet) in ({}, {"camera": {}})
    assert problem_of(fleet, OWNER, "POST", PATH, {"camera": {"wings": None}}) == (400, "camera.wings")
    assert problem_of(fleet, OWNER, "POST", PATH, {"hologram": None, "camera": {}}) == (400, "hologram")


@pytest.mark.parametrize(
    "body, field, bound",
    [
        ({"framerate": 0}, "camera.framerate", "from 1 to 120"),
        ({"framerate": "many"}, "camera.framerate", "from 1 to 120"),
        ({"framerate": 10**30}, "camera.framerate", "from 1 to 120"),
        ({"rotation": 45}, "camera.rotation", "0, 90, 180, 270"),
        ({"resolution": "641x480"}, "camera.resolution", "even"),
        ({"camera": {"zoom": 2}}, "camera.'zoom'", "not a field"),
        ({"zoom": 2}, "camera.'zoom'", "not a field"),
        ({"camera": 5}, "camera", "object"),
        ({"camera": [1]}, "camera", "object"),
        ({"health": {"interval": 9}}, "health.interval", "from 10"),
        ({"mode": {"time_zone": "../etc"}}, "mode.time_zone", "IANA"),
        ({"picture": {"exposure_us": 100}}, "picture.exposure_us", "manual"),
        ({"motion": {"zones": [[[0, 0], [1, 1]]]}}, "motion.zones", "corners"),
        ({"cloud_connection": {"role_alias": "mine"}}, "cloud_connection", "reported only"),
        ({"sync": {}}, "sync", "reported only"),
        ({"camera": {}, "hologram": {}}, "hologram", "not a section"),
        ({}, "body", "must name"),
        ([], "body", "expected `object`"),
    ],
)
def test_what_the_device_would_refuse_never_reaches_it(fleet: StagedHome, body, field, bound):
    status, problem = ask(fleet, OWNER, "POST", PATH, body)
    assert (status, problem["field"]) == (400, field)
    assert bound in problem["message"]
    assert fleet.shadows.get(GARDEN) is None


def test_a_section_is_checked_together_with_what_is_desired_of_it(fleet: StagedHome):
    ask_for(fleet, OWNER, "POST", PATH, {"picture": {"exposure_mode": "manual", "exposure_us": 100, "gain": 2}})
    ask_for(fleet, OWNER, "POST", PATH, {"picture": {"exposure_us": 200}})
    assert problem_of(fleet, OWNER, "POST", PATH, {"picture": {"exposure_mode": "auto"}})[0] == 400
    assert desired(fleet)["picture"] == {"exposure_mode": "manual", "exposure_us": 200, "gain": 2.0}


def test_one_wrong_section_keeps_the_others_out_too(fleet: StagedHome):
    body = {"health": {"interval": 60}, "camera": {"framerate": 0}}
    assert problem_of(fleet, OWNER, "POST", PATH, body) == (400, "camera.framerate")
    assert fleet.shadows.get(GARDEN) is None


def test_all_that_is_desired_has_a_bound(fleet: StagedHome):
    fleet.shadows.desire(GARDEN, {"hologram": {"text": "x" * (DESIRED_MAX - 40)}})
    status, problem = ask(fleet, OWNER, "POST", PATH, {"camera": {"framerate": 10, "rotation": 90}})
    assert (status, problem["field"]) == (400, "body")
    assert str(DESIRED_MAX) in problem["message"]
    assert "camera" not in desired(fleet)


def test_what_has_grown_too_large_elsewhere_may_shrink(fleet: StagedHome):
    fleet.shadows.desire(GARDEN, {"hologram": {"text": "x" * DESIRED_MAX}, "health": {"interval": 60}})
    assert problem_of(fleet, OWNER, "POST", PATH, {"health": {"interval": 90}}) == (400, "body")
    ask_for(fleet, OWNER, "POST", PATH, {"health": None})
    ask_for(fleet, OWNER, "POST", PATH, {"hologram": None, "camera": {"framerate": 5}})
    assert desired(fleet) == {"camera": {"framerate": 5}}


def test_settings_of_a_camera_that_is_removed_meanwhile_leave_no_shadow(fleet: StagedHome, monkeypatch):
    fleet.shadows.report(GARDEN, {"camera": {}})
    desire = fleet.shadows.desire

    def removed_just_before(*arguments, **named):
        monkeypatch.undo()
        ask_for(fleet, OWNER, "DELETE", "/cameras/garden")
        return desire(*arguments, **named)

    monkeypatch.setattr(fleet.shadows, "desire", removed_just_before)
    assert problem_of(fleet, OWNER, "POST", PATH, {"framerate": 5})[0] == 404
    assert fleet.shadows.get(GARDEN) is None


def test_a_lost_update_is_a_conflict(fleet: StagedHome):
    first = ask_for(fleet, OWNER, "POST", PATH, {"framerate": 15}, expectedVersion=0)
    ask_for(fleet, MEMBER, "POST", PATH, {"framerate": 10}, expectedVersion=first["version"])
    body = {"framerate": 5}
    assert problem_of(fleet, OWNER, "POST", PATH, body, expectedVersion=first["version"]) == (409, None)
    assert desired(fleet) == {"camera": {"framerate": 10}}


@pytest.mark.parametrize("version", ["-1", "x", "1.5"])
def test_a_version_that_is_no_number_is_bad_input(fleet: StagedHome, version):
    body = {"framerate": 5}
    assert problem_of(fleet, OWNER, "POST", PATH, body, expectedVersion=version) == (400, "expectedVersion")


def test_a_change_in_between_is_seen_and_checked_again(fleet: StagedHome, monkeypatch):
    read = fleet.shadows.get

    def overtaken(thing):
        before = read(thing)
        monkeypatch.undo()
        fleet.shadows.desire(thing, {"picture": {"exposure_mode": "manual", "exposure_us": 100, "gain": 1.0}})
        return before

    monkeypatch.setattr(fleet.shadows, "get", overtaken)
    assert problem_of(fleet, OWNER, "POST", PATH, {"picture": {"flicker_hz": 50}}) == (400, "picture.flicker_hz")


def test_a_camera_that_reports_meanwhile_does_not_stop_a_change(fleet: StagedHome, monkeypatch):
    read, reports = fleet.shadows.get, iter(range(TRIES_MAX - 1))

    def reporting(thing):
        before = read(thing)
        for number in reports:
            fleet.shadows.report(thing, {"sync": {"number": number}})
            break
        return before

    monkeypatch.setattr(fleet.shadows, "get", reporting)
    assert ask_for(fleet, OWNER, "POST", PATH, {"framerate": 5})["desired"] == {"camera": {"framerate": 5}}


def test_a_change_that_is_always_overtaken_gives_up(fleet: StagedHome, monkeypatch):
    def overtaken(*_, **__):
        raise Conflict("version")

    monkeypatch.setattr(fleet.shadows, "desire", overtaken)
    assert problem_of(fleet, OWNER, "POST", PATH, {"framerate": 5})[0] == 500


def test_what_the_camera_does_and_has_refused_stands_beside_what_is_desired(fleet: StagedHome):
    ask_for(fleet, OWNER, "POST", PATH, {"camera": {"framerate": 90}})
    fleet.shadows.report(GARDEN, {"camera": {"framerate": 90}})
    assert ask_for(fleet, GUEST, "GET", PATH)["settled"] is None
    sync = {
        "fingerprint": fingerprint({"camera": {"framerate": 90}}),
        "applied": [],
        "rejected": {"camera.framerate": "the camera gives at most 56"},
    }
    fleet.shadows.report(GARDEN, {"camera": {"framerate": 20}, "sync": sync})
    shown = ask_for(fleet, GUEST, "GET", PATH)
    assert shown["desired"] == {"camera": {"framerate": 90}}
    assert shown["reported"] == {"camera": {"framerate": 20}, "sync": sync}
    assert shown["settled"] is True
    assert ask_for(fleet, OWNER, "POST", PATH, {"camera": {"framerate": 50}})["settled"] is False


def test_only_what_is_asked_for_is_answered(fleet: StagedHome):
    ask_for(fleet, OWNER, "POST", PATH, {"camera": {"framerate": 15}, "health": {"interval": 60}})
    fleet.shadows.report(GARDEN, {"camera": {"framerate": 15}})
    one = ask_for(fleet, VIEWER, "GET", PATH, document="camera,sync", state="desired")
    assert (one["desired"], one["reported"]) == ({"camera": {"framerate": 15}}, None)
    other = ask_for(fleet, OWNER, "POST", PATH, {"framerate": 5}, document="health", state="reported")
    assert (other["desired"], other["reported"]) == (None, {})
    both = ask_for(fleet, VIEWER, "GET", PATH, document="health", state="desired,reported")
    assert (both["desired"], both["reported"]) == ({"health": {"interval": 60}}, {})


@pytest.mark.parametrize(
    "query, field",
    [
        ({"document": "hologram"}, "document"),
        ({"document": "camera,"}, "document"),
        ({"state": "delta"}, "state"),
        ({"state": ""}, "state"),
        ({"document": "x" * 401}, "document"),
    ],
)
def test_what_cannot_be_asked_for_is_bad_input(fleet: StagedHome, query, field):
    assert problem_of(fleet, OWNER, "GET", PATH, **query) == (400, field)
    assert problem_of(fleet, OWNER, "POST", PATH, {"framerate": 5}, **query) == (400, field)


def test_a_shadow_that_others_have_spoilt_can_be_read_and_mended(fleet: StagedHome):
    fleet.shadows.desire(GARDEN, {"camera": 5, "mode": "odd"})  # type: ignore[dict-item]  # what AWS takes from anybody
    fleet.shadows.report(GARDEN, {"sync": "odd", "camera": 5})
    assert ask_for(fleet, OWNER, "GET", PATH)["desired"] == {"camera": 5, "mode": "odd"}
    assert ask_for(fleet, OWNER, "GET", "/modes")["items"][0]["mode"] == "armed"
    body = {"camera": {"framerate": 5}, "mode": {"mode": "away"}}
    assert ask_for(fleet, OWNER, "POST", PATH, body)["desired"] == body
    assert desired(fleet) == body


SECTION_NAMES = strategies.sampled_from([*settings.SECTIONS, "sync", "hologram", "framerate"])
FIELD_NAMES = strategies.sampled_from(
    sorted({name for kind in settings.SECTIONS.values() for name in kind.__struct_fields__})
)
VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | strategies.sampled_from(["null", "true", "20", "640x480", "22-6", "manual", "away", "Europe/Oslo", "\ud800", ""]),
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(FIELD_NAMES, inner, max_size=3),
    max_leaves=8,
)


@hypothesis.given(
    strategies.dictionaries(
        SECTION_NAMES, strategies.dictionaries(FIELD_NAMES, VALUES, max_size=4) | VALUES, max_size=3
    ),
    strategies.dictionaries(SECTION_NAMES, strategies.dictionaries(FIELD_NAMES, VALUES, max_size=4), max_size=2),
)
@hypothesis.settings(max_examples=100, deadline=None)
def test_what_is_accepted_is_what_the_device_accepts(body: dict[str, Any], before: dict[str, Any]):
    before = json.loads(json.dumps(before))
    try:
        update = settings_edit.checked_update(settings_edit.sections_of(body), before)
    except InvalidInput:
        return
    after = settings_edit.merged(before, update)
    for name in update:
        if name in after:
            base = settings.SECTIONS[name]()
            wanted = settings.parse_section(name, after[name], base)
            # and it is not what the console sent but what the device makes of it that is kept
            assert settings.parse_section(name, json.loads(canonical(dict(after[name]))), base) == wanted
