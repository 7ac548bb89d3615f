"""Shared clips: links that anybody may open for a while."""

from __future__ import annotations

import json

import pytest

from tests.planes.fakes import START_S
from tests.planes.home import (
    GARDEN,
    GUEST,
    HALL,
    MEMBER,
    NOBODY,
    OWNER,
    VIEWER,
    StagedHome,
    ask,
    ask_for,
    list_all,
    problem_of,
)
from tests.planes.recordings import add_clip, add_thumbnail, clip_key, event_id

DAY_S = 86_400
NOTHING = "there is nothing here, or not any more"


@pytest.fixture
def shared(fleet: StagedHome) -> tuple[StagedHome, str, dict]:
    """A clip of the hall that was shared for a day."""
    video = add_clip(fleet, HALL, START_S - 100, event_id(1))
    share = ask_for(fleet, MEMBER, "POST", f"/videos/{video}/cameras/hall/share", {"note": "for the insurance"})
    return fleet, video, share


def path_of(share: dict) -> str:
    assert share["url"].startswith("https://home.test/share/")
    return share["url"].removeprefix("https://home.test")


def test_whoever_has_the_link_sees_the_clip_and_of_its_camera_only_the_name(shared):
    home, video, share = shared
    picture = add_thumbnail(home, HALL, home.clips.get(HALL, video).video)
    opened = ask_for(home, NOBODY, "GET", path_of(share))
    assert opened == {
        "cameraName": "Hall",
        "startedAt": round(START_S - 100) * 1000,
        "durationSeconds": 30.0,
        "url": f"https://media.test/{clip_key(HALL, video)}?until={round(START_S) + 600}",
        "thumbnailUrl": f"https://media.test/{picture}?until={round(START_S) + 600}",
        "expiresAt": round(START_S + DAY_S) * 1000,
    }
    home.clock.now_s += 60
    assert ask_for(home, NOBODY, "GET", path_of(share))["url"] != opened["url"]


def test_a_link_of_a_camera_that_is_no_more_still_shows_its_clip(shared):
    home, _, share = shared
    home.cameras.remove(HALL)
    assert ask_for(home, NOBODY, "GET", path_of(share))["cameraName"] == ""


def test_a_link_ends_at_its_time(shared):
    home, _, share = shared
    home.clock.now_s += DAY_S
    status, problem = ask(home, NOBODY, "GET", path_of(share))
    assert (status, problem["message"]) == (404, NOTHING)


def test_a_revoked_link_ends_at_once(shared):
    home, _, share = shared
    assert ask(home, MEMBER, "DELETE", f"/shares/{share['id']}") == (204, None)
    assert ask(home, NOBODY, "GET", path_of(share))[1]["message"] == NOTHING
    assert ask(home, MEMBER, "DELETE", f"/shares/{share['id']}")[0] == 404


@pytest.mark.parametrize("lost", ["row", "object"])
def test_a_link_ends_with_its_clip(shared, lost):
    home, video, share = shared
    if lost == "row":
        ask(home, OWNER, "DELETE", f"/videos/{video}/cameras/hall")
    else:
        home.media.delete([clip_key(HALL, video)])
    assert ask(home, NOBODY, "GET", path_of(share))[1]["message"] == NOTHING


def test_a_link_that_was_not_made_here_opens_nothing(shared):
    home, _, share = shared
    token = path_of(share).removeprefix("/share/")
    forged = token[:-1] + ("A" if token[-1] != "A" else "B")
    other = ("A" if token[0] != "A" else "B") + token[1:]
    for wrong in (forged, other, share["id"] + "A" * 24):
        assert ask(home, NOBODY, "GET", f"/share/{wrong}")[1]["message"] == NOTHING
    assert problem_of(home, NOBODY, "GET", f"/share/{share['id']}") == (400, "token")
    other_home_token = type(home.shares)(home.table, b"another secret").token(home.shares.page(limit=1).rows[0].id)
    assert ask(home, NOBODY, "GET", f"/share/{other_home_token}")[0] == 404


def test_shares_can_be_listed_of_one_clip_and_of_all(shared):
    home, video, share = shared
    other = add_clip(home, GARDEN, START_S - 50, event_id(2))
    again = ask_for(home, OWNER, "POST", f"/videos/{other}/cameras/garden/share", {"expiresInSeconds": 60})
    assert list_all(home, OWNER, f"/videos/{video}/cameras/hall/share", limit=1) == [share]
    assert share["createdBy"] == "max"
    assert share["note"] == "for the insurance"
    listed = list_all(home, MEMBER, "/shares", limit=1)
    assert sorted(each["id"] for each in listed) == sorted([share["id"], again["id"]])
    home.clock.now_s += 61
    assert [each["id"] for each in list_all(home, MEMBER, "/shares")] == [share["id"]]


def test_a_link_is_nowhere_in_the_records(shared):
    home, _, share = shared
    token = path_of(share).removeprefix("/share/")
    records = home.table.query("share").records
    assert token[16:] not in json.dumps([record.content.decode() for record in records])


def test_only_who_may_operate_shares_and_only_what_they_see(shared):
    home, video, share = shared
    for person in (VIEWER, GUEST):
        assert ask(home, person, "POST", f"/videos/{video}/cameras/hall/share", {})[0] == 403
        assert ask(home, person, "GET", "/shares")[0] == 403
        assert ask(home, person, "DELETE", f"/shares/{share['id']}")[0] == 403
    gone = f"/videos/{video.replace('1', '2')}/cameras/hall/share"
    assert ask(home, OWNER, "POST", gone, {})[0] == 404
    assert ask(home, OWNER, "GET", gone)[0] == 404


def test_a_member_of_some_groups_neither_lists_nor_revokes_shares_of_others(shared):
    from dataclasses import replace

    home, _, share = shared
    limited = replace(MEMBER, groups=frozenset({"outside"}))
    assert list_all(home, limited, "/shares") == []
    assert ask(home, limited, "DELETE", f"/shares/{share['id']}")[0] == 404


@pytest.mark.parametrize(
    "body, field",
    [({"expiresInSeconds": 59}, "expiresInSeconds"), ({"expiresInSeconds": 31 * DAY_S}, "expiresInSeconds")],
)
def test_a_share_holds_for_a_minute_to_a_month(shared, body, field):
    home, video, _ = shared
    assert problem_of(home, OWNER, "POST", f"/videos/{video}/cameras/hall/share", body) == (400, field)
