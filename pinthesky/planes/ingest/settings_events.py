"""What cameras report of their settings: what became of those that were desired, and whether they are in privacy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from pinthesky.model.identifiers import ThingName
from pinthesky.model.settings import ModeSettings
from pinthesky.planes import settings_edit
from pinthesky.planes.home import Home
from pinthesky.planes.ingest import camera_news
from pinthesky.planes.ports import ShadowState
from pinthesky.planes.pushes import push
from pinthesky.planes.records.conditions import Condition
from pinthesky.planes.records.pushes import Push

SECTIONS_MAX = 32
REJECTED_MAX = 64
NAME_MAX = 80
REASON_MAX = 300


def reported(home: Home, thing: ThingName, sections: Mapping[str, Any], *, at_ms: int, now_s: float) -> None:
    """Take the reported sections of a camera's shadow, all or some of them."""
    sync = sections.get("sync")
    if isinstance(sections.get("mode"), Mapping):
        _note_mode(home, thing, settings_edit.reported_mode(ShadowState({}, sections, 0)), at_ms=at_ms)
        # Modes that were set past these planes are seen here.
        camera_news.changed(home, thing, lambda camera: settings_edit.with_desired_mode(home, camera), now_s=now_s)
    if isinstance(sync, Mapping):
        applied(home, thing, sync, at_ms=at_ms, now_s=now_s)


def applied(home: Home, thing: ThingName, said: Mapping[str, Any], *, at_ms: int, now_s: float) -> None:
    """Take what became of desired settings; the same again is no news.

    A mode that was applied is the one that is desired: its report may still be on the way.
    """
    sync: dict[str, object] = {
        "fingerprint": _text(said.get("fingerprint"), NAME_MAX),
        "applied": _names(said.get("applied")),
        "rejected": _reasons(said.get("rejected")),
    }
    heard = camera_news.heard(home, thing, lambda camera: replace(camera, settings_sync=sync), now_s=now_s)
    if heard is not None and heard.before.settings_sync != sync:
        push(home, Push(type="settings_applied", camera=thing, time=at_ms, settings=sync), now_s)
        shadow = home.shadows.get(thing) if "mode" in _names(said.get("applied")) else None
        if shadow is not None:
            _note_mode(home, thing, settings_edit.desired_mode(shadow), at_ms=at_ms)


def look_at_mode(home: Home, thing: ThingName, *, at_ms: int) -> None:
    """Take the mode that a camera reports now, where news of a change may have been lost."""
    shadow = home.shadows.get(thing)
    if shadow is not None and "mode" in shadow.reported:
        _note_mode(home, thing, settings_edit.reported_mode(shadow), at_ms=at_ms)


def _note_mode(home: Home, thing: ThingName, mode: ModeSettings, *, at_ms: int) -> None:
    in_privacy = mode.mode == "privacy"
    until_ms = mode.until * 1000 if in_privacy and mode.until is not None else None
    home.conditions.observe(thing, "privacy", Condition(in_privacy, until_ms), at_ms=at_ms)


def _text(value: object, most: int) -> str:
    return value[:most] if isinstance(value, str) else ""


def _names(value: object) -> list[str]:
    listed: Iterable[object] = value if isinstance(value, list) else ()
    return [_text(each, NAME_MAX) for each in listed if isinstance(each, str)][:SECTIONS_MAX]


def _reasons(value: object) -> dict[str, str]:
    listed = list(value.items())[:REJECTED_MAX] if isinstance(value, Mapping) else []
    return {_text(name, NAME_MAX): _text(reason, REASON_MAX) for name, reason in listed}
