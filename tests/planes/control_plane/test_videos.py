"""Clips: lists with their filters, addresses, stars, and their end."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pinthesky.model.identifiers import MediaKey
from tests.planes.fakes import START_S, out_of_reach
from tests.planes.home import (
    GARDEN,
    GATE,
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
from tests.planes.recordings import add_clip, add_row, add_thumbnail, clip_key, event_id, pushed, video_id

DAY_S = 86_400


def names(items):
    return [(each["thingName"], each["video"]) for each in items]


@pytest.fixture
def recorded(fleet: StagedHome) -> StagedHome:
    """Six clips, two of each camera, an hour apart, the hall's last."""
    for number, thing in enumerate((GARDEN, GATE, HALL, GARDEN, GATE, HALL)):
        add_clip(fleet, thing, START_S - 6 * 3600 + number * 3600, event_id(number))
    return fleet


def of(number: int) -> str:
    return video_id(START_S - 6 * 3600 + number * 3600, event_id(number))


def test_clips_of_all_cameras_come_newest_first_with_all_that_is_known_of_them(recorded):
    listed = list_all(recorded, OWNER, "/videos")
    assert [each["video"] for each in listed] == [of(number) for number in (5, 4, 3, 2, 1, 0)]
    assert listed[0] == {
        "video": of(5),
        "thingName": "hall",
        "startedAt": round(START_S - 3600) * 1000,
        "storedAt": round(START_S) * 1000,
        "durationSeconds": 30.0,
        "size": 5,
        "trigger": "motion",
        "eventId": event_id(5),
        "part": 1,
        "labels": {},
        "tags": [],
        "starred": False,
        "expiresAt": round(START_S + 30 * DAY_S) * 1000,
        "description": "",
        "recovered": False,
        "timeUncertain": False,
        "thumbnailUrl": None,
    }
    assert ask_for(recorded, OWNER, "GET", f"/videos/{of(5)}/cameras/hall") == listed[0]


def test_the_oldest_come_first_when_that_is_asked_for(recorded):
    listed = list_all(recorded, OWNER, "/videos", sortOrder="ascending")
    assert [each["video"] for each in listed] == [of(number) for number in range(6)]
    of_garden = list_all(recorded, OWNER, "/cameras/garden/videos", sortOrder="ascending", limit=1)
    assert [each["video"] for each in of_garden] == [of(0), of(3)]


def test_a_range_of_time_has_both_its_ends(recorded):
    first, last = round(START_S - 5 * 3600) * 1000, round(START_S - 3 * 3600) * 1000
    for path, expected in (("/videos", [3, 2, 1]), ("/cameras/gate/videos", [1])):
        found = list_all(recorded, OWNER, path, startTime=first, endTime=last)
        assert [each["video"] for each in found] == [of(number) for number in expected]
        assert list_all(recorded, OWNER, path, startTime=first + 1, endTime=last - 1) == [
            each for each in found if each["video"] == of(2)
        ]


def test_a_range_that_ends_before_it_begins_is_refused(recorded):
    assert problem_of(recorded, OWNER, "GET", "/videos", startTime=2, endTime=1) == (400, "endTime")


def test_each_filter_leaves_what_it_asks_for_and_they_combine(fleet):
    plain = add_clip(fleet, GARDEN, START_S - 500, event_id(1))
    cat = add_clip(fleet, GARDEN, START_S - 400, event_id(2), labels="cat=0.9,dog=0.5")
    asked = add_clip(fleet, GATE, START_S - 300, event_id(3), trigger="manual")
    part = add_clip(fleet, HALL, START_S - 200, event_id(1), part="2")
    ask_for(fleet, OWNER, "PUT", f"/videos/{cat}/cameras/garden", {"starred": True})
    ask_for(fleet, OWNER, "POST", "/tags", {"name": "pets"})
    ask_for(fleet, OWNER, "POST", f"/videos/{cat}/cameras/garden/tags", {"tags": ["pets"]})
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"camera": "garden"}, [cat, plain]),
        ({"group": "outside"}, [asked, cat, plain]),
        ({"trigger": "manual"}, [asked]),
        ({"label": "cat"}, [cat]),
        ({"label": "horse"}, []),
        ({"starred": "true"}, [cat]),
        ({"starred": "false"}, [part, asked, plain]),
        ({"tag": "pets"}, [cat]),
        ({"eventId": event_id(1)}, [part, plain]),
        ({"camera": "garden", "starred": "true", "label": "dog", "tag": "pets", "group": "outside"}, [cat]),
        ({"camera": "gate", "starred": "true"}, []),
        ({"group": "inside", "tag": "pets"}, []),
    ]
    for query, expected in cases:
        assert [each["video"] for each in list_all(fleet, OWNER, "/videos", limit=1, **query)] == expected, query


@pytest.mark.parametrize(
    "query, field",
    [
        ({"camera": "a/b"}, "camera"),
        ({"trigger": "moon"}, "trigger"),
        ({"starred": "maybe"}, "starred"),
        ({"eventId": "1"}, "eventId"),
        ({"limit": "101"}, "limit"),
        ({"nextToken": "forged"}, "nextToken"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_query_that_cannot_be_used_is_answered_with_its_field(recorded, query, field):
    assert problem_of(recorded, OWNER, "GET", "/videos", **query) == (400, field)


def test_a_token_of_another_list_is_refused(recorded):
    token = ask_for(recorded, OWNER, "GET", "/videos", limit=1)["nextToken"]
    assert problem_of(recorded, OWNER, "GET", "/videos", limit=1, nextToken=token, starred="false")[1] == "nextToken"
    assert problem_of(recorded, OWNER, "GET", "/cameras/garden/videos", nextToken=token)[1] == "nextToken"


def test_a_page_may_have_another_size_than_the_one_before(recorded):
    first = ask_for(recorded, OWNER, "GET", "/videos", limit=1)
    rest = ask_for(recorded, OWNER, "GET", "/videos", limit=100, nextToken=first["nextToken"])
    assert [each["video"] for each in rest["items"]] == [of(number) for number in (4, 3, 2, 1, 0)]
    assert rest["nextToken"] is None


def test_a_filter_that_finds_nothing_reads_a_bounded_number_of_rows_a_page(fleet):
    for number in range(25):
        add_clip(fleet, GARDEN, START_S - 1000 + number, event_id(number))
    page = ask_for(fleet, OWNER, "GET", "/videos", limit=1, label="cat")
    assert page["items"] == []
    assert page["nextToken"] is not None
    assert list_all(fleet, OWNER, "/videos", limit=1, label="cat") == []


def test_a_viewer_of_a_group_sees_its_clips_and_nothing_that_names_another_camera(recorded):
    seen = list_all(recorded, GUEST, "/videos", limit=1)
    assert names(seen) == [("gate", of(4)), ("garden", of(3)), ("gate", of(1)), ("garden", of(0))]
    assert problem_of(recorded, GUEST, "GET", "/videos", camera="hall")[0] == 404
    assert problem_of(recorded, GUEST, "GET", "/videos", group="inside")[0] == 404
    assert problem_of(recorded, GUEST, "GET", "/cameras/hall/videos")[0] == 404
    assert problem_of(recorded, GUEST, "GET", f"/videos/{of(5)}/cameras/hall")[0] == 404
    assert problem_of(recorded, GUEST, "GET", f"/videos/{of(5)}/cameras/hall/url")[0] == 404


def test_a_token_cannot_be_read_for_the_hidden_camera_at_which_its_page_ended(fleet):
    import base64

    for number in range(12):
        add_clip(fleet, HALL, START_S - 100 + number, event_id(number))
    token = ask_for(fleet, GUEST, "GET", "/videos", limit=1)["nextToken"]
    assert b"hall" not in base64.urlsafe_b64decode(token + "==")


def test_no_clip_of_a_group_that_is_not_there(recorded):
    assert problem_of(recorded, OWNER, "GET", "/videos", group="nowhere")[0] == 404


def test_who_has_no_role_gets_nothing(recorded):
    assert ask(recorded, STRANGER, "GET", "/videos")[0] == 403
    assert ask(recorded, None, "GET", "/videos")[0] == 401


def test_a_clip_can_be_fetched_for_some_minutes_from_a_fresh_address(recorded):
    found = ask_for(recorded, VIEWER, "GET", f"/videos/{of(0)}/cameras/garden/url")
    assert found["url"].startswith(f"https://media.test/motion_videos/garden/{of(0)}")
    assert found["expiresAt"] == round(START_S + 900) * 1000
    saved = ask_for(recorded, VIEWER, "GET", f"/videos/{of(0)}/cameras/garden/url", download="true")
    assert saved["url"].endswith("&as=Garden-20270115-020000Z.mp4")


def test_a_clip_of_a_camera_that_is_no_more_keeps_its_name_when_saved(recorded):
    recorded.cameras.remove(GARDEN)
    saved = ask_for(recorded, OWNER, "GET", f"/videos/{of(0)}/cameras/garden/url", download="true")
    assert saved["url"].endswith("&as=garden-20270115-020000Z.mp4")


def test_there_is_no_address_of_what_the_store_has_lost(recorded):
    recorded.media.delete([clip_key(GARDEN, of(0))])
    assert problem_of(recorded, OWNER, "GET", f"/videos/{of(0)}/cameras/garden/url")[0] == 404


def test_a_thumbnail_comes_with_its_clip(recorded):
    key = add_thumbnail(recorded, GARDEN, video_id(START_S - 6 * 3600, event_id(0)))
    found = ask_for(recorded, VIEWER, "GET", f"/videos/{of(0)}/cameras/garden")
    assert found["thumbnailUrl"].startswith(f"https://media.test/{key}")


def test_a_starred_clip_never_expires_and_the_store_keeps_it_with_its_picture(recorded):
    picture = add_thumbnail(recorded, GARDEN, video_id(START_S - 6 * 3600, event_id(0)))
    starred = ask_for(
        recorded, MEMBER, "PUT", f"/videos/{of(0)}/cameras/garden", {"starred": True, "description": "The fox"}
    )
    assert (starred["starred"], starred["expiresAt"], starred["description"]) == (True, None, "The fox")
    assert recorded.media.kept == {clip_key(GARDEN, of(0)), picture}
    recorded.clock.now_s += 100 * DAY_S
    assert [each["video"] for each in list_all(recorded, OWNER, "/videos")] == [of(0)]
    assert [each["video"] for each in list_all(recorded, OWNER, "/videos", starred="true")] == [of(0)]


def test_without_its_star_a_clip_that_is_past_its_time_stays_for_a_day(recorded):
    path = f"/videos/{of(0)}/cameras/garden"
    ask_for(recorded, OWNER, "PUT", path, {"starred": True})
    recorded.clock.now_s += 100 * DAY_S
    changed = ask_for(recorded, OWNER, "PUT", path, {"starred": False})
    assert changed["expiresAt"] == round(START_S + 101 * DAY_S) * 1000
    assert recorded.media.kept == set()
    recorded.clock.now_s += DAY_S + 1
    assert ask(recorded, OWNER, "GET", path)[0] == 404


def test_a_star_that_the_store_cannot_take_is_not_shown(recorded):
    recorded.media.delete([clip_key(GARDEN, of(0))])
    assert problem_of(recorded, OWNER, "PUT", f"/videos/{of(0)}/cameras/garden", {"starred": True})[0] == 404
    assert ask_for(recorded, OWNER, "GET", f"/videos/{of(0)}/cameras/garden")["starred"] is False


def test_a_clip_is_kept_even_if_its_picture_is_gone(recorded):
    picture = add_thumbnail(recorded, GARDEN, video_id(START_S - 6 * 3600, event_id(0)))
    recorded.media.delete([picture])
    ask_for(recorded, OWNER, "PUT", f"/videos/{of(0)}/cameras/garden", {"starred": True})
    assert recorded.media.kept == {clip_key(GARDEN, of(0))}


def test_saying_the_same_again_changes_nothing(recorded):
    path = f"/videos/{of(0)}/cameras/garden"
    first = ask_for(recorded, OWNER, "PUT", path, {"starred": True})
    assert ask_for(recorded, OWNER, "PUT", path, {"starred": True}) == first
    assert ask_for(recorded, OWNER, "PUT", path, {}) == first


def test_what_is_past_its_time_is_hidden_at_once(recorded):
    recorded.clock.now_s += 30 * DAY_S - 1
    assert len(list_all(recorded, OWNER, "/videos")) == 6
    recorded.clock.now_s += 1
    assert list_all(recorded, OWNER, "/videos") == []
    assert list_all(recorded, OWNER, "/cameras/garden/videos") == []
    assert ask(recorded, OWNER, "GET", f"/videos/{of(0)}/cameras/garden")[0] == 404


def test_a_deleted_clip_is_gone_from_every_list_and_so_is_what_was_stored_of_it(recorded):
    path = f"/videos/{of(0)}/cameras/garden"
    add_thumbnail(recorded, GARDEN, video_id(START_S - 6 * 3600, event_id(0)))
    ask_for(recorded, OWNER, "PUT", path, {"starred": True})
    ask_for(recorded, OWNER, "POST", "/tags", {"name": "pets"})
    ask_for(recorded, OWNER, "POST", f"{path}/tags", {"tags": ["pets"]})
    assert ask(recorded, MEMBER, "DELETE", path) == (204, None)
    for list_path in ("/videos", "/cameras/garden/videos", "/tags/pets/videos"):
        assert of(0) not in [each["video"] for each in list_all(recorded, OWNER, list_path)]
    assert list_all(recorded, OWNER, "/videos", starred="true") == []
    assert ask(recorded, OWNER, "GET", path)[0] == 404
    assert not [key for key in recorded.media.stored if of(0)[:43] in key]
    assert [each.video for each in pushed(recorded, "clip_deleted")] == [of(0)]
    assert ask(recorded, OWNER, "DELETE", path)[0] == 404


def test_a_clip_whose_store_cannot_be_reached_is_gone_all_the_same_and_its_media_follow(recorded, monkeypatch):
    from pinthesky.planes import retention
    from pinthesky.planes.ingest import media_events

    key = clip_key(GARDEN, of(0))
    with monkeypatch.context() as broken:
        broken.setattr(recorded.media, "delete", out_of_reach)
        assert ask(recorded, OWNER, "DELETE", f"/videos/{of(0)}/cameras/garden")[0] == 204
        assert retention.sweep(recorded, recorded.clock()).failed == []
    media_events.stored(recorded, key, recorded.clock())
    assert ask(recorded, OWNER, "GET", f"/videos/{of(0)}/cameras/garden")[0] == 404
    retention.sweep(recorded, recorded.clock())
    assert key not in recorded.media.stored
    assert list(recorded.clips.marked()) == []


def test_only_who_may_operate_stars_and_deletes(recorded):
    path = f"/videos/{of(0)}/cameras/garden"
    for person in (VIEWER, GUEST):
        assert ask(recorded, person, "PUT", path, {"starred": True})[0] == 403
        assert ask(recorded, person, "DELETE", path)[0] == 403


@pytest.mark.parametrize(
    "body, field",
    [({"starred": "yes"}, "starred"), ({"description": "x" * 1001}, "description"), ({"tags": []}, "tags")],
)
def test_a_change_that_cannot_be_made_is_answered_with_its_field(recorded, body, field):
    assert problem_of(recorded, OWNER, "PUT", f"/videos/{of(0)}/cameras/garden", body) == (400, field)


@pytest.mark.parametrize("video", ["..", "1800000000.motion.mp4/..", "x.motion.mp4", "%2e%2e", "1800000000.motion.avi"])
def test_what_is_no_name_of_a_clip_leads_nowhere(recorded, video):
    assert ask(recorded, OWNER, "GET", f"/videos/{video}/cameras/garden")[0] in (400, 404)


def test_pages_neither_skip_nor_repeat_a_clip_that_stays_while_others_come_and_go(fleet):
    chance = random.Random(7)
    things = (GARDEN, GATE, HALL)
    staying: list[tuple[str, str]] = []
    going: list[tuple[str, str]] = []
    for number in range(1000):
        thing = chance.choice(things)
        video = add_row(fleet, thing, START_S - 10_000 + number * 10, event_id(number))
        (going if number % 5 == 0 else staying).append((str(thing), str(video)))
    fresh = iter(range(2000, 3000))
    for path, limit in (("/videos", 37), ("/cameras/garden/videos", 11)):
        expected = [each for each in reversed(staying) if path == "/videos" or each[0] == "garden"]
        listed: list[tuple[str, str]] = []
        token: dict[str, str] = {}
        while True:
            page = ask_for(fleet, OWNER, "GET", path, limit=limit, **token)
            listed += names(page["items"])
            for _ in range(4):
                add_row(fleet, chance.choice(things), START_S - chance.randrange(10_000), event_id(next(fresh)))
            for _ in range(min(2, len(going))):
                camera, name = going.pop(chance.randrange(len(going)))
                ask_for(fleet, OWNER, "DELETE", f"/videos/{name}/cameras/{camera}")
            if page["nextToken"] is None:
                break
            token = {"nextToken": page["nextToken"]}
        assert [each for each in listed if each in set(expected)] == expected
        assert len(set(listed)) == len(listed)


def test_the_media_keys_of_a_clip_are_of_its_own_camera(recorded):
    clip = recorded.clips.get(GARDEN, video_id(START_S - 6 * 3600, event_id(0)))
    assert clip.keys() == [MediaKey(f"motion_videos/garden/{of(0)}")]
