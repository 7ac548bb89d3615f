"""What the cloud, and who asked, are told of what happens."""

from __future__ import annotations

import logging
from typing import Any, Optional

import msgspec
import pytest

from pinthesky.device import event_reporter
from pinthesky.device.event_reporter import EventReporter
from pinthesky.device.event_thread import EventThread
from pinthesky.device.internal_events import (
    CameraFaulted,
    CameraOpened,
    CaptureJoined,
    ClipLost,
    EventForCloud,
    ItemsReady,
    ItemStored,
    MotionStarted,
    PictureRefused,
    RecordingChanged,
    SpoolPressed,
)
from pinthesky.device.ports import CameraDescription
from pinthesky.model import events
from pinthesky.model.identifiers import EventId, ThingName
from pinthesky.model.recording import Item, Kind, Moment

EVENT = "0123456789abcdef0123456789abcdef"
START = Moment(boot_id="boot", monotonic_s=5.0, wall_s=1_750_000_000.5)
UNTIMED = Moment(boot_id="boot", monotonic_s=5.0)
CONNECTION: dict[str, Optional[str]] = {"id": "abc="}
UPLOAD = {"bucket_name": "home", "bucket_key": "motion_videos/thing/x.mp4"}


class Stage:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.answered: list[tuple[dict[str, Optional[str]], dict[str, Any]]] = []
        self.now_s: Optional[float] = 1_750_000_100.0
        self.uploading = True
        self.queue = EventThread(lambda *_: None)
        self.reporter = EventReporter(
            thing_name=ThingName("garden"),
            output=lambda event: self.sent.append(events.document_of(event)),
            answer=lambda connection, document: self.answered.append((connection, document)),
            now_s=lambda: self.now_s,
            uploading=lambda: self.uploading,
            spool_totals=lambda: (3, 4096),
        )
        self.reporter.subscribe(self.queue)

    def happen(self, *happened: object) -> list[dict[str, Any]]:
        for event in happened:
            self.queue.post(event)
        while self.queue.backlog:
            self.queue.step()
        return self.sent

    def store(self, item: Item) -> list[dict[str, Any]]:
        return self.happen(ItemsReady([item]), ItemStored(item, "home", "motion_videos/thing/x.mp4"))


def item(
    kind: Kind = "clip",
    *,
    part: int = 1,
    capture_id: Optional[str] = None,
    connection: Optional[dict[str, Optional[str]]] = None,
    start: Moment = START,
) -> Item:
    return Item(
        kind=kind,
        event_id=EVENT,
        start=start,
        suffix=".mp4" if kind == "clip" else ".jpg",
        size=10,
        sha256="0" * 64,
        part=part,
        duration_s=12.34567,
        capture_id=capture_id,
        connection=connection,
        file_name="a.jpg" if kind == "still" else None,
    )


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_motion_is_told_with_its_moment_and_counted(stage: Stage):
    [sent] = stage.happen(MotionStarted(EventId(EVENT), START, 3.14159))
    assert sent == {
        "name": "motion_start",
        "thing_name": "garden",
        "timestamp": START.wall_s,
        "event_id": EVENT,
        "score": 3.14,
    }
    assert stage.reporter.motion_events == 1


def test_a_stored_clip_says_what_was_recognised_in_it(stage: Stage):
    stage.store(msgspec.structs.replace(item(), labels={"person": 0.91}))
    stage.store(item(part=2))
    assert [sent.get("labels") for sent in stage.sent] == [{"person": 0.91}, None]


def test_what_has_no_time_of_its_own_gets_the_present_one(stage: Stage):
    [sent] = stage.happen(RecordingChanged(True, UNTIMED))
    assert (sent["recording"], sent["timestamp"]) == (True, 1_750_000_100.0)


def test_an_event_may_go_without_time_while_the_clock_is_not_right(stage: Stage):
    stage.now_s = None
    [sent] = stage.happen(MotionStarted(EVENT, UNTIMED, 1.0))
    assert sent["timestamp"] is None


def test_a_stored_clip_is_told_with_its_place(stage: Stage):
    [sent] = stage.store(item())
    assert sent["name"] == "upload_end"
    assert sent["upload"] == UPLOAD
    assert (sent["event_id"], sent["start_time"], sent["duration"]) == (EVENT, START.wall_s, 12.346)
    assert stage.answered == []


def test_a_clip_that_was_asked_for_is_answered_to_the_connection_too(stage: Stage):
    [sent] = stage.store(item(capture_id="c1", connection=CONNECTION))
    assert (sent["capture_id"], sent["connection"]) == ("c1", CONNECTION)
    assert stage.answered == [(CONNECTION, sent)]


def test_a_clip_that_stays_on_the_device_is_told_to_who_asked_only(stage: Stage):
    stage.uploading = False
    assert stage.happen(ItemsReady([item()])) == []
    [sent] = stage.happen(ItemsReady([item(capture_id="c1")]))
    assert (sent["name"], sent["capture_id"]) == ("upload_end", "c1")
    assert "upload" not in sent


def test_every_asker_of_a_joined_clip_is_answered(stage: Stage):
    sent = [
        *stage.happen(CaptureJoined(EVENT, "c2", None), CaptureJoined(EVENT, "c3", CONNECTION)),
        *stage.store(item()),
    ]
    assert [event.get("capture_id") for event in sent] == [None, "c2", "c3"]
    assert [connection for connection, _ in stage.answered] == [CONNECTION]


def test_askers_of_one_clip_are_bounded_and_those_beyond_get_an_error_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_reporter, "ASKERS_MAX", 2)
    [sent] = stage.happen(*(CaptureJoined(EVENT, f"c{number}", None) for number in range(3)))
    assert (sent["capture_id"], sent["error"]) == ("c2", "too many requests for one clip")
    assert len(stage.store(item())) == 1 + 3


def test_everybody_who_asked_for_a_clip_that_could_not_be_recorded_is_told_why(stage: Stage):
    sent = stage.happen(CaptureJoined(EVENT, "c2", None), ClipLost(EVENT, "disk is full", "c1", CONNECTION))
    assert [(event["name"], event["capture_id"], event["error"]) for event in sent] == [
        ("upload_end", "c1", "disk is full"),
        ("upload_end", "c2", "disk is full"),
    ]
    assert [connection for connection, _ in stage.answered] == [CONNECTION]


def test_a_clip_that_nobody_asked_for_and_that_is_lost_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture):
    assert stage.happen(ClipLost(EVENT, "disk is full", None, None)) == []
    assert f"Nothing of event {EVENT} could be recorded: disk is full" in caplog.text


def test_events_that_were_asked_for_again_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_reporter, "ASKED_MAX", 2)
    stage.happen(*(CaptureJoined(f"{number:032d}", "c", None) for number in range(10)))
    assert len(stage.reporter._also_asked) == 2


def test_a_stored_picture_is_told(stage: Stage):
    sent = [*stage.store(item("thumbnail")), *stage.store(item("still", capture_id="c1"))]
    assert {event["name"] for event in sent} == {"capture_image_end"}
    assert sent[-1]["capture_id"] == "c1"
    assert sent[-1]["file_name"] == "a.jpg"


def test_a_picture_that_stays_is_told_to_who_asked_only(stage: Stage):
    stage.uploading = False
    assert stage.happen(ItemsReady([item("thumbnail")])) == []
    [sent] = stage.happen(ItemsReady([item("still", connection=CONNECTION)]))
    assert "upload" not in sent
    assert len(stage.answered) == 1


def test_timestamps_beside_a_clip_are_nobody_s_news(stage: Stage):
    assert stage.store(item("timestamps")) == []


def test_a_still_that_is_lost_is_answered_with_the_reason(stage: Stage):
    [sent] = stage.happen(PictureRefused(item("still", capture_id="c1", connection=CONNECTION), "no room"))
    assert (sent["name"], sent["error"], sent["capture_id"]) == ("capture_image_end", "no room", "c1")
    assert stage.answered == [(CONNECTION, sent)]


def test_a_thumbnail_that_is_lost_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture):
    assert stage.happen(PictureRefused(item("thumbnail"), "no room")) == []
    assert "no room" in caplog.text


def test_a_fault_and_its_end_are_told(stage: Stage):
    description = CameraDescription("scripted", 640, 480, 20, 0, None, True)
    sent = stage.happen(
        CameraOpened(description, after_fault=False),
        CameraFaulted("x" * 1000),
        CameraOpened(description, after_fault=True),
    )
    assert [(event["name"], event.get("recovered", False)) for event in sent] == [
        ("camera_fault", False),
        ("camera_fault", True),
    ]
    assert len(sent[0]["reason"]) == 200


def test_what_was_forced_out_of_the_spool_is_told_with_its_totals(stage: Stage):
    [sent] = stage.happen(SpoolPressed(2, 2048, "the disk is full"))
    assert {
        name: sent[name] for name in ("dropped_files", "dropped_bytes", "reason", "spool_files", "spool_bytes")
    } == {
        "dropped_files": 2,
        "dropped_bytes": 2048,
        "reason": "the disk is full",
        "spool_files": 3,
        "spool_bytes": 4096,
    }


def test_an_event_made_elsewhere_goes_out_and_is_answered(stage: Stage):
    event = events.ConfigurationEnd(thing_name=ThingName("garden"), connection=CONNECTION, configuration={"a": 1})
    [sent] = stage.happen(EventForCloud(event))
    assert sent["configuration"] == {"a": 1}
    assert stage.answered == [(CONNECTION, sent)]


def test_a_clip_on_the_disk_is_logged_with_what_a_person_wants_to_know(stage: Stage, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    stage.happen(ItemsReady([item(part=2)]))
    assert f"Clip of event {EVENT} part 2 is on the disk: 12.3 s" in caplog.text
