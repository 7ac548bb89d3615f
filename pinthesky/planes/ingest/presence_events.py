"""Cameras that connect and are lost, as the broker tells it: possibly twice, late and out of order."""

from __future__ import annotations

from msgspec.structs import replace

from pinthesky.model.identifiers import ThingName
from pinthesky.planes.home import Home
from pinthesky.planes.ingest import camera_news
from pinthesky.planes.pushes import push
from pinthesky.planes.records.cameras import Camera
from pinthesky.planes.records.conditions import Condition
from pinthesky.planes.records.pushes import Push

REASON_MAX = 200


def changed(home: Home, thing: ThingName, connected: bool, *, at_s: float, now_s: float, reason: str = "") -> None:
    """Take that a camera was connected or lost at `at_s`. Raises Unavailable, to be told again.

    Nobody is alerted yet: a camera may come back before anybody need know (`pinthesky.planes.camera_silence`).
    """
    at_ms = camera_news.time_of(at_s, now_s)

    def told(camera: Camera) -> Camera:
        if camera.online_changed_at is not None and at_ms < camera.online_changed_at:
            return camera
        if camera.online == connected and camera.online_changed_at is not None:
            return camera
        seen_at = max(at_ms, camera.last_seen_at or 0) if connected else camera.last_seen_at
        return replace(camera, online=connected, online_changed_at=at_ms, last_seen_at=seen_at)

    heard = camera_news.changed(home, thing, told, now_s=now_s)
    if heard is None:
        return
    home.conditions.note(thing, "offline", Condition(holds=not connected), at_ms=at_ms)
    if heard.before.online_changed_at == heard.after.online_changed_at:
        return
    news = Push(
        type="camera_online" if connected else "camera_offline",
        camera=thing,
        time=at_ms,
        reason=reason[:REASON_MAX] or None,
    )
    push(home, news, now_s)
