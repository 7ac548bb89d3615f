"""What each command does. Runs in the event thread; nothing here waits."""

from __future__ import annotations

import logging
from concurrent.futures import CancelledError, Future
from typing import Any, Callable, Optional

from pinthesky.device.camera_thread import CameraThread
from pinthesky.device.event_reporter import Asker
from pinthesky.device.event_thread import EventThread
from pinthesky.device.finishing_worker import FinishingWorker
from pinthesky.device.internal_events import CaptureJoined, CommandArrived, EventForCloud
from pinthesky.errors import PinTheSkyError
from pinthesky.model import commands, events
from pinthesky.model.identifiers import EventId, ThingName
from pinthesky.model.recording import Item, Moment
from pinthesky.model.settings import SECTIONS, DeviceSettings

logger = logging.getLogger(__name__)

STILL_TIMEOUT_S = 5.0


class CommandHandlers:
    """Serves CommandArrived. `health` makes and sends a report.

    `configuration` gives the settings in force, and those that will be once the open clip has ended.
    """

    def __init__(
        self,
        *,
        camera: CameraThread,
        finishing: FinishingWorker,
        thing_name: ThingName,
        post: Callable[[object], object],
        now: Callable[[], Moment],
        health: Callable[[Asker], None],
        configuration: Callable[[], tuple[DeviceSettings, DeviceSettings]],
    ) -> None:
        self._camera = camera
        self._finishing = finishing
        self._thing_name = thing_name
        self._post = post
        self._now = now
        self._health = health
        self._configuration = configuration

    def subscribe(self, queue: EventThread) -> None:
        """Take commands from the queue."""
        queue.subscribe(CommandArrived, self._serve)

    def _serve(self, arrived: CommandArrived) -> None:
        command = arrived.command
        asker = Asker(command.capture_id, None if command.connection is None else command.connection.as_document())
        logger.info("Command %s", commands.name_of(command))
        if isinstance(command, commands.CaptureImage):
            self._capture_image(command, asker)
        elif isinstance(command, commands.CaptureVideo):
            self._capture_video(command, asker)
        elif isinstance(command, commands.Health):
            self._health(asker)
        elif isinstance(command, commands.Configuration):
            self._send_configuration(asker)
        else:
            self._send(events.RecordEnd, asker, error="live view comes with a later version")

    def _send(self, kind: Any, asker: Asker, **fields: Any) -> None:
        event = kind(thing_name=self._thing_name, capture_id=asker.capture_id, connection=asker.connection, **fields)
        self._post(EventForCloud(event))

    def _send_configuration(self, asker: Asker) -> None:
        now, later = self._configuration()
        document = later.as_document()
        waiting = {name: document[name] for name in SECTIONS if getattr(now, name) != getattr(later, name)}
        self._send(events.ConfigurationEnd, asker, configuration=now.as_document(), waiting=waiting or None)

    def _capture_image(self, command: commands.CaptureImage, asker: Asker) -> None:
        event_id = EventId.new()

        def taken(future: Future[bytes]) -> None:
            data, error = _outcome(future)
            if data is None:
                self._send(events.CaptureImageEnd, asker, event_id=event_id, error=error)
                return
            item = Item.of_picture(
                data,
                kind="still",
                event_id=event_id,
                start=self._now(),
                trigger="manual",
                file_name=command.file_name,
                capture_id=asker.capture_id,
                connection=asker.connection,
            )
            self._finishing.take_picture_in(data, item)

        self._camera.still(STILL_TIMEOUT_S).add_done_callback(taken)

    def _capture_video(self, command: commands.CaptureVideo, asker: Asker) -> None:
        def begun(future: Future[Any]) -> None:
            captured, error = _outcome(future)
            if captured is None:
                self._send(events.UploadEnd, asker, start_time=None, trigger="manual", error=error)
            elif captured.joined and asker != Asker(None, None):
                self._post(CaptureJoined(captured.event_id, *asker))

        self._camera.capture(command.duration, *asker).add_done_callback(begun)


def _outcome(future: Future[Any]) -> tuple[Any, Optional[str]]:
    """(result, None), or (None, why there is none)."""
    try:
        return future.result(timeout=0), None
    except (PinTheSkyError, CancelledError) as error:
        return None, str(error) or "the camera has stopped"
