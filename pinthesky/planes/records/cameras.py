"""The cameras: what people call them, and how they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from pinthesky.model.identifiers import ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.table import Delete, Key, Position, Record, Table

PARTITION = "camera"


class Camera(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One camera. Times are epoch milliseconds."""

    thing_name: ThingName
    display_name: str
    created_at: int
    description: str = ""
    online: bool = False
    online_changed_at: int | None = None
    """When it connected or was lost."""
    last_seen_at: int | None = None
    silent: bool = False
    """Whether people were told that nothing is heard of it."""
    fault: str = ""
    """Why it gives no pictures; empty when it does."""
    fault_changed_at: int | None = None
    recording: bool = False
    recording_changed_at: int | None = None
    last_motion_at: int | None = None
    still_key: str = ""
    """Key of the latest still or thumbnail."""
    still_at: int | None = None
    still_error: str = ""
    """Why the still that was asked for last could not be taken; empty when it was, or is awaited."""
    still_capture_id: str = ""
    """Under which id a still was asked for last."""
    still_asked_at: int | None = None
    still_taken_id: str = ""
    """Under which id a still was taken last, as the camera says. A store may know whole seconds only."""
    mode: str = "armed"
    """What was desired last of the section `mode`."""
    mode_until: int | None = None
    software_version: str = ""
    settings_sync: dict[str, Any] = {}
    """What became of the settings that were desired last: the shadow's section `sync`."""


class Cameras:
    """The repository of the cameras."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, thing: ThingName) -> Camera:
        """Raises NotFound."""
        return rows.get(self._table, key_of(thing), Camera, missing=f"there is no camera {thing}")

    def get_many(self, things: Sequence[ThingName]) -> list[Camera]:
        """Those of up to 100 that exist, in the order asked for."""
        found = self._table.get_many([key_of(thing) for thing in dict.fromkeys(things)])
        return [rows.decode(found[key_of(thing)], Camera) for thing in dict.fromkeys(things) if key_of(thing) in found]

    def page(self, *, limit: int, after: Position | None = None) -> rows.Rows[Camera]:
        """Cameras in the order of their things' names."""
        return rows.decode_page(self._table.query(PARTITION, limit=limit, after=after), Camera)

    def add(self, camera: Camera) -> None:
        """Raises Conflict when it is there already."""
        rows.create(self._table, _record(camera), exists=f"there is a camera {camera.thing_name} already")

    def adopt(self, thing: ThingName, now_ms: int) -> Camera:
        """The camera, made from its thing's name where it is heard of for the first time."""
        record = self._table.get(key_of(thing))
        if record is not None:
            return rows.decode(record, Camera)
        camera = Camera(thing_name=thing, display_name=thing, created_at=now_ms)
        if rows.create_if_absent(self._table, _record(camera)):
            return camera
        return self.get(thing)

    def change(self, thing: ThingName, to: Callable[[Camera], Camera]) -> Camera:
        """Replace a camera by `to(camera)`, whatever else changes it meanwhile. Raises NotFound."""
        return rows.change(
            self._table, key_of(thing), Camera, to_record=_record, to=to, missing=f"there is no camera {thing}"
        )

    def remove(self, thing: ThingName) -> None:
        """One that is not there is no error."""
        self._table.write(Delete(key_of(thing)))


def key_of(thing: ThingName) -> Key:
    """Where a camera stands in the table."""
    return Key(PARTITION, str(thing))


def _record(camera: Camera) -> Record:
    return Record(key_of(camera.thing_name), rows.encode(camera))
