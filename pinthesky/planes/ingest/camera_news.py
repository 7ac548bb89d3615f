"""A camera is heard of: it is adopted, seen, and changed by what was heard."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from pinthesky.errors import NotFound
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.home import Home
from pinthesky.planes.records.cameras import Camera

logger = logging.getLogger(__name__)

SEEN_EVERY_MS = 60_000
"""A camera that says nothing else that is new is written down as seen only so often."""
AHEAD_MAX_MS = 60_000
"""What is said to happen later than that was stamped by a wrong clock, and counts as happening now."""


class Heard(NamedTuple):
    """A camera before and after the news."""

    before: Camera
    after: Camera


def changed(home: Home, thing: ThingName, to: Callable[[Camera], Camera], *, now_s: float) -> Heard | None:
    """Change a camera; one that is not known is adopted if its thing is registered. None where it is not."""
    befores: list[Camera] = []

    def noted(camera: Camera) -> Camera:
        befores.append(camera)
        return to(camera)

    try:
        after = home.cameras.change(thing, noted)
    except NotFound:
        if not home.things.exists(thing):
            logger.warning("Something that is no camera of this home speaks as %s", thing)
            return None
        home.cameras.adopt(thing, int(now_s * 1000))
        after = home.cameras.change(thing, noted)
    return Heard(befores[-1], after)


def heard(
    home: Home, thing: ThingName, to: Callable[[Camera], Camera] = lambda camera: camera, *, now_s: float
) -> Heard | None:
    """The same for what only the camera itself can have said: it is there, and was seen now."""
    now_ms = int(now_s * 1000)

    def seen(camera: Camera) -> Camera:
        after = to(camera)
        last_ms = camera.last_seen_at or 0
        if after == camera and now_ms - last_ms < SEEN_EVERY_MS:
            return camera
        return replace(after, last_seen_at=max(now_ms, last_ms))

    return changed(home, thing, seen, now_s=now_s)


def time_of(timestamp_s: float | None, now_s: float) -> int:
    """When something happened, epoch milliseconds: what the camera says, if a right clock can have said it."""
    now_ms = int(now_s * 1000)
    if timestamp_s is None or not 0 <= timestamp_s * 1000 <= now_ms + AHEAD_MAX_MS:
        return now_ms
    return round(timestamp_s * 1000)
