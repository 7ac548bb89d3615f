"""Routes that have a camera take a still or a clip now."""

from __future__ import annotations

import secrets
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from pinthesky.errors import NotFound
from pinthesky.model.identifiers import CaptureId, FileName, MediaKey, ThingName
from pinthesky.model.recording import LATEST_STILL
from pinthesky.planes.authorization import Permission
from pinthesky.planes.control_plane.cameras import STILL_URL_S
from pinthesky.planes.listing import EpochMs
from pinthesky.planes.routing import Call, Routes

routes = Routes("capture")


class CaptureAsked(Struct, kw_only=True, rename="camel"):
    """A camera was asked for a still or a clip. It may be offline and never hear of it."""

    capture_id: Annotated[CaptureId, Meta(description="Comes back with the push that tells of it.")]
    requested_at: EpochMs
    online: bool


class VideoOrder(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """How long a clip is to be."""

    duration_in_seconds: Annotated[int, Meta(ge=1, le=300)] = 30


class StillState(Struct, kw_only=True, rename="camel"):
    """The latest still, and the one that was asked for last."""

    thing_name: ThingName
    captured_at: EpochMs | None
    size: Annotated[int, Meta(description="Bytes.")] | None
    capture_id: Annotated[str, Meta(description="The id under which a still was asked for last, or empty.")]
    requested_at: EpochMs | None
    pending: Annotated[bool, Meta(description="Whether it is still awaited.")]
    error: Annotated[str, Meta(description="Why it could not be taken, or empty.")]


class MediaUrl(Struct, kw_only=True, rename="camel"):
    """An address from which anybody can get an object until a time."""

    url: str
    expires_at: EpochMs


@routes.post("/cameras/{thing}/captureImage", Permission.WATCH, "Take a still now", status=202)
def capture_image(call: Call, thing: ThingName) -> CaptureAsked:
    """It arrives as a push, and as the camera's latest still."""
    call.home.cameras.get(thing)
    asked, capture_id = round(call.now_s * 1000), CaptureId(secrets.token_hex(16))
    # Written down before it is sent: the answer may be quicker than a record behind it.
    camera = call.home.cameras.change(
        thing, lambda camera: replace(camera, still_capture_id=capture_id, still_asked_at=asked, still_error="")
    )
    context = {"capture_id": str(capture_id), "file_name": LATEST_STILL}
    call.home.commands.send(thing, {"name": "capture_image", "context": context})
    return CaptureAsked(capture_id=capture_id, requested_at=asked, online=camera.online)


@routes.get("/cameras/{thing}/captureImage", Permission.READ, "The latest still")
def get_still(call: Call, thing: ThingName) -> StillState:
    """What there is, and whether another one is awaited."""
    camera = call.home.cameras.get(thing)
    asked_for = call.home.media.describe(_asked_for_key(call, thing))
    shown = asked_for if not camera.still_key else call.home.media.describe(MediaKey(camera.still_key))
    asked_at = camera.still_asked_at
    is_there = camera.still_taken_id == camera.still_capture_id or (
        asked_for is not None and asked_at is not None and asked_for.stored_at_s * 1000 >= asked_at
    )
    return StillState(
        thing_name=thing,
        captured_at=None if shown is None else camera.still_at or round(shown.stored_at_s * 1000),
        size=None if shown is None else shown.size,
        capture_id=camera.still_capture_id,
        requested_at=asked_at,
        pending=asked_at is not None and not camera.still_error and not is_there,
        error=camera.still_error,
    )


@routes.get("/cameras/{thing}/captureImage/url", Permission.READ, "An address of the latest still")
def get_still_url(call: Call, thing: ThingName) -> MediaUrl:
    """404 while there is no still."""
    camera = call.home.cameras.get(thing)
    # Stills that were taken before the camera was adopted are there, with no record that names them.
    key = MediaKey(camera.still_key) if camera.still_key else _asked_for_key(call, thing)
    if call.home.media.describe(key) is None:
        raise NotFound(f"there is no still of {thing}")
    url = call.home.media.url(key, lifetime_s=STILL_URL_S)
    return MediaUrl(url=url, expires_at=round((call.now_s + STILL_URL_S) * 1000))


@routes.post("/cameras/{thing}/captureVideo", Permission.OPERATE, "Record a clip now", status=202)
def capture_video(call: Call, thing: ThingName, body: VideoOrder) -> CaptureAsked:
    """It arrives as a push, and among the camera's clips with the trigger `manual`."""
    camera = call.home.cameras.get(thing)
    capture_id = CaptureId(secrets.token_hex(16))
    context = {"capture_id": str(capture_id), "duration": body.duration_in_seconds}
    call.home.commands.send(thing, {"name": "capture_video", "context": context})
    return CaptureAsked(capture_id=capture_id, requested_at=round(call.now_s * 1000), online=camera.online)


def _asked_for_key(call: Call, thing: ThingName) -> MediaKey:
    """Where a still goes that somebody asked for."""
    return MediaKey.of(call.home.image_prefix, thing, FileName(LATEST_STILL))
