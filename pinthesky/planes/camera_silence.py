"""Cameras that nothing is heard of: people are told once when one goes, and once when it is back."""

from __future__ import annotations

from msgspec.structs import replace

from pinthesky.errors import NotFound
from pinthesky.model.identifiers import ThingName
from pinthesky.model.settings import HealthSettings
from pinthesky.planes import alerts
from pinthesky.planes.home import Home
from pinthesky.planes.records.cameras import Camera
from pinthesky.planes.records.conditions import Condition
from pinthesky.planes.table import LIMIT_MAX, Position

GRACE_S = 120.0
"""For how long a camera may be away before anybody is told: a router that restarts is no news."""
REPORTS_MISSED = 2
"""A camera that is connected but says nothing has missed so many health reports when it counts as silent."""


def check(home: Home, now_s: float, *, grace_s: float = GRACE_S) -> list[ThingName]:
    """Look at every camera, about once a minute; returns those that went silent or came back.

    This alone decides that a camera is silent, by one conditional change, so several who look at once alert once.
    """
    changed: list[ThingName] = []
    after: Position | None = None
    while True:
        page = home.cameras.page(limit=LIMIT_MAX, after=after)
        changed += [
            camera.thing_name
            for camera in page.rows
            if _is_silent(home, camera, now_s, grace_s=grace_s) != camera.silent and _flip(home, camera, now_s)
        ]
        after = page.next
        if after is None:
            return changed


def _is_silent(home: Home, camera: Camera, now_s: float, *, grace_s: float) -> bool:
    seen_s = max(camera.last_seen_at or 0, camera.created_at) / 1000
    if not camera.online:
        if camera.online_changed_at is None and camera.last_seen_at is None:
            return False  # it has never been here, so it is not missed
        lost_s = max(seen_s, (camera.online_changed_at or 0) / 1000)
        return now_s - lost_s >= grace_s
    patience_s = REPORTS_MISSED * HealthSettings().interval + grace_s
    if now_s - seen_s < patience_s:
        return False
    return now_s - seen_s >= REPORTS_MISSED * _interval_s(home, camera.thing_name) + grace_s


def _interval_s(home: Home, thing: ThingName) -> float:
    """How often the camera reports its health; asked only of one that has been quiet for long."""
    shadow = home.shadows.get(thing)
    interval = None if shadow is None else shadow.reported.get("health", {}).get("interval")
    default = HealthSettings().interval
    return max(default, interval) if isinstance(interval, int) else default


def _flip(home: Home, seen: Camera, now_s: float) -> bool:
    befores: list[Camera] = []

    def flipped(camera: Camera) -> Camera:
        befores.append(camera)
        # Whatever was heard since `seen` was read is judged by the next look.
        return replace(camera, silent=not seen.silent) if camera == seen else camera

    try:
        after = home.cameras.change(seen.thing_name, flipped)
    except NotFound:
        return False
    if befores[-1] == after:
        return False
    # Of a camera that is offline the timeline says so; one that is connected and silent is a riddle.
    unknown = Condition(holds=after.silent and seen.online)
    home.conditions.observe(seen.thing_name, "unknown", unknown, at_ms=int(now_s * 1000))
    minutes = round((now_s - max(seen.last_seen_at or 0, seen.online_changed_at or 0) / 1000) / 60)
    occasion = alerts.Occasion(
        alert_type="camera_offline" if after.silent else "camera_online",
        thing=seen.thing_name,
        at_s=now_s,
        title="Nothing is heard of {camera}" if after.silent else "{camera} is back",
        text=f"for {minutes} minutes" if after.silent else "",
    )
    alerts.tell(home, occasion, now_s)
    return True
