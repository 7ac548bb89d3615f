"""Events of cameras: what is made of each, and what is made of those that cannot be used."""

from __future__ import annotations

import json

import hypothesis
import pytest
from hypothesis import strategies

from pinthesky.errors import Unavailable
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.ingest import device_events
from pinthesky.planes.ingest.device_events import Taken, received
from tests.planes.fakes import START_S, out_of_reach
from tests.planes.home import GARDEN, OWNER, StagedHome, ask_for
from tests.planes.recordings import clip_key, event_id, pushed, say, say_motion, store_clip

EVENT = event_id(1)


def subscribe(home: StagedHome, **fields):
    body = {"protocol": "email", "endpoint": "a@example.com", "coolDownSeconds": 0, **fields}
    return ask_for(home, OWNER, "POST", "/subscriptions", body)


def alerts_of(home: StagedHome) -> list[str]:
    return [alert.alert_type for alert, _ in home.notifier.delivered]


def test_motion_is_told_once_however_often_it_is_said(fleet):
    subscribe(fleet)
    for _ in range(3):
        assert say_motion(fleet, GARDEN, EVENT) == Taken(1, 0)
    event = fleet.motion_events.get(GARDEN, EVENT)
    assert (event.at, event.score) == (round(START_S) * 1000, 4.5)
    (told,) = pushed(fleet, "motion_started")
    assert (told.camera, told.event_id, told.time) == (GARDEN, EVENT, round(START_S) * 1000)
    assert alerts_of(fleet) == ["motion"]
    assert fleet.cameras.get(GARDEN).last_motion_at == round(START_S) * 1000


@pytest.mark.parametrize("age_s, alerted", [(59, True), (60, False), (86_400, False), (None, True)])
def test_only_motion_that_is_young_alerts(fleet, age_s, alerted):
    subscribe(fleet)
    say_motion(fleet, GARDEN, EVENT, timestamp=None if age_s is None else START_S - age_s)
    assert alerts_of(fleet) == (["motion"] if alerted else [])
    assert len(pushed(fleet, "motion_started")) == 1


def test_a_time_that_only_a_wrong_clock_can_say_counts_as_now(fleet):
    for number, timestamp in enumerate((START_S + 3600, -5.0, 1e300)):
        say_motion(fleet, GARDEN, event_id(number), timestamp=timestamp)
        assert fleet.motion_events.get(GARDEN, event_id(number)).at == round(START_S) * 1000


def test_motion_is_not_told_twice_if_its_push_could_not_be_posted_the_first_time(fleet, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(fleet.table, "write", out_of_reach)
        with pytest.raises(Unavailable):
            say_motion(fleet, GARDEN, EVENT)
    assert pushed(fleet) == []
    say_motion(fleet, GARDEN, EVENT)
    assert len(pushed(fleet, "motion_started")) == 1


def test_a_batch_is_taken_in_order_and_what_cannot_be_used_in_it_is_left_out(fleet):
    batch = {
        "events": [
            {"name": "recording_change", "timestamp": START_S, "recording": True},
            {"name": "motion_start", "timestamp": START_S, "event_id": "../../x", "score": 1.0},
            {"name": "unheard_of", "timestamp": START_S},
            "no event",
            {"name": "motion_start", "timestamp": START_S, "event_id": EVENT, "score": "high"},
            {"name": "motion_start", "timestamp": START_S, "event_id": EVENT, "score": 2},
        ]
    }
    assert received(fleet, GARDEN, json.dumps(batch).encode(), now_s=START_S) == Taken(2, 4)
    assert fleet.cameras.get(GARDEN).recording is True
    assert fleet.motion_events.get(GARDEN, EVENT).score == 2.0


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"events": 7}',
        b'{"events": [' + b"1," * 1000 + b"1]}",
        b'"' + b"x" * device_events.PAYLOAD_MAX + b'"',
        b'{"name": "motion_start", "event_id": 1e999}',
        b'{"name": {"deep": [[[[[[[[[[[[[[1]]]]]]]]]]]]]]}}',
    ],
)
def test_a_message_that_cannot_be_read_changes_nothing(fleet, payload):
    assert received(fleet, GARDEN, payload, now_s=START_S) == Taken(0, 1)
    assert pushed(fleet) == []


@hypothesis.given(
    strategies.recursive(
        strategies.none() | strategies.booleans() | strategies.floats(allow_nan=False) | strategies.text(max_size=8),
        lambda inner: (
            strategies.lists(inner, max_size=3)
            | strategies.dictionaries(
                strategies.sampled_from(["name", "timestamp", "event_id", "events", "upload", "minutes", "report", "x"])
                | strategies.text(max_size=4),
                inner
                | strategies.sampled_from(
                    ["motion_start", "upload_end", "health_end", "motion_activity", "settings_applied", "camera_fault"]
                ),
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_no_document_makes_it_fail(home, document):
    home.things.registered.setdefault(GARDEN, "")
    taken = received(home, GARDEN, json.dumps(document).encode(), now_s=START_S)
    assert taken.taken >= 0
    assert taken.dropped >= 0


def test_the_thing_is_that_of_the_topic_whatever_the_payload_says(fleet):
    say_motion(fleet, GARDEN, EVENT, thing_name="hall")
    assert [each.camera for each in pushed(fleet, "motion_started")] == [GARDEN]


def test_a_registered_thing_is_adopted_when_it_is_first_heard_of_and_others_are_not(home):
    shed, alien = ThingName("shed"), ThingName("alien")
    home.things.registered[shed] = ""
    assert say_motion(home, shed, EVENT) == Taken(1, 0)
    assert home.cameras.get(shed).display_name == "shed"
    assert say_motion(home, alien, EVENT) == Taken(0, 1)
    assert [each["thingName"] for each in ask_for(home, OWNER, "GET", "/cameras")["items"]] == ["shed"]


def test_a_camera_that_speaks_is_written_down_as_seen_at_most_once_a_minute(fleet):
    say(fleet, GARDEN, "record_end")
    first = fleet.cameras.get(GARDEN).last_seen_at
    fleet.clock.now_s += 59
    say(fleet, GARDEN, "record_end")
    assert fleet.cameras.get(GARDEN).last_seen_at == first == round(START_S) * 1000
    fleet.clock.now_s += 1
    say(fleet, GARDEN, "configuration_end", configuration={})
    assert fleet.cameras.get(GARDEN).last_seen_at == first + 60_000


def test_an_upload_that_the_camera_tells_of_is_taken_in_before_the_store_tells(fleet):
    video = store_clip(fleet, GARDEN, START_S - 60, EVENT)
    upload = {"bucket_name": "any", "bucket_key": clip_key(GARDEN, video)}
    told = {"start_time": START_S - 60, "trigger": "motion", "event_id": EVENT, "upload": upload}
    assert say(fleet, GARDEN, "upload_end", **told) == Taken(1, 0)
    assert fleet.clips.get(GARDEN, video).event_id == EVENT
    assert len(pushed(fleet, "clip_stored")) == 1


@pytest.mark.parametrize(
    "key", ["motion_videos/hall/1799999940.motion.mp4", "elsewhere/garden/1799999940.motion.mp4", "../secret", ""]
)
def test_a_camera_cannot_tell_of_anything_but_its_own_recordings(fleet, key):
    upload = {"bucket_name": "any", "bucket_key": key}
    assert say(fleet, GARDEN, "upload_end", start_time=None, trigger="motion", upload=upload) == Taken(0, 1)


def test_what_stays_on_the_device_or_failed_there_makes_no_row(fleet):
    assert say(fleet, GARDEN, "upload_end", start_time=START_S, trigger="motion", event_id=EVENT) == Taken(1, 0)
    assert say(fleet, GARDEN, "capture_image_end", error="no picture") == Taken(1, 0)
    assert ask_for(fleet, OWNER, "GET", "/videos")["items"] == []


def test_recording_is_told_when_it_changes_and_late_news_of_it_is_none(fleet):
    say(fleet, GARDEN, "recording_change", recording=True)
    say(fleet, GARDEN, "recording_change", recording=True, timestamp=START_S + 1)
    say(fleet, GARDEN, "recording_change", recording=False, timestamp=START_S - 10)
    assert [each.recording for each in pushed(fleet, "recording_changed")] == [True]
    assert fleet.cameras.get(GARDEN).recording is True
    say(fleet, GARDEN, "recording_change", recording=False, timestamp=START_S + 2)
    assert fleet.cameras.get(GARDEN).recording is False


def test_a_health_report_is_kept_and_told(fleet):
    say(fleet, GARDEN, "health_end", version="1.2.3", cpu_used=12.5, ip_addr=7)
    assert fleet.health.latest([GARDEN])[0].report["version"] == "1.2.3"
    (told,) = pushed(fleet, "health_reported")
    assert told.health == {"version": "1.2.3", "cpu_used": 12.5}
    assert fleet.cameras.get(GARDEN).software_version == "1.2.3"
    say(fleet, GARDEN, "health_end", cpu_used=1.0, timestamp=START_S + 1)
    assert fleet.cameras.get(GARDEN).software_version == "1.2.3"


def test_what_became_of_settings_is_told_when_it_is_new(fleet):
    for _ in range(2):
        say(fleet, GARDEN, "settings_applied", fingerprint="f1", applied=["camera"], rejected={"motion.zones": "few"})
    (told,) = pushed(fleet, "settings_applied")
    assert told.settings == {"fingerprint": "f1", "applied": ["camera"], "rejected": {"motion.zones": "few"}}
    assert ask_for(fleet, OWNER, "GET", "/cameras/garden")["settingsSync"] == told.settings


def test_a_fault_is_told_and_alerted_once_and_again_told_when_it_is_over(fleet):
    subscribe(fleet)
    for second, recovered in ((0, False), (1, False), (2, True), (2, True)):
        say(fleet, GARDEN, "camera_fault", reason="no frames", recovered=recovered, timestamp=START_S + second)
    told = [each.recovered for each in pushed(fleet, "camera_fault")]
    assert (len(told), set(told)) == (2, {False, True})
    assert alerts_of(fleet) == ["camera_fault"]
    assert fleet.cameras.get(GARDEN).fault == ""


def test_another_reason_of_the_same_fault_is_told_but_alerts_nobody(fleet):
    subscribe(fleet)
    say(fleet, GARDEN, "camera_fault", reason="no frames")
    say(fleet, GARDEN, "camera_fault", reason="unplugged", timestamp=START_S + 1)
    say(fleet, GARDEN, "camera_fault", reason="long ago", timestamp=START_S - 100)
    assert len(pushed(fleet, "camera_fault")) == 2
    assert alerts_of(fleet) == ["camera_fault"]
    assert fleet.cameras.get(GARDEN).fault == "unplugged"


def test_lost_recordings_are_told_once_though_a_camera_says_so_again_when_it_starts(fleet):
    subscribe(fleet)
    lost = {"dropped_files": 3, "dropped_bytes": 9_000_000, "reason": "disk", "spool_files": 9, "spool_bytes": 1}
    for _ in range(2):
        say(fleet, GARDEN, "spool_pressure", timestamp=START_S - 5, **lost)
    (told,) = pushed(fleet, "spool_pressure")
    assert (told.dropped_files, told.dropped_bytes, told.reason) == (3, 9_000_000, "disk")
    assert [alert.text for alert, _ in fleet.notifier.delivered] == ["3 files (9.0 MB): disk"]


def test_minutes_of_motion_are_kept_the_greater_of_two_and_those_of_wrong_clocks_are_not(fleet):
    now = round(START_S / 60)
    say(fleet, GARDEN, "motion_activity", minutes=[[now - 61, 10], [now - 60, 20], [now - 60, 30]])
    say(fleet, GARDEN, "motion_activity", minutes=[[now - 61, 5], [now - 1, 100]])
    say(fleet, GARDEN, "motion_activity", minutes=[[now + 60, 50], [5, 50]])
    found = fleet.motion_minutes.between(GARDEN, now - 100, now + 100)
    assert found == {now - 61: 10, now - 60: 30, now - 1: 100}
    assert fleet.motion_minutes.between(GARDEN, now - 60, now - 60) == {now - 60: 30}


@pytest.mark.parametrize("minutes", [[[1, 101]], [[1, 0]], [[1]], [[1, 2, 3]], [[1, 2]] * 1441, [["a", 1]]])
def test_minutes_that_cannot_be_any_are_dropped(fleet, minutes):
    assert say(fleet, GARDEN, "motion_activity", minutes=minutes) == Taken(0, 1)


def test_an_alert_that_cannot_be_delivered_is_lost_and_nothing_else(fleet, monkeypatch):
    subscribe(fleet)
    monkeypatch.setattr(fleet.notifier, "deliver", out_of_reach)
    assert say_motion(fleet, GARDEN, EVENT) == Taken(1, 0)
    assert len(pushed(fleet, "motion_started")) == 1
