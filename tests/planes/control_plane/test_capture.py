"""A still or a clip that somebody asks for."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from pinthesky.planes.ingest import device_events
from tests.planes.fakes import out_of_reach
from tests.planes.home import GARDEN, GUEST, MEMBER, OWNER, STRANGER, VIEWER, StagedHome, ask, ask_for, problem_of

STILL = "capture_images/garden/thumbnail_latest.jpg"
PATH = "/cameras/garden/captureImage"


def test_a_still_is_asked_for_under_a_fresh_id(fleet: StagedHome):
    asked = [ask_for(fleet, GUEST, "POST", PATH) for _ in range(2)]
    assert asked[0]["captureId"] != asked[1]["captureId"]
    assert (asked[0]["requestedAt"], asked[0]["online"]) == (fleet.clock.now_ms, False)
    assert fleet.commands.sent == [
        (
            GARDEN,
            {
                "name": "capture_image",
                "context": {"capture_id": each["captureId"], "file_name": "thumbnail_latest.jpg"},
            },
        )
        for each in asked
    ]


def test_the_answer_to_a_request_is_202(fleet: StagedHome):
    assert ask(fleet, VIEWER, "POST", PATH)[0] == 202
    assert ask(fleet, OWNER, "POST", "/cameras/garden/captureVideo", {})[0] == 202


def test_there_is_no_still_before_the_first(fleet: StagedHome):
    assert ask_for(fleet, VIEWER, "GET", PATH) == {
        "thingName": "garden",
        "capturedAt": None,
        "size": None,
        "captureId": "",
        "requestedAt": None,
        "pending": False,
        "error": "",
    }
    assert problem_of(fleet, VIEWER, "GET", f"{PATH}/url")[0] == 404


def test_a_still_is_pending_until_it_is_stored(fleet: StagedHome):
    fleet.media.store(STILL, b"before", "image/jpeg")
    fleet.clock.now_s += 10
    asked = ask_for(fleet, VIEWER, "POST", PATH)
    state = ask_for(fleet, VIEWER, "GET", PATH)
    assert (state["pending"], state["captureId"], state["requestedAt"]) == (
        True,
        asked["captureId"],
        asked["requestedAt"],
    )
    fleet.clock.now_s += 2
    fleet.media.store(STILL, b"a still", "image/jpeg")
    state = ask_for(fleet, VIEWER, "GET", PATH)
    assert (state["pending"], state["size"], state["capturedAt"]) == (False, 7, fleet.clock.now_ms)


def say(home: StagedHome, capture_id: str, **more: object) -> None:
    """What a camera says of a still that it was asked for."""
    event = {"name": "capture_image_end", "timestamp": home.clock(), "capture_id": capture_id, **more}
    device_events.received(home, GARDEN, json.dumps(event).encode(), now_s=home.clock())


def say_failed(home: StagedHome, capture_id: str, error: str = "the camera is closed") -> None:
    say(home, capture_id, error=error)


def test_a_still_is_no_longer_pending_when_the_camera_says_so_though_its_store_knows_whole_seconds_only(
    fleet: StagedHome,
):
    fleet.clock.now_s = int(fleet.clock.now_s) + 0.25
    asked = ask_for(fleet, VIEWER, "POST", PATH)
    fleet.clock.now_s -= 0.25
    fleet.media.store(STILL, b"a still", "image/jpeg")
    fleet.clock.now_s += 0.5
    assert ask_for(fleet, VIEWER, "GET", PATH)["pending"] is True
    say(fleet, "another", upload={"bucket_name": "b", "bucket_key": str(STILL)})
    assert ask_for(fleet, VIEWER, "GET", PATH)["pending"] is True
    say(fleet, asked["captureId"], upload={"bucket_name": "b", "bucket_key": str(STILL)})
    assert ask_for(fleet, VIEWER, "GET", PATH)["pending"] is False


def test_a_still_that_could_not_be_taken_says_why_until_the_next(fleet: StagedHome):
    first = ask_for(fleet, VIEWER, "POST", PATH)
    say_failed(fleet, first["captureId"])
    state = ask_for(fleet, VIEWER, "GET", PATH)
    assert (state["pending"], state["error"]) == (False, "the camera is closed")
    ask_for(fleet, VIEWER, "POST", PATH)
    say_failed(fleet, first["captureId"])
    state = ask_for(fleet, VIEWER, "GET", PATH)
    assert (state["pending"], state["error"]) == (True, "")


def test_the_latest_picture_may_be_the_thumbnail_of_a_clip(fleet: StagedHome):
    fleet.media.store(STILL, b"before", "image/jpeg")
    thumbnail = fleet.media.store("motion_videos/garden/1.motion.jpg", b"thumbnail", "image/jpeg")
    fleet.cameras.change(GARDEN, lambda camera: replace(camera, still_key=thumbnail, still_at=1_799_999_999_000))
    state = ask_for(fleet, VIEWER, "GET", PATH)
    assert (state["size"], state["capturedAt"]) == (9, 1_799_999_999_000)
    assert thumbnail in ask_for(fleet, VIEWER, "GET", f"{PATH}/url")["url"]
    assert thumbnail in ask_for(fleet, VIEWER, "GET", "/cameras/garden")["stillUrl"]
    fleet.media.delete([thumbnail])
    assert problem_of(fleet, VIEWER, "GET", f"{PATH}/url")[0] == 404


def test_the_address_of_a_still_holds_good_for_minutes(fleet: StagedHome):
    fleet.media.store(STILL, b"a still", "image/jpeg")
    answer = ask_for(fleet, GUEST, "GET", f"{PATH}/url")
    assert STILL in answer["url"]
    assert answer["expiresAt"] == fleet.clock.now_ms + 15 * 60_000


@pytest.mark.parametrize("seconds", [1, 300])
def test_a_clip_is_asked_for_with_its_length(fleet: StagedHome, seconds):
    asked = ask_for(fleet, MEMBER, "POST", "/cameras/garden/captureVideo", {"durationInSeconds": seconds})
    ((thing, command),) = fleet.commands.sent
    assert thing == GARDEN
    assert command == {
        "name": "capture_video",
        "context": {"capture_id": asked["captureId"], "duration": seconds},
    }


def test_a_clip_lasts_half_a_minute_unless_it_is_said_otherwise(fleet: StagedHome):
    ask_for(fleet, MEMBER, "POST", "/cameras/garden/captureVideo", {})
    assert fleet.commands.sent[0][1]["context"]["duration"] == 30


@pytest.mark.parametrize(
    "body, field",
    [
        ({"durationInSeconds": 0}, "durationInSeconds"),
        ({"durationInSeconds": 301}, "durationInSeconds"),
        ({"durationInSeconds": "ten"}, "durationInSeconds"),
        ({"fileName": "../x"}, "fileName"),
        (None, "body"),
    ],
)
def test_a_length_that_cannot_be_is_bad_input(fleet: StagedHome, body, field):
    assert problem_of(fleet, OWNER, "POST", "/cameras/garden/captureVideo", body) == (400, field)
    assert fleet.commands.sent == []


@pytest.mark.parametrize("person, status", [(VIEWER, 403), (GUEST, 403), (STRANGER, 403), (None, 401)])
def test_who_may_only_watch_records_nothing(fleet: StagedHome, person, status):
    assert problem_of(fleet, person, "POST", "/cameras/garden/captureVideo", {})[0] == status


def test_a_command_that_cannot_be_sent_is_told(fleet: StagedHome, monkeypatch):
    monkeypatch.setattr(fleet.commands, "send", out_of_reach)
    assert problem_of(fleet, OWNER, "POST", PATH)[0] == 500
