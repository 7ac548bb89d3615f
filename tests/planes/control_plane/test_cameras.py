"""Cameras: adopting, naming, listing and grouping them."""

from __future__ import annotations

import pytest

from pinthesky.planes.records.groups import OF_CAMERA_MAX
from tests.planes.home import (
    GARDEN,
    GATE,
    GUEST,
    HALL,
    MEMBER,
    OWNER,
    VIEWER,
    StagedHome,
    add_camera,
    ask,
    ask_for,
    list_all,
    problem_of,
)


def names(items: list[dict[str, object]]) -> list[object]:
    return [item["thingName"] for item in items]


def test_a_registered_thing_becomes_a_camera(home: StagedHome):
    home.things.registered[GARDEN] = ""
    body = {"thingName": "garden", "displayName": "Garden ☀", "description": "by the pond"}
    made = ask_for(home, MEMBER, "POST", "/cameras", body)
    assert made == ask_for(home, VIEWER, "GET", "/cameras/garden")
    assert made == {
        "thingName": "garden",
        "displayName": "Garden ☀",
        "description": "by the pond",
        "createdAt": home.clock.now_ms,
        "online": False,
        "onlineChangedAt": None,
        "lastSeenAt": None,
        "silent": False,
        "fault": "",
        "recording": False,
        "lastMotionAt": None,
        "stillAt": None,
        "stillUrl": None,
        "softwareVersion": "",
        "mode": "armed",
        "modeUntil": None,
        "settingsSync": {},
    }


def test_a_camera_without_a_name_is_called_as_its_thing(home: StagedHome):
    home.things.registered[GARDEN] = ""
    assert ask_for(home, OWNER, "POST", "/cameras", {"thingName": "garden"})["displayName"] == "garden"


def test_a_thing_that_is_not_registered_is_no_camera(home: StagedHome):
    assert problem_of(home, OWNER, "POST", "/cameras", {"thingName": "garden"}) == (400, "thingName")


def test_a_camera_is_adopted_once(fleet: StagedHome):
    assert problem_of(fleet, OWNER, "POST", "/cameras", {"thingName": "garden"})[0] == 409


@pytest.mark.parametrize(
    "body, field",
    [
        ({}, "thingName"),
        ({"thingName": "a b"}, "thingName"),
        ({"thingName": "garden", "displayName": ""}, "displayName"),
        ({"thingName": "garden", "displayName": "x" * 101}, "displayName"),
        ({"thingName": "garden", "description": "x" * 1001}, "description"),
        ({"thingName": "garden", "online": True}, "online"),
    ],
)
def test_a_new_camera_names_the_field_that_is_wrong(home: StagedHome, body, field):
    assert problem_of(home, OWNER, "POST", "/cameras", body) == (400, field)


def test_a_camera_is_renamed_and_keeps_what_is_left_out(fleet: StagedHome):
    ask_for(fleet, MEMBER, "PUT", "/cameras/garden", {"description": "by the pond"})
    changed = ask_for(fleet, MEMBER, "PUT", "/cameras/garden", {"displayName": "Pond"})
    assert (changed["displayName"], changed["description"]) == ("Pond", "by the pond")
    assert changed == ask_for(fleet, MEMBER, "GET", "/cameras/garden")


def test_a_change_of_a_camera_names_the_field_that_is_wrong(fleet: StagedHome):
    assert problem_of(fleet, OWNER, "PUT", "/cameras/garden", {"thingName": "gate"}) == (400, "thingName")
    assert problem_of(fleet, OWNER, "PUT", "/cameras/garden", {"displayName": ""}) == (400, "displayName")


@pytest.mark.parametrize("person", [OWNER, VIEWER])
def test_cameras_are_listed_by_name_page_by_page(fleet: StagedHome, person):
    assert names(list_all(fleet, person, "/cameras", limit=1)) == [GARDEN, GATE, HALL]


def test_a_viewer_of_a_group_is_shown_its_cameras_alone(fleet: StagedHome):
    assert names(list_all(fleet, GUEST, "/cameras", limit=1)) == [GARDEN, GATE]


def test_several_cameras_are_asked_for_by_name(fleet: StagedHome):
    page = ask_for(fleet, VIEWER, "GET", "/cameras", thingName="hall,never-was,garden,hall")
    assert (names(page["items"]), page["nextToken"]) == ([HALL, GARDEN], None)


def test_a_camera_that_is_hidden_is_not_among_several(fleet: StagedHome):
    assert names(ask_for(fleet, GUEST, "GET", "/cameras", thingName="hall,garden")["items"]) == [GARDEN]
    assert ask_for(fleet, GUEST, "GET", "/cameras", thingName="hall")["items"] == []


@pytest.mark.parametrize("asked", ["", "a b", "garden,", ",".join(["garden"] * 101)])
def test_names_that_cannot_be_asked_for_are_bad_input(fleet: StagedHome, asked):
    assert problem_of(fleet, OWNER, "GET", "/cameras", thingName=asked) == (400, "thingName")


@pytest.mark.parametrize("query, field", [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"sort": "x"}, "sort")])
def test_a_list_names_the_parameter_that_is_wrong(fleet: StagedHome, query, field):
    assert problem_of(fleet, OWNER, "GET", "/cameras", **query) == (400, field)


@pytest.mark.parametrize("person", [OWNER, GUEST])
def test_a_token_of_another_list_is_none(fleet: StagedHome, person):
    token = ask_for(fleet, OWNER, "GET", "/stats", limit=1)["nextToken"]
    assert problem_of(fleet, person, "GET", "/cameras", nextToken=token) == (400, "nextToken")
    assert problem_of(fleet, person, "GET", "/cameras", nextToken="forged") == (400, "nextToken")


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("GET", "/cameras/attic", None),
        ("PUT", "/cameras/attic", {}),
        ("DELETE", "/cameras/attic", None),
        ("GET", "/cameras/attic/groups", None),
        ("POST", "/cameras/attic/groups", {"groups": ["outside"]}),
        ("DELETE", "/cameras/attic/groups/outside", None),
        ("GET", "/cameras/attic/stats", None),
        ("POST", "/cameras/attic/stats", None),
        ("GET", "/cameras/attic/stats/1800000000000", None),
        ("GET", "/cameras/attic/configuration", None),
        ("POST", "/cameras/attic/configuration", {"framerate": 10}),
        ("POST", "/cameras/attic/captureImage", None),
        ("GET", "/cameras/attic/captureImage", None),
        ("GET", "/cameras/attic/captureImage/url", None),
        ("POST", "/cameras/attic/captureVideo", {}),
        ("DELETE", "/groups/outside/cameras/attic", None),
        ("PUT", "/modes", {"mode": "home", "camera": "attic"}),
    ],
)
def test_a_camera_that_is_not_there_is_not_found(fleet: StagedHome, method, path, body):
    assert problem_of(fleet, OWNER, method, path, body)[0] == 404
    assert fleet.commands.sent == []


@pytest.mark.parametrize(
    "path", ["", "/groups", "/stats", "/stats/1800000000000", "/configuration", "/captureImage", "/captureImage/url"]
)
def test_a_camera_of_another_group_is_as_one_that_is_not_there(fleet: StagedHome, path):
    hidden = ask(fleet, GUEST, "GET", f"/cameras/hall{path}")
    absent = ask(fleet, GUEST, "GET", f"/cameras/attic{path}")
    assert hidden[0] == absent[0] == 404
    assert hidden[1]["message"].replace("hall", "attic") == absent[1]["message"]


def test_a_camera_is_put_into_groups_and_taken_out(fleet: StagedHome):
    ask_for(fleet, OWNER, "POST", "/groups", {"name": "front yard"})
    joined = ask_for(fleet, MEMBER, "POST", "/cameras/hall/groups", {"groups": ["front yard", "outside"]})
    assert [group["name"] for group in joined["items"]] == ["front yard", "inside", "outside"]
    assert names(ask_for(fleet, OWNER, "GET", "/groups/front yard/cameras")["items"]) == [HALL]
    assert ask(fleet, MEMBER, "DELETE", "/cameras/hall/groups/front yard") == (204, None)
    assert ask(fleet, MEMBER, "DELETE", "/cameras/hall/groups/front yard") == (204, None)
    listed = list_all(fleet, VIEWER, "/cameras/hall/groups", limit=1)
    assert [group["name"] for group in listed] == ["inside", "outside"]
    assert ask_for(fleet, OWNER, "GET", "/groups/front yard/cameras")["items"] == []


def test_a_viewer_of_a_group_is_not_told_of_the_others(fleet: StagedHome):
    ask_for(fleet, OWNER, "POST", "/cameras/garden/groups", {"groups": ["inside"]})
    assert [group["name"] for group in list_all(fleet, GUEST, "/cameras/garden/groups")] == ["outside"]


def test_a_camera_cannot_be_in_a_group_that_is_not_there(fleet: StagedHome):
    assert problem_of(fleet, OWNER, "POST", "/cameras/hall/groups", {"groups": ["attic"]})[0] == 404
    assert problem_of(fleet, OWNER, "DELETE", "/cameras/hall/groups/attic")[0] == 404


@pytest.mark.parametrize("groups, field", [([], "groups"), (["a/b"], "groups[0]"), (["x"] * 51, "groups")])
def test_groups_that_cannot_be_are_bad_input(fleet: StagedHome, groups, field):
    status, found = problem_of(fleet, OWNER, "POST", "/cameras/hall/groups", {"groups": groups})
    assert (status, (found or "").replace("[...]", "[0]")) == (400, field)


def test_a_camera_is_in_a_bounded_number_of_groups(home: StagedHome):
    add_camera(home, GARDEN, *(f"group {number:02}" for number in range(OF_CAMERA_MAX)))
    ask_for(home, OWNER, "POST", "/groups", {"name": "one too many"})
    assert problem_of(home, OWNER, "POST", "/cameras/garden/groups", {"groups": ["one too many"]})[0] == 409
    ask_for(home, OWNER, "POST", "/cameras/garden/groups", {"groups": ["group 07"]})
    assert len(list_all(home, OWNER, "/cameras/garden/groups", limit=7)) == OF_CAMERA_MAX
