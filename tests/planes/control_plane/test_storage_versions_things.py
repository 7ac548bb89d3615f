"""What is stored, what can be installed, and what is registered and no camera yet."""

from __future__ import annotations

import pytest

from pinthesky.model.identifiers import ThingName
from pinthesky.planes.ports import Release
from tests.planes.fakes import out_of_reach
from tests.planes.home import (
    GATE,
    GUEST,
    MEMBER,
    OWNER,
    VIEWER,
    StagedHome,
    add_camera,
    ask_for,
    list_all,
    problem_of,
)


def test_people_who_see_everything_are_told_how_much_is_stored(fleet: StagedHome):
    fleet.media.store("motion_videos/garden/a.mp4", b"12345")
    fleet.media.limit_bytes = 100
    assert ask_for(fleet, VIEWER, "GET", "/storage/info") == {
        "usage": {"objects": 1, "bytes": 5, "limitBytes": 100, "freeBytes": 95},
        "clipsDays": 30,
        "stillsDays": 30,
        "healthDays": 90,
    }


def test_a_viewer_of_a_group_is_not_told_what_others_store(fleet: StagedHome):
    fleet.media.store("motion_videos/hall/a.mp4", b"12345")
    assert ask_for(fleet, GUEST, "GET", "/storage/info")["usage"] is None


def test_storage_that_cannot_be_reached_is_an_error_without_details(fleet: StagedHome, monkeypatch):
    monkeypatch.setattr(fleet.media, "usage", out_of_reach)
    assert problem_of(fleet, OWNER, "GET", "/storage/info")[0] == 500


def release(version: str) -> Release:
    return Release(version, f"https://releases.test/{version}.whl", "ab" * 32, "2026-11-01")


def test_releases_are_listed_the_newest_first_and_the_latest_is_marked(home: StagedHome):
    home.releases.releases = [release(version) for version in ("1.2.0", "1.10.0", "1.1.0")]
    versions = list_all(home, GUEST, "/versions", limit=2)
    assert [(each["version"], each["latest"]) for each in versions] == [
        ("1.2.0", True),
        ("1.10.0", False),
        ("1.1.0", False),
    ]
    assert versions[0] == {
        "version": "1.2.0",
        "wheelUrl": "https://releases.test/1.2.0.whl",
        "sha256": "ab" * 32,
        "releasedAt": "2026-11-01",
        "latest": True,
    }


def test_a_release_that_comes_out_between_two_pages_repeats_none(home: StagedHome):
    home.releases.releases = [release(version) for version in ("1.2", "1.1", "1.0")]
    token = ask_for(home, OWNER, "GET", "/versions", limit=1)["nextToken"]
    home.releases.releases.insert(0, release("1.3"))
    page = ask_for(home, OWNER, "GET", "/versions", nextToken=token)
    assert [each["version"] for each in page["items"]] == ["1.1", "1.0"]
    home.releases.releases.clear()
    assert ask_for(home, OWNER, "GET", "/versions", nextToken=token)["items"] == []


def test_a_home_without_releases_lists_none(home: StagedHome):
    assert ask_for(home, OWNER, "GET", "/versions") == {"items": [], "nextToken": None}


def test_things_that_are_no_cameras_yet_are_listed(home: StagedHome):
    for number in range(250):
        home.things.registered[ThingName(f"thing-{number:03}")] = ""
    for number in range(0, 250, 2):
        add_camera(home, ThingName(f"thing-{number:03}"))
    assert list_all(home, MEMBER, "/iot/groups") == [{"name": "cameras"}]
    found = list_all(home, MEMBER, "/iot/groups/cameras/things", limit=50)
    assert [each["thingName"] for each in found] == [f"thing-{number:03}" for number in range(1, 250, 2)]


def test_a_thing_that_becomes_a_camera_leaves_the_list(fleet: StagedHome):
    assert list_all(fleet, OWNER, "/iot/groups/cameras/things") == []
    fleet.cameras.remove(GATE)
    assert list_all(fleet, OWNER, "/iot/groups/cameras/things") == [{"thingName": "gate"}]
    add_camera(fleet, GATE)
    assert list_all(fleet, OWNER, "/iot/groups/cameras/things") == []


@pytest.mark.parametrize("name, status", [("attic", 404), ("a b", 400)])
def test_a_group_of_things_that_is_not_there_is_not_found(home: StagedHome, name, status):
    assert problem_of(home, OWNER, "GET", f"/iot/groups/{name}/things")[0] == status


@pytest.mark.parametrize("path", ["/iot/groups", "/iot/groups/cameras/things"])
@pytest.mark.parametrize("person", [VIEWER, GUEST])
def test_a_viewer_is_not_told_of_things(fleet: StagedHome, path, person):
    assert problem_of(fleet, person, "GET", path)[0] == 403
