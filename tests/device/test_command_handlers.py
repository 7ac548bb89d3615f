"""Every command is served and answered, its failure too."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any, Optional

import pytest

from pinthesky.device.clip_recorder import Capture
from pinthesky.device.command_handlers import CommandHandlers
from pinthesky.device.event_reporter import Asker
from pinthesky.device.event_thread import EventThread
from pinthesky.device.internal_events import CaptureJoined, CommandArrived, EventForCloud
from pinthesky.errors import Unavailable
from pinthesky.model import events
from pinthesky.model.commands import parse_command
from pinthesky.model.identifiers import EventId, ThingName
from pinthesky.model.recording import Item, Moment
from pinthesky.model.settings import CameraSettings, DeviceSettings, HealthSettings

CONNECTION: dict[str, Optional[str]] = {
    "id": "abc=",
    "manager_id": "m",
    "management_endpoint": "https://x.example/p",
    "invoke_id": "7",
}
JPEG = b"\xff\xd8 still \xff\xd9"


class Camera:
    """The requests that a camera thread takes; the test serves them."""

    def __init__(self) -> None:
        self.stills: list[Future[bytes]] = []
        self.captures: list[tuple[float, Optional[str], Any, Future[Capture]]] = []

    def still(self, timeout_s: float) -> Future[bytes]:
        assert timeout_s <= 10
        self.stills.append(Future())
        return self.stills[-1]

    def capture(self, duration_s: float, capture_id: Optional[str], connection: Any) -> Future[Capture]:
        self.captures.append((duration_s, capture_id, connection, Future()))
        return self.captures[-1][-1]


class Finishing:
    """Remembers the pictures."""

    def __init__(self) -> None:
        self.pictures: list[tuple[bytes, Item]] = []

    def take_picture_in(self, data: bytes, item: Item) -> None:
        self.pictures.append((data, item))


class Stage:
    def __init__(self) -> None:
        self.camera, self.finishing = Camera(), Finishing()
        self.posted: list[Any] = []
        self.health_for: list[Asker] = []
        self.settings = self.settings_later = DeviceSettings()
        self.queue = EventThread(lambda *_: None)
        camera: Any = self.camera
        finishing: Any = self.finishing
        CommandHandlers(
            camera=camera,
            finishing=finishing,
            thing_name=ThingName("garden"),
            post=self.posted.append,
            now=lambda: Moment(boot_id="boot", monotonic_s=3.0, wall_s=1e9),
            health=self.health_for.append,
            configuration=lambda: (self.settings, self.settings_later),
        ).subscribe(self.queue)

    def command(self, name: str, **context: Any) -> None:
        self.queue.post(CommandArrived(parse_command({"name": name, "context": context})))
        self.queue.step()

    @property
    def sent(self) -> list[Any]:
        return [event.event for event in self.posted if isinstance(event, EventForCloud)]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_still_goes_to_the_spool_with_who_asked_for_it(stage: Stage):
    stage.command("capture_image", capture_id="c1", connection=CONNECTION, file_name="door.jpg")
    stage.camera.stills[0].set_result(JPEG)
    [(data, item)] = stage.finishing.pictures
    assert data == JPEG
    assert (item.kind, item.file_name, item.capture_id, item.connection) == ("still", "door.jpg", "c1", CONNECTION)
    assert item.start.wall_s == 1e9
    assert stage.sent == []


def test_a_still_that_cannot_be_taken_is_answered_with_the_reason(stage: Stage):
    stage.command("capture_image", capture_id="c1", connection=CONNECTION)
    stage.camera.stills[0].set_exception(Unavailable("the camera is closed"))
    [event] = stage.sent
    assert isinstance(event, events.CaptureImageEnd)
    assert (event.error, event.capture_id, event.connection) == ("the camera is closed", "c1", CONNECTION)


def test_a_still_that_nobody_serves_any_more_is_answered(stage: Stage):
    stage.command("capture_image", capture_id="c1")
    stage.camera.stills[0].cancel()
    assert [event.error for event in stage.sent] == ["the camera has stopped"]


def test_a_capture_is_asked_of_the_camera_and_answered_by_its_clip(stage: Stage):
    stage.command("capture_video", capture_id="c1", connection=CONNECTION, duration="12")
    duration_s, capture_id, connection, future = stage.camera.captures[0]
    assert (duration_s, capture_id, connection) == (12.0, "c1", CONNECTION)
    future.set_result(Capture(EventId.new(), joined=False))
    assert stage.posted == []


def test_a_capture_that_joins_an_open_clip_is_answered_by_that(stage: Stage):
    stage.command("capture_video", capture_id="c1", connection=CONNECTION)
    event_id = EventId.new()
    stage.camera.captures[0][-1].set_result(Capture(event_id, joined=True))
    assert stage.posted == [CaptureJoined(event_id, "c1", CONNECTION)]


def test_a_capture_that_joins_and_asks_for_no_answer_is_forgotten(stage: Stage):
    stage.command("capture_video")
    stage.camera.captures[0][-1].set_result(Capture(EventId.new(), joined=True))
    assert stage.posted == []


def test_a_capture_that_fails_is_answered_with_the_reason(stage: Stage):
    stage.command("capture_video", capture_id="c1")
    stage.camera.captures[0][-1].set_exception(Unavailable("the disk refuses the recording"))
    [event] = stage.sent
    assert isinstance(event, events.UploadEnd)
    assert (event.error, event.trigger, event.capture_id) == ("the disk refuses the recording", "manual", "c1")


def test_health_is_reported_to_who_asked(stage: Stage):
    stage.command("health", capture_id="c1", connection=CONNECTION)
    assert stage.health_for == [Asker("c1", CONNECTION)]


def test_the_configuration_is_sent_back(stage: Stage):
    stage.command("configuration", connection=CONNECTION)
    [event] = stage.sent
    assert isinstance(event, events.ConfigurationEnd)
    assert (event.configuration, event.connection) == (stage.settings.as_document(), CONNECTION)
    assert event.waiting is None


def test_settings_that_wait_for_the_open_clip_are_told_apart_from_those_in_force(stage: Stage):
    stage.settings_later = DeviceSettings(camera=CameraSettings(framerate=5), health=HealthSettings(interval=60))
    stage.settings = DeviceSettings(health=HealthSettings(interval=60))
    stage.command("configuration")
    (event,) = stage.sent
    assert isinstance(event, events.ConfigurationEnd)
    assert event.configuration["camera"]["framerate"] == 20
    assert event.waiting is not None
    assert {name: fields["framerate"] for name, fields in event.waiting.items()} == {"camera": 5}


def test_live_view_is_answered_as_not_there_yet(stage: Stage):
    stage.command("record", session={"start": True}, connection=CONNECTION)
    [event] = stage.sent
    assert isinstance(event, events.RecordEnd)
    assert (event.error, event.connection) == ("live view comes with a later version", CONNECTION)


def test_an_answer_can_be_sent_as_it_is(stage: Stage, tmp_path: Path):
    stage.command("capture_video", capture_id="c1", connection=CONNECTION)
    stage.camera.captures[0][-1].set_exception(Unavailable("closed"))
    document = events.document_of(stage.sent[0])
    assert document["connection"] == CONNECTION
    assert document["thing_name"] == "garden"
