"""Events of cameras, as they arrive on their topics.

The thing comes from the topic. What it says is a document from outside: its size, depth and types are checked, an event
that cannot be used is dropped, logged and counted, and the next is served.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from pinthesky.errors import InvalidInput
from pinthesky.model import events
from pinthesky.model.identifiers import EventId, ThingName
from pinthesky.planes import alerts
from pinthesky.planes.home import Home
from pinthesky.planes.ingest import camera_news, media_events, settings_events
from pinthesky.planes.pushes import post, push
from pinthesky.planes.records import rows
from pinthesky.planes.records.cameras import Camera
from pinthesky.planes.records.conditions import Condition
from pinthesky.planes.records.motion_events import MotionEvent
from pinthesky.planes.records.pushes import Push
from pinthesky.planes.table import Key, Record

logger = logging.getLogger(__name__)

PAYLOAD_MAX = 128 * 1024
"""Most bytes of an MQTT message (AWS IoT)."""
EVENTS_MAX = 1000
DEPTH_MAX = 12
"""Deepest nesting of an event; the deepest of ours has six levels."""
YOUNG_S = 60.0
"""Motion that began longer ago alerts nobody."""
MINUTES_MAX = 24 * 60
MINUTES_AGE_MAX = 40 * 24 * 60
"""How old a minute may be that is told, in minutes: a camera may have been without a network."""
REASON_MAX = 300
VERSION_MAX = 120
_HEARD_S = 2 * 86_400


class Taken(NamedTuple):
    """How many events of a message were taken, and how many were dropped."""

    taken: int
    dropped: int


class _Arrival(NamedTuple):
    """Where, whose, when; and the document as it was sent."""

    home: Home
    thing: ThingName
    now_s: float
    document: Mapping[str, Any]

    def time_of(self, event: events.Event) -> int:
        return camera_news.time_of(event.timestamp, self.now_s)

    def push(self, news: Push) -> None:
        push(self.home, news, self.now_s)

    def change(self, to: Callable[[Camera], Camera]) -> camera_news.Heard | None:
        return camera_news.changed(self.home, self.thing, to, now_s=self.now_s)

    def tell(self, occasion: alerts.Occasion) -> None:
        alerts.tell(self.home, occasion, self.now_s)


def received(home: Home, thing: ThingName, payload: bytes, *, now_s: float) -> Taken:
    """Take a message of a camera's event topic: one event, or `{"events": […]}`.

    Raises Unavailable: something could not be kept. The whole message may then be given again.
    """
    try:
        documents = _documents(payload)
    except InvalidInput as error:
        logger.warning("A message of %s cannot be read: %s", thing, error)
        return Taken(0, 1)
    if camera_news.heard(home, thing, now_s=now_s) is None:
        return Taken(0, len(documents))
    taken = 0
    for document in documents:
        try:
            _take(home, thing, document, now_s=now_s)
            taken += 1
        except InvalidInput as error:
            logger.warning("An event of %s cannot be used: %s", thing, error)
    return Taken(taken, len(documents) - taken)


def _documents(payload: bytes) -> list[object]:
    if len(payload) > PAYLOAD_MAX:
        raise InvalidInput("payload", f"must have at most {PAYLOAD_MAX} bytes, got {len(payload)}")
    try:
        message = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("payload", f"is not JSON: {error}") from error
    if not isinstance(message, dict) or "events" not in message:
        return [message]
    found = message["events"]
    if not isinstance(found, list) or len(found) > EVENTS_MAX:
        raise InvalidInput("events", f"must be a list of at most {EVENTS_MAX}")
    return found


def _take(home: Home, thing: ThingName, document: object, *, now_s: float) -> None:
    _check_depth(document, DEPTH_MAX)
    if not isinstance(document, dict):
        raise InvalidInput("event", "must be an object")
    shown = {**document, "thing_name": str(thing)}
    if document.get("name") == "health_end":
        shown = {"name": "health_end", "thing_name": str(thing), "timestamp": document.get("timestamp"), "report": {}}
    try:
        event = msgspec.convert(shown, events.AnyEvent)
    except (msgspec.ValidationError, OverflowError) as error:
        raise InvalidInput(str(document.get("name"))[:60], str(error)) from error
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(_Arrival(home, thing, now_s, document), event)


def _check_depth(value: object, levels: int) -> None:
    if isinstance(value, dict | list):
        if levels == 0:
            raise InvalidInput("event", f"is nested deeper than {DEPTH_MAX} levels")
        for inner in value.values() if isinstance(value, dict) else value:
            _check_depth(inner, levels - 1)


def _motion_start(at: _Arrival, event: events.MotionStart) -> None:
    event_id = EventId.parse(event.event_id)
    motion_ms = at.time_of(event)
    heard = MotionEvent(
        thing_name=at.thing,
        event_id=event_id,
        heard_at=int(at.now_s * 1000),
        motion_at=motion_ms,
        score=event.score,
    )
    news = at.home.pushes.prepare(
        Push(type="motion_started", camera=at.thing, time=motion_ms, event_id=event_id, score=event.score), at.now_s
    )
    if not at.home.motion_events.begin(heard, news.change):
        return
    at.change(lambda camera: replace(camera, last_motion_at=max(motion_ms, camera.last_motion_at or 0)))
    post(at.home, news)
    if at.now_s - motion_ms / 1000 < YOUNG_S:
        at.tell(
            alerts.Occasion(
                alert_type="motion",
                thing=at.thing,
                at_s=motion_ms / 1000,
                title="Motion at {camera}",
                link=f"/cameras/{at.thing}?event={event_id}",
            )
        )


def _item_stored(at: _Arrival, event: events.UploadEnd | events.CaptureImageEnd) -> None:
    """The store tells of it too; whichever comes first, the other changes nothing."""
    if event.upload is None:
        return
    named = media_events.name_of(at.home, event.upload.bucket_key)
    if named is None or named.thing != at.thing:
        raise InvalidInput("bucket_key", "must be of a recording of the camera itself")
    media_events.stored(at.home, named.key, at.now_s)


def _still_taken(at: _Arrival, event: events.CaptureImageEnd) -> None:
    if event.capture_id:
        error, taken = (event.error or "")[:REASON_MAX], "" if event.error else event.capture_id
        at.change(
            lambda camera: (
                replace(camera, still_error=error, still_taken_id=taken)
                if camera.still_capture_id == event.capture_id
                else camera
            )
        )
    _item_stored(at, event)


def _recording_change(at: _Arrival, event: events.RecordingChange) -> None:
    time_ms = at.time_of(event)

    def changed(camera: Camera) -> Camera:
        if camera.recording == event.recording or (camera.recording_changed_at or 0) > time_ms:
            return camera
        return replace(camera, recording=event.recording, recording_changed_at=time_ms)

    heard = at.change(changed)
    if heard is not None and heard.before != heard.after:
        at.push(Push(type="recording_changed", camera=at.thing, time=time_ms, recording=event.recording))


def _health_end(at: _Arrival, _event: events.HealthEnd) -> None:
    stored = at.home.health.report(at.thing, at.document, int(at.now_s * 1000))
    version = str(stored.report.get("version", ""))[:VERSION_MAX]
    if version:
        at.change(lambda camera: replace(camera, software_version=version))
    settings_events.look_at_mode(at.home, at.thing, at_ms=int(at.now_s * 1000))
    at.push(Push(type="health_reported", camera=at.thing, time=stored.timestamp, health=stored.report))


def _settings_applied(at: _Arrival, event: events.SettingsApplied) -> None:
    said = {"fingerprint": event.fingerprint, "applied": event.applied, "rejected": event.rejected}
    settings_events.applied(at.home, at.thing, said, at_ms=at.time_of(event), now_s=at.now_s)


def _camera_fault(at: _Arrival, event: events.CameraFault) -> None:
    time_ms = at.time_of(event)
    fault = "" if event.recovered else event.reason[:REASON_MAX] or "unknown"

    def changed(camera: Camera) -> Camera:
        if camera.fault == fault or (camera.fault_changed_at or 0) > time_ms:
            return camera
        return replace(camera, fault=fault, fault_changed_at=time_ms)

    at.home.conditions.note(at.thing, "fault", Condition(holds=not event.recovered), at_ms=time_ms)
    heard = at.change(changed)
    if heard is None or heard.before == heard.after:
        return
    at.push(Push(type="camera_fault", camera=at.thing, time=time_ms, reason=fault or None, recovered=event.recovered))
    if fault and not heard.before.fault:
        at.tell(
            alerts.Occasion(
                alert_type="camera_fault",
                thing=at.thing,
                at_s=time_ms / 1000,
                title="{camera} gives no pictures",
                text=fault,
            )
        )


def _spool_pressure(at: _Arrival, event: events.SpoolPressure) -> None:
    if not _is_first(at):
        return
    time_ms = at.time_of(event)
    at.push(
        Push(
            type="spool_pressure",
            camera=at.thing,
            time=time_ms,
            reason=event.reason[:REASON_MAX],
            dropped_files=event.dropped_files,
            dropped_bytes=event.dropped_bytes,
        )
    )
    at.tell(
        alerts.Occasion(
            alert_type="spool_pressure",
            thing=at.thing,
            at_s=time_ms / 1000,
            title="{camera} has lost recordings",
            text=f"{event.dropped_files} files ({event.dropped_bytes / 1e6:.1f} MB): {event.reason[:REASON_MAX]}",
        )
    )


def _motion_activity(at: _Arrival, event: events.MotionActivity) -> None:
    now = int(at.now_s // 60)
    percent_of: dict[int, int] = {}
    if len(event.minutes) > MINUTES_MAX:
        raise InvalidInput("minutes", f"must be at most {MINUTES_MAX}, got {len(event.minutes)}")
    for pair in event.minutes:
        if len(pair) != 2 or not 1 <= pair[1] <= 100:
            raise InvalidInput("minutes", "must be pairs of an epoch minute and 1 to 100 percent")
        if now - MINUTES_AGE_MAX <= pair[0] <= now + 1:
            percent_of[pair[0]] = max(pair[1], percent_of.get(pair[0], 0))
    at.home.motion_minutes.note(at.thing, percent_of)


def _is_first(at: _Arrival) -> bool:
    """Whether an event without an id of its own has not been heard: cameras say the last one again when they start."""
    digest = hashlib.sha256(msgspec.json.encode(at.document, order="sorted")).hexdigest()[:32]
    record = Record(Key(f"heard#{at.thing}", digest), b"{}", expires_at_s=int(at.now_s) + _HEARD_S)
    return rows.create_if_absent(at.home.table, record)


_HANDLERS: Mapping[type, Callable[[_Arrival, Any], None]] = {
    events.MotionStart: _motion_start,
    events.UploadEnd: _item_stored,
    events.CaptureImageEnd: _still_taken,
    events.RecordingChange: _recording_change,
    events.HealthEnd: _health_end,
    events.SettingsApplied: _settings_applied,
    events.CameraFault: _camera_fault,
    events.SpoolPressure: _spool_pressure,
    events.MotionActivity: _motion_activity,
}
"""What answers a connection (effective settings, the end of a live view) went there; nothing else is made of it."""
