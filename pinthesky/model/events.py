"""Events that a device sends to the cloud, as they travel.

Every event has `name`, `timestamp` (epoch seconds, or null while the clock is not known to be right) and `thing_name`,
and carries what it answers to (`capture_id`, `connection`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional, Union

import msgspec
from msgspec import Struct

from pinthesky.model.identifiers import plain

PAYLOAD_MAX = 128_000
"""Most bytes of one MQTT publish that the device client takes from its file."""


class Upload(Struct, frozen=True):
    """Where a stored item is."""

    bucket_name: str
    bucket_key: str


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="name"):
    """What all events share."""

    thing_name: str
    timestamp: Optional[float] = None
    capture_id: Optional[str] = None
    connection: Optional[dict[str, Optional[str]]] = None


class MotionStart(Event, frozen=True, kw_only=True, omit_defaults=True, tag="motion_start"):
    """Motion began. Receivers alert only for one younger than 60 s and unseen."""

    event_id: str
    score: float


class UploadEnd(Event, frozen=True, kw_only=True, omit_defaults=True, tag="upload_end"):
    """A clip is stored (`upload`), kept on the device (no `upload`), or could not be made (`error`)."""

    start_time: Optional[float]
    trigger: str
    event_id: Optional[str] = None
    upload: Optional[Upload] = None
    error: Optional[str] = None
    part: int = 1
    duration: float = 0.0
    recovered: bool = False
    labels: dict[str, float] = {}
    """What was recognised in the clip: name to the highest confidence."""


class CaptureImageEnd(Event, frozen=True, kw_only=True, omit_defaults=True, tag="capture_image_end"):
    """A still is stored (`upload`), kept on the device (`file_name` alone), or could not be taken (`error`)."""

    event_id: Optional[str] = None
    file_name: Optional[str] = None
    upload: Optional[Upload] = None
    error: Optional[str] = None


class RecordingChange(Event, frozen=True, kw_only=True, omit_defaults=True, tag="recording_change"):
    """A clip was opened or closed."""

    recording: bool


class HealthEnd(Event, frozen=True, kw_only=True, omit_defaults=True, tag="health_end"):
    """A health report; its fields stand beside the event's own (see `pinthesky.model.health`)."""

    report: dict[str, Any]


class ConfigurationEnd(Event, frozen=True, kw_only=True, omit_defaults=True, tag="configuration_end"):
    """Effective settings, section by section."""

    configuration: dict[str, Any]
    waiting: Optional[dict[str, Any]] = None
    """Sections as they will be once the open clip has ended; they were accepted, and the camera may still refuse."""


class RecordEnd(Event, frozen=True, kw_only=True, omit_defaults=True, tag="record_end"):
    """Live view ended, or could not begin (`error`)."""

    error: Optional[str] = None


class SettingsApplied(Event, frozen=True, kw_only=True, omit_defaults=True, tag="settings_applied"):
    """What became of a desired document."""

    fingerprint: str
    applied: list[str]
    rejected: dict[str, str]


class CameraFault(Event, frozen=True, kw_only=True, omit_defaults=True, tag="camera_fault"):
    """The camera gives no pictures (`recovered` false), or does so again."""

    reason: str
    recovered: bool = False


class SpoolPressure(Event, frozen=True, kw_only=True, omit_defaults=True, tag="spool_pressure"):
    """The bound of the spool or the free disk forced items out before they were stored."""

    dropped_files: int
    dropped_bytes: int
    reason: str
    spool_files: int
    spool_bytes: int


class MotionActivity(Event, frozen=True, kw_only=True, omit_defaults=True, tag="motion_activity"):
    """Density of motion for the timeline: `[[epoch minute, percent of the minute in motion], …]`."""

    minutes: list[list[int]]


AnyEvent = Union[
    MotionStart,
    UploadEnd,
    CaptureImageEnd,
    RecordingChange,
    HealthEnd,
    ConfigurationEnd,
    RecordEnd,
    SettingsApplied,
    CameraFault,
    SpoolPressure,
    MotionActivity,
]


def document_of(event: AnyEvent) -> dict[str, Any]:
    """The event as the JSON object that travels."""
    document: dict[str, Any] = msgspec.to_builtins(event, enc_hook=plain)
    document.setdefault("timestamp", None)
    if isinstance(event, HealthEnd):
        report = document.pop("report")
        return {**report, **document}
    return document


def encode(event: AnyEvent) -> bytes:
    """The event as it travels alone."""
    return msgspec.json.encode(document_of(event))


def encode_batch(encoded: Iterable[bytes]) -> bytes:
    """Several encoded events as one payload: `{"events": […]}`, in order."""
    return b'{"events":[' + b",".join(encoded) + b"]}"
