"""What the cloud is told: internal events become events on the wire.

Each goes to the event output; one that answers a request of a console's connection goes there as well.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Callable, NamedTuple, Optional

import msgspec

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
from pinthesky.model import events
from pinthesky.model.identifiers import ThingName
from pinthesky.model.recording import Item

logger = logging.getLogger(__name__)

ASKED_MAX = 64
"""Events whose further askers are remembered."""
ASKERS_MAX = 16
"""Further askers of one event; a request beyond is answered with an error at once."""

Connection = Optional[dict[str, Optional[str]]]


class Asker(NamedTuple):
    """Who wants to know what became of a request."""

    capture_id: Optional[str]
    connection: Connection


class EventReporter:
    """Subscribes to internal events; runs in the event thread.

    `output` takes each event for the device client, `answer` an event's document for a connection; `now_s` gives epoch
    seconds or None; `uploading` says whether what is recorded leaves the device.
    """

    def __init__(
        self,
        *,
        thing_name: ThingName,
        output: Callable[[events.AnyEvent], None],
        answer: Callable[[dict[str, Optional[str]], dict[str, object]], None],
        now_s: Callable[[], Optional[float]],
        uploading: Callable[[], bool],
        spool_totals: Callable[[], tuple[int, int]],
    ) -> None:
        self.thing_name = thing_name
        self.motion_events = 0
        """Motion events since the start, for the health report."""
        self._output = output
        self._answer = answer
        self._now_s = now_s
        self._uploading = uploading
        self._spool_totals = spool_totals
        self._also_asked: OrderedDict[str, list[Asker]] = OrderedDict()

    def subscribe(self, queue: EventThread) -> None:
        """Take what there is to report from the queue."""
        queue.subscribe(MotionStarted, self._motion_started)
        queue.subscribe(RecordingChanged, self._recording_changed)
        queue.subscribe(EventForCloud, lambda ready: self.send(ready.event))
        queue.subscribe(CaptureJoined, self._capture_joined)
        queue.subscribe(ClipLost, self._clip_lost)
        queue.subscribe(ItemsReady, self._items_ready)
        queue.subscribe(ItemStored, self._item_stored)
        queue.subscribe(PictureRefused, self._picture_refused)
        queue.subscribe(CameraFaulted, self._camera_faulted)
        queue.subscribe(CameraOpened, self._camera_opened)
        queue.subscribe(SpoolPressed, self._spool_pressed)

    def send(self, event: events.AnyEvent) -> None:
        """Tell the cloud, and the connection that asked."""
        if event.timestamp is None:
            event = msgspec.structs.replace(event, timestamp=self._now_s())
        self._output(event)
        if event.connection is not None:
            self._answer(event.connection, events.document_of(event))

    def _motion_started(self, event: MotionStarted) -> None:
        self.motion_events += 1
        logger.info("Motion began (event %s, score %.1f)", event.event_id, event.score)
        self.send(
            events.MotionStart(
                thing_name=self.thing_name,
                timestamp=event.moment.wall_s,
                event_id=event.event_id,
                score=round(event.score, 2),
            )
        )

    def _recording_changed(self, event: RecordingChanged) -> None:
        self.send(
            events.RecordingChange(thing_name=self.thing_name, timestamp=event.moment.wall_s, recording=event.recording)
        )

    def _items_ready(self, event: ItemsReady) -> None:
        for item in event.items:
            if item.kind == "clip":
                part = f" part {item.part}" if item.part > 1 else ""
                logger.info(
                    "Clip of event %s%s is on the disk: %.1f s, %.1f MB, %s%s",
                    item.event_id,
                    part,
                    item.duration_s,
                    item.size / 1e6,
                    item.trigger,
                    ", recovered" if item.recovered else "",
                )
            if not self._uploading():
                self._tell_of(item, None)

    def _item_stored(self, event: ItemStored) -> None:
        logger.info("Stored %s/%s", event.bucket, event.key)
        self._tell_of(event.item, events.Upload(event.bucket, event.key))

    def _tell_of(self, item: Item, upload: Optional[events.Upload]) -> None:
        asked = item.capture_id is not None or item.connection is not None
        if item.kind == "clip":
            first = Asker(item.capture_id, item.connection)
            for asker in [first, *self._also_asked.get(item.event_id, [])]:
                if upload is not None or asker != Asker(None, None):
                    self.send(self._upload_end(item, upload, asker))
        elif item.kind != "timestamps" and (upload is not None or asked):
            self.send(
                events.CaptureImageEnd(
                    thing_name=self.thing_name,
                    capture_id=item.capture_id,
                    connection=item.connection,
                    event_id=item.event_id,
                    file_name=item.file_name,
                    upload=upload,
                )
            )

    def _upload_end(self, item: Item, upload: Optional[events.Upload], asker: Asker) -> events.UploadEnd:
        return events.UploadEnd(
            thing_name=self.thing_name,
            start_time=item.start.wall_s,
            trigger=item.trigger,
            event_id=item.event_id,
            upload=upload,
            part=item.part,
            duration=round(item.duration_s, 3),
            recovered=item.recovered,
            labels=item.labels,
            capture_id=asker.capture_id,
            connection=asker.connection,
        )

    def _capture_joined(self, event: CaptureJoined) -> None:
        askers = self._also_asked.setdefault(event.event_id, [])
        asker = Asker(event.capture_id, event.connection)
        if len(askers) >= ASKERS_MAX:
            self._tell_failure(event.event_id, asker, "too many requests for one clip")
            return
        askers.append(asker)
        while len(self._also_asked) > ASKED_MAX:
            self._also_asked.popitem(last=False)

    def _clip_lost(self, event: ClipLost) -> None:
        logger.error("Nothing of event %s could be recorded: %s", event.event_id, event.reason)
        for asker in [Asker(event.capture_id, event.connection), *self._also_asked.pop(event.event_id, [])]:
            if asker != Asker(None, None):
                self._tell_failure(event.event_id, asker, event.reason)

    def _tell_failure(self, event_id: str, asker: Asker, reason: str) -> None:
        self.send(
            events.UploadEnd(
                thing_name=self.thing_name,
                start_time=None,
                trigger="manual",
                event_id=event_id,
                capture_id=asker.capture_id,
                connection=asker.connection,
                error=reason,
            )
        )

    def _picture_refused(self, event: PictureRefused) -> None:
        item = event.item
        logger.error("A picture of event %s is lost: %s", item.event_id, event.reason)
        if item.kind == "still":
            self.send(
                events.CaptureImageEnd(
                    thing_name=self.thing_name,
                    capture_id=item.capture_id,
                    connection=item.connection,
                    event_id=item.event_id,
                    error=event.reason,
                )
            )

    def _camera_faulted(self, event: CameraFaulted) -> None:
        logger.error("The camera gives no pictures: %s; trying again until it does", event.reason)
        self.send(events.CameraFault(thing_name=self.thing_name, reason=event.reason[:200]))

    def _camera_opened(self, event: CameraOpened) -> None:
        found = event.description
        logger.info("Watching %s: %dx%d at %.0f fps", found.model, found.width, found.height, found.framerate)
        if event.after_fault:
            self.send(events.CameraFault(thing_name=self.thing_name, reason="pictures again", recovered=True))

    def _spool_pressed(self, event: SpoolPressed) -> None:
        files, size = self._spool_totals()
        self.send(
            events.SpoolPressure(
                thing_name=self.thing_name,
                dropped_files=event.dropped_files,
                dropped_bytes=event.dropped_bytes,
                reason=event.reason,
                spool_files=files,
                spool_bytes=size,
            )
        )
