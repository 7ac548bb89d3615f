"""Groups of cameras, and locations with their time zone."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

import pytest

from pinthesky.model.identifiers import GroupName
from tests.planes.home import (
    GARDEN,
    GATE,
    GUEST,
    HALL,
    MEMBER,
    OWNER,
    VIEWER,
    StagedHome,
    ask,
    ask_for,
    list_all,
    problem_of,
)


def names(items: list[dict[str, object]], field: str = "name") -> list[object]:
    return [item[field] for item in items]


def test_a_group_is_made_described_and_removed(fleet: StagedHome):
    made = ask_for(fleet, MEMBER, "POST", "/groups", {"name": "Front yard", "description": "to the street"})
    assert made == ask_for(fleet, VIEWER, "GET", "/groups/Front yard")
    assert made == {
        "name": "Front yard",
        "createdAt": fleet.clock.now_ms,
        "type": "group",
        "description": "to the street",
        "timeZone": "",
    }
    changed = ask_for(fleet, MEMBER, "PUT", "/groups/Front yard", {"description": ""})
    assert changed == {**made, "description": ""}
    assert ask(fleet, MEMBER, "DELETE", "/groups/Front yard") == (204, None)
    assert problem_of(fleet, OWNER, "GET", "/groups/Front yard")[0] == 404


def test_a_name_is_given_once(fleet: StagedHome):
    assert problem_of(fleet, OWNER, "POST", "/groups", {"name": "outside"})[0] == 409


def test_names_that_look_the_same_are_the_same(home: StagedHome):
    composed, apart = (unicodedata.normalize(form, "Gärten") for form in ("NFC", "NFD"))
    assert ask_for(home, OWNER, "POST", "/groups", {"name": apart})["name"] == composed
    assert problem_of(home, OWNER, "POST", "/groups", {"name": composed})[0] == 409
    assert ask_for(home, OWNER, "GET", f"/groups/{apart}")["name"] == composed


@pytest.mark.parametrize("name", ["", " a", "a ", "a/b", "..", "a,b", "a\nb", "x\u202ey", "x" * 61, "a#b", "\ud800"])
def test_a_name_that_cannot_be_shown_or_sent_is_refused(home: StagedHome, name):
    assert problem_of(home, OWNER, "POST", "/groups", {"name": name})[0] == 400


@pytest.mark.parametrize("path", [quote("a/b", safe=""), "..", "a#b"])
def test_no_path_leads_out_of_the_groups(fleet: StagedHome, path):
    assert problem_of(fleet, OWNER, "GET", f"/groups/{path}") == (400, "name")


def test_a_location_has_a_time_zone(home: StagedHome):
    body = {"name": "cabin", "type": "location", "timeZone": "Europe/Zurich"}
    assert ask_for(home, OWNER, "POST", "/groups", body)["timeZone"] == "Europe/Zurich"
    assert ask_for(home, OWNER, "PUT", "/groups/cabin", {"timeZone": "UTC"})["timeZone"] == "UTC"
    assert ask_for(home, OWNER, "PUT", "/groups/cabin", {"type": "group"})["timeZone"] == ""
    assert problem_of(home, OWNER, "PUT", "/groups/cabin", {"type": "location"}) == (400, "timeZone")


@pytest.mark.parametrize(
    "body, field",
    [
        ({"type": "location"}, "timeZone"),
        ({"type": "location", "timeZone": "Mars/Olympus"}, "timeZone"),
        ({"type": "location", "timeZone": "../../etc/passwd"}, "timeZone"),
        ({"type": "location", "timeZone": "x" * 41}, "timeZone"),
        ({"type": "group", "timeZone": "UTC"}, "timeZone"),
        ({"type": "area"}, "type"),
        ({"description": "x" * 1001}, "description"),
        ({"cameras": []}, "cameras"),
    ],
)
def test_a_group_names_the_field_that_is_wrong(fleet: StagedHome, body, field):
    assert problem_of(fleet, OWNER, "POST", "/groups", {"name": "cabin", **body}) == (400, field)
    assert problem_of(fleet, OWNER, "PUT", "/groups/outside", body) == (400, field)


def test_a_camera_is_at_its_locations_and_no_other_group_is_a_place(fleet: StagedHome):
    def zones() -> list[str]:
        return [each.time_zone for each in fleet.groups.locations(fleet.groups.names_of(GARDEN))]

    assert zones() == []
    for name, zone in (("north", "Europe/Oslo"), ("a cabin", "Asia/Tokyo")):
        ask_for(fleet, OWNER, "POST", "/groups", {"name": name, "type": "location", "timeZone": zone})
    ask_for(fleet, OWNER, "POST", "/cameras/garden/groups", {"groups": ["north"]})
    assert zones() == ["Europe/Oslo"]
    ask_for(fleet, OWNER, "POST", "/cameras/garden/groups", {"groups": ["a cabin"]})
    assert zones() == ["Asia/Tokyo", "Europe/Oslo"]


def test_groups_are_listed_by_name_and_a_viewer_sees_the_own_alone(fleet: StagedHome):
    ask_for(fleet, OWNER, "POST", "/groups", {"name": "attic"})
    assert names(list_all(fleet, OWNER, "/groups", limit=1)) == ["attic", "inside", "outside"]
    assert names(list_all(fleet, GUEST, "/groups", limit=1)) == ["outside"]


@pytest.mark.parametrize("path", ["", "/cameras"])
def test_a_group_of_others_is_as_one_that_is_not_there(fleet: StagedHome, path):
    hidden, absent = (ask(fleet, GUEST, "GET", f"/groups/{name}{path}") for name in ("inside", "attic"))
    assert hidden[0] == absent[0] == 404
    assert hidden[1]["message"].replace("inside", "attic") == absent[1]["message"]


def test_cameras_are_put_into_a_group_and_taken_out(fleet: StagedHome):
    joined = ask_for(fleet, MEMBER, "POST", "/groups/inside/cameras", {"cameras": ["garden", "gate"]})
    assert names(joined["items"], "thingName") == [GARDEN, GATE]
    members = list_all(fleet, VIEWER, "/groups/inside/cameras", limit=2)
    assert names(members, "thingName") == [GARDEN, GATE, HALL]
    assert ask(fleet, MEMBER, "DELETE", "/groups/inside/cameras/garden") == (204, None)
    assert names(list_all(fleet, VIEWER, "/groups/inside/cameras"), "thingName") == [GATE, HALL]
    assert names(list_all(fleet, OWNER, "/cameras/garden/groups")) == ["outside"]


def test_of_several_cameras_all_or_none_join(fleet: StagedHome):
    body = {"cameras": ["garden", "attic"]}
    assert problem_of(fleet, OWNER, "POST", "/groups/inside/cameras", body) == (400, "cameras")
    assert names(list_all(fleet, OWNER, "/groups/inside/cameras"), "thingName") == [HALL]


@pytest.mark.parametrize("cameras", [[], ["garden"] * 101, "garden"])
def test_cameras_that_cannot_join_are_bad_input(fleet: StagedHome, cameras):
    assert problem_of(fleet, OWNER, "POST", "/groups/inside/cameras", {"cameras": cameras}) == (400, "cameras")


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("GET", "", None),
        ("PUT", "", {}),
        ("DELETE", "", None),
        ("GET", "/cameras", None),
        ("POST", "/cameras", {"cameras": ["garden"]}),
        ("DELETE", "/cameras/garden", None),
    ],
)
def test_a_group_that_is_not_there_is_not_found(fleet: StagedHome, method, path, body):
    assert problem_of(fleet, OWNER, method, f"/groups/attic{path}", body)[0] == 404


def test_the_cameras_of_a_group_that_goes_stay(fleet: StagedHome):
    ask_for(fleet, OWNER, "DELETE", "/groups/outside")
    assert names(list_all(fleet, OWNER, "/cameras"), "thingName") == [GARDEN, GATE, HALL]
    assert list_all(fleet, OWNER, "/cameras/garden/groups") == []
    assert list_all(fleet, GUEST, "/cameras") == []
    ask_for(fleet, OWNER, "POST", "/groups", {"name": "outside"})
    assert list_all(fleet, OWNER, "/groups/outside/cameras") == []


def test_a_group_that_goes_while_a_camera_joins_leaves_nothing_behind(fleet: StagedHome, monkeypatch):
    join = fleet.table.write

    def removed_just_before(*changes):
        monkeypatch.undo()
        fleet.groups.remove(GroupName("outside"))
        return join(*changes)

    monkeypatch.setattr(fleet.table, "write", removed_just_before)
    assert problem_of(fleet, OWNER, "POST", "/groups/outside/cameras", {"cameras": ["hall"]})[0] == 404
    assert names(list_all(fleet, OWNER, "/cameras/hall/groups")) == ["inside"]
