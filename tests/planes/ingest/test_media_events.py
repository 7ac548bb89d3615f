"""Objects that were stored or removed: clips, thumbnails, stills and bare streams."""

from __future__ import annotations

import pytest

from pinthesky.model.identifiers import MediaKey, ThingName
from pinthesky.planes.ingest import media_events
from pinthesky.planes.records.clips import VideoId
from tests.planes.fakes import START_S
from tests.planes.home import GARDEN, OWNER, StagedHome, ask_for
from tests.planes.recordings import (
    add_clip,
    add_thumbnail,
    clip_key,
    event_id,
    pushed,
    say_motion,
    store_clip,
    video_id,
)

EVENT = event_id(1)
AT_S = START_S - 60


def stored(home: StagedHome, key: str) -> None:
    media_events.stored(home, key, home.clock())


def removed(home: StagedHome, key: str) -> None:
    media_events.removed(home, key, home.clock())


def videos(home: StagedHome):
    return [each["video"] for each in ask_for(home, OWNER, "GET", "/videos")["items"]]


def test_a_clip_becomes_one_row_and_one_push_however_often_it_is_told(fleet):
    video = add_clip(fleet, GARDEN, AT_S, EVENT, part="2", labels="person=0.91,car=0.4", recovered="true")
    for _ in range(2):
        stored(fleet, clip_key(GARDEN, video))
    clip = fleet.clips.get(GARDEN, video)
    assert (clip.started_at, clip.duration_seconds, clip.part, clip.recovered) == (round(AT_S * 1000), 30.0, 2, True)
    assert clip.labels == {"person": 0.91, "car": 0.4}
    (told,) = pushed(fleet, "clip_stored")
    assert (told.video, told.event_id, told.part, told.labels) == (video, EVENT, 2, {"person": 0.91, "car": 0.4})
    assert fleet.cameras.get(GARDEN).last_motion_at == round(AT_S * 1000)


def test_a_clip_that_was_asked_for_is_no_motion(fleet):
    add_clip(fleet, GARDEN, AT_S, EVENT, trigger="manual")
    assert fleet.cameras.get(GARDEN).last_motion_at is None
    assert ask_for(fleet, OWNER, "GET", "/videos")["items"][0]["trigger"] == "manual"


@pytest.mark.parametrize(
    "said",
    [
        {"start": "1e999", "duration": "nan", "part": "-3", "labels": "=,==,a=b", "trigger": "moon"},
        {"start": "9" * 400, "duration": "inf", "part": "x", "labels": "," * 5000},
        {"start": "0", "duration": "-1", "part": "", "labels": "\u0000=1"},
    ],
)
def test_metadata_that_makes_no_sense_is_left_out(fleet, said):
    clip = fleet.clips.get(GARDEN, add_clip(fleet, GARDEN, AT_S, EVENT, **said))
    assert (clip.started_at, clip.duration_seconds, clip.part, clip.trigger) == (round(AT_S) * 1000, 0.0, 1, "motion")
    assert set(clip.labels) <= {"_"}


def test_durations_and_parts_are_bounded(fleet):
    clip = fleet.clips.get(GARDEN, add_clip(fleet, GARDEN, AT_S, EVENT, duration="999999999", part="999999999"))
    assert (clip.duration_seconds, clip.part) == (media_events.DURATION_MAX_S, media_events.PART_MAX)


@pytest.mark.parametrize(
    "key",
    [
        "motion_videos/garden/.probe",
        "motion_videos/garden/.1799999940.motion.mp4",
        "motion_videos/garden/holiday.mp4",
        "motion_videos/garden/sub/1799999940.motion.mp4",
        "motion_videos/gar den/1799999940.motion.mp4",
        "motion_videos/1799999940.motion.mp4",
        "elsewhere/garden/1799999940.motion.mp4",
        "capture_images/garden/.probe",
        "motion_videos_converted_images/garden/holiday.jpg",
        "",
    ],
)
def test_probes_and_what_is_no_recording_are_ignored(fleet, key):
    stored(fleet, key)
    removed(fleet, key)
    assert pushed(fleet) == []


def test_news_of_what_is_gone_again_makes_no_row(fleet):
    stored(fleet, clip_key(GARDEN, video_id(AT_S, EVENT)))
    assert videos(fleet) == []


def test_a_clip_that_is_past_its_time_already_is_not_shown(fleet):
    video = store_clip(fleet, GARDEN, AT_S, EVENT)
    fleet.clock.now_s += 31 * 86_400
    stored(fleet, clip_key(GARDEN, video))
    assert videos(fleet) == []


def test_an_object_that_is_kept_for_ever_makes_a_starred_row(fleet):
    video = store_clip(fleet, GARDEN, AT_S, EVENT)
    fleet.media.keep(clip_key(GARDEN, video), kept=True)
    stored(fleet, clip_key(GARDEN, video))
    assert [each["video"] for each in ask_for(fleet, OWNER, "GET", "/videos", starred="true")["items"]] == [video]


@pytest.mark.parametrize("first", ["clip", "thumbnail"])
def test_a_thumbnail_finds_its_clip_whichever_comes_first(fleet, first):
    video = store_clip(fleet, GARDEN, AT_S, EVENT)
    if first == "clip":
        stored(fleet, clip_key(GARDEN, video))
        picture = add_thumbnail(fleet, GARDEN, video)
    else:
        picture = add_thumbnail(fleet, GARDEN, video)
        stored(fleet, clip_key(GARDEN, video))
    stored(fleet, picture)
    assert fleet.clips.get(GARDEN, video).thumbnail_key == picture
    assert fleet.cameras.get(GARDEN).still_key == picture
    (told,) = pushed(fleet, "still_captured")
    assert (told.event_id, told.video) == (EVENT, video)


def test_a_thumbnail_in_the_older_place_is_read_and_one_beside_the_clip_wins(fleet):
    video = add_clip(fleet, GARDEN, AT_S)
    older = fleet.media.store(
        f"motion_videos_converted_images/garden/{int(AT_S)}.motion.h264.jpg", b"old", "image/jpeg"
    )
    stored(fleet, older)
    assert fleet.clips.get(GARDEN, video).thumbnail_key == older
    beside = add_thumbnail(fleet, GARDEN, video)
    stored(fleet, older)
    assert fleet.clips.get(GARDEN, video).thumbnail_key == beside


def test_the_latest_still_is_the_face_of_its_camera(fleet):
    for name, wait_s in (("first.jpg", 0), ("thumbnail_latest.jpg", 10)):
        fleet.clock.now_s += wait_s
        stored(fleet, fleet.media.store(f"capture_images/garden/{name}", b"jpeg", "image/jpeg"))
    stored(fleet, "capture_images/garden/first.jpg")
    camera = fleet.cameras.get(GARDEN)
    assert (camera.still_key, camera.still_at) == (
        "capture_images/garden/thumbnail_latest.jpg",
        round(START_S + 10) * 1000,
    )
    assert sorted(each.file_name or "" for each in pushed(fleet, "still_captured")) == [
        "first.jpg",
        "thumbnail_latest.jpg",
    ]
    fleet.media.delete([MediaKey(camera.still_key)])
    removed(fleet, camera.still_key)
    assert fleet.cameras.get(GARDEN).still_key == ""


def test_a_still_of_something_that_is_no_camera_changes_nothing(fleet):
    key = fleet.media.store("capture_images/alien/a.jpg", b"jpeg", "image/jpeg")
    stored(fleet, key)
    fleet.media.delete([key])
    removed(fleet, key)
    assert pushed(fleet) == []


def test_a_clip_of_something_that_is_no_camera_is_not_lost(fleet):
    video = add_clip(fleet, ThingName("alien"), AT_S, EVENT)
    assert videos(fleet) == [video]


def test_an_object_that_went_takes_its_row_and_what_is_beside_it_along(fleet):
    video = add_clip(fleet, GARDEN, AT_S, EVENT)
    picture = add_thumbnail(fleet, GARDEN, video)
    fleet.media.delete([clip_key(GARDEN, video)])
    for _ in range(2):
        removed(fleet, clip_key(GARDEN, video))
    assert videos(fleet) == []
    assert picture not in fleet.media.stored
    assert [each.video for each in pushed(fleet, "clip_deleted")] == [video]


def test_news_of_a_removal_that_comes_after_the_object_is_back_changes_nothing(fleet):
    video = add_clip(fleet, GARDEN, AT_S, EVENT)
    removed(fleet, clip_key(GARDEN, video))
    assert videos(fleet) == [video]


def test_a_clip_loses_its_thumbnail_and_stays(fleet):
    video = add_clip(fleet, GARDEN, AT_S, EVENT)
    picture = add_thumbnail(fleet, GARDEN, video)
    fleet.media.delete([picture])
    removed(fleet, picture)
    assert fleet.clips.get(GARDEN, video).thumbnail_key == ""
    removed(fleet, clip_key(GARDEN, f"{video.stem}.timestamps.txt"))
    assert videos(fleet) == [video]


def test_recognised_clips_are_told_to_those_who_asked_for_that_and_motion_to_the_others(fleet):
    body = {"protocol": "email", "coolDownSeconds": 0}
    ask_for(fleet, OWNER, "POST", "/subscriptions", {**body, "endpoint": "all@example.com"})
    cats = {**body, "endpoint": "cats@example.com", "filter": {"Label": ["cat"], "AlertType": ["motion"]}}
    ask_for(fleet, OWNER, "POST", "/subscriptions", cats)
    say_motion(fleet, GARDEN, EVENT)
    add_clip(fleet, GARDEN, AT_S, EVENT, labels="cat=0.9")
    add_clip(fleet, GARDEN, AT_S + 1, event_id(2), labels="dog=0.9")
    add_clip(fleet, GARDEN, AT_S - 3600, event_id(3), labels="cat=0.9")
    told = [(to[0].endpoint, alert.title, list(alert.labels)) for alert, to in fleet.notifier.delivered]
    assert told == [("all@example.com", "Motion at Garden", []), ("cats@example.com", "cat at Garden", ["cat"])]


def store_stream(home: StagedHome, event=None, data: bytes = b"h264"):
    stem = video_id(AT_S, event).stem
    key = home.media.store(clip_key(GARDEN, f"{stem}.h264"), data, "video/h264", trigger="motion")
    return key, clip_key(GARDEN, f"{stem}.timestamps.txt"), VideoId(f"{stem}.mp4")


def test_an_older_devices_stream_becomes_a_clip_with_a_picture_and_goes(fleet):
    key, _, video = store_stream(fleet)
    for _ in range(2):
        stored(fleet, key)
    clip = fleet.clips.get(GARDEN, video)
    assert clip.duration_seconds == 30.0
    assert clip.thumbnail_key == clip_key(GARDEN, f"{video.stem}.jpg")
    assert key not in fleet.media.stored
    assert fleet.converter.converted == [(key, None)]
    assert len(pushed(fleet, "clip_stored")) == 1
    removed(fleet, key)
    assert videos(fleet) == [video]


@pytest.mark.parametrize("first", ["stream", "timestamps"])
def test_a_stream_is_converted_with_its_timestamps_whichever_comes_first(fleet, first):
    key, times, video = store_stream(fleet, EVENT)
    if first == "stream":
        stored(fleet, key)
        assert videos(fleet) == []
    fleet.media.store(times, b"# timestamp format v2", "text/plain")
    stored(fleet, times)
    if first == "timestamps":
        stored(fleet, key)
    assert videos(fleet) == [video]
    assert fleet.converter.converted == [(key, times)]
    assert not {key, times} & set(fleet.media.stored)


def test_timestamps_without_a_stream_are_nothing(fleet):
    stored(
        fleet, fleet.media.store(clip_key(GARDEN, f"{video_id(AT_S, EVENT).stem}.timestamps.txt"), b"", "text/plain")
    )
    assert videos(fleet) == []


def test_timestamps_that_do_not_come_are_not_waited_for_for_ever(fleet):
    key, _, video = store_stream(fleet, EVENT)
    fleet.clock.now_s += media_events.TIMESTAMPS_PATIENCE_S
    stored(fleet, key)
    assert videos(fleet) == [video]


def test_a_stream_that_cannot_be_converted_is_kept_as_it_is(fleet):
    key, _, video = store_stream(fleet, data=b"broken")
    for _ in range(2):
        stored(fleet, key)
    assert videos(fleet) == [f"{video.stem}.h264"]
    assert key in fleet.media.stored
    add_thumbnail(fleet, GARDEN, video)
    assert fleet.clips.get(GARDEN, VideoId(f"{video.stem}.h264")).thumbnail_key
    fleet.media.delete([key])
    removed(fleet, key)
    assert videos(fleet) == []


def test_a_stream_whose_conversion_was_cut_short_is_finished_the_next_time(fleet):
    key, _, video = store_stream(fleet)
    fleet.media.store(clip_key(GARDEN, video), b"mp4 of before", duration="30.000")
    stored(fleet, key)
    assert videos(fleet) == [video]
    assert fleet.converter.converted == []
    assert key not in fleet.media.stored
