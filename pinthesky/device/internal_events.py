"""What the daemon's threads tell each other through the event queue. Nothing from outside can name one of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from pinthesky.device.ports import CameraDescription
from pinthesky.device.shadow_reconciler import SettingsChange
from pinthesky.errors import PinTheSkyError
from pinthesky.model.commands import Command
from pinthesky.model.events import AnyEvent
from pinthesky.model.recording import Item, Moment


@dataclass(frozen=True)
class MotionStarted:
    """Motion began and is being recorded under `event_id`."""

    event_id: str
    moment: Moment
    score: float


@dataclass(frozen=True)
class RecordingChanged:
    """A clip was opened, or closed with none following."""

    recording: bool
    moment: Moment


@dataclass(frozen=True)
class ItemsReady:
    """Finished items are in the spool."""

    items: list[Item]


@dataclass(frozen=True)
class ItemStored:
    """The store confirmed an item."""

    item: Item
    bucket: str
    key: str


@dataclass(frozen=True)
class PictureRefused:
    """A still or thumbnail could not be taken into the spool."""

    item: Item
    reason: str


@dataclass(frozen=True)
class CameraOpened:
    """The camera delivers; `after_fault` when it had been reported as faulty."""

    description: CameraDescription
    after_fault: bool


@dataclass(frozen=True)
class CameraFaulted:
    """The camera delivers nothing and is being reopened."""

    reason: str


@dataclass(frozen=True)
class DutyTaken:
    """What the camera is there for from now on, by mode, window and time."""

    camera_open: bool
    record_motion: bool


@dataclass(frozen=True)
class FootageFinished:
    """The file that was being played has ended and its last clip is closed."""


@dataclass(frozen=True)
class CommandArrived:
    """A valid command from the input file."""

    command: Command


@dataclass(frozen=True)
class ShadowArrived:
    """New content of the shadow document file."""

    document: bytes


@dataclass(frozen=True)
class EventForCloud:
    """An event on the wire, ready to be sent."""

    event: AnyEvent


@dataclass(frozen=True)
class CaptureJoined:
    """A clip was asked for while one was being recorded: it answers this request too."""

    event_id: str
    capture_id: Optional[str]
    connection: Optional[dict[str, Optional[str]]]


@dataclass(frozen=True)
class ClipLost:
    """A clip has ended and not one picture of it could be recorded."""

    event_id: str
    reason: str
    capture_id: Optional[str]
    connection: Optional[dict[str, Optional[str]]]


@dataclass(frozen=True)
class SettingsRefused:
    """The camera, as it was opened, refuses settings that were in force; it runs with the installation's."""

    field: str
    """As `section.field`, or the section."""
    reason: str


@dataclass(frozen=True)
class SpoolPressed:
    """Items were forced out of the spool before they were stored."""

    dropped_files: int
    dropped_bytes: int
    reason: str


@dataclass(frozen=True)
class SettingsConcluded:
    """The camera has taken over a change of settings but for the sections of `failed`, or refuses more of it."""

    change: SettingsChange
    failed: Mapping[str, str]
    """Section, or `section.field`, to the reason."""
    refusal: Optional[PinTheSkyError]
