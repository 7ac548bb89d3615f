"""What cameras report of their settings: what became of those that were desired, and whether they are in privacy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from pinthesky.model.identifiers import ThingName
from pinthesky.planes.home import Home
from pinthesky.planes.ingest import camera_news
from pinthesky.planes.pushes import push
from pinthesky.planes.records.conditions import Condition
from pinthesky.planes.records.pushes import Push

SECTIONS_MAX = 32
REJECTED_MAX = 64
NAME_MAX = 80
REASON_MAX = 300


def reported(home: Home, thing: ThingName, sections: Mapping[str, Any], *, at_ms: int, now_s: float) -> None:
    """Take the reported sections of a camera's shadow, all or some of them."""
    sync, mode = sections.get("sync"), sections.get("mode")
    if isinstance(mode, Mapping):
        until = mode.get("until")
        until_ms = until * 1000 if isinstance(until, int) and not isinstance(until, bool) and until > 0 else None
        in_privacy = mode.get("mode") == "privacy"
        home.conditions.note(thing, "privacy", at_ms, Condition(in_privacy, until_ms if in_privacy else None))
    if isinstance(sync, Mapping):
        applied(home, thing, sync, at_ms=at_ms, now_s=now_s)


def applied(home: Home, thing: ThingName, said: Mapping[str, Any], *, at_ms: int, now_s: float) -> None:
    """Take what became of desired settings; the same again is no news."""
    sync: dict[str, object] = {
        "fingerprint": _text(said.get("fingerprint"), NAME_MAX),
        "applied": _names(said.get("applied")),
        "rejected": _reasons(said.get("rejected")),
    }
    heard = camera_news.heard(home, thing, now_s, lambda camera: replace(camera, settings_sync=sync))
    if heard is not None and heard.before.settings_sync != sync:
        push(home, Push(type="settings_applied", camera=thing, time=at_ms, settings=sync), now_s)


def _text(value: object, most: int) -> str:
    return value[:most] if isinstance(value, str) else ""


def _names(value: object) -> list[str]:
    listed: Iterable[object] = value if isinstance(value, list) else ()
    return [_text(each, NAME_MAX) for each in listed if isinstance(each, str)][:SECTIONS_MAX]


def _reasons(value: object) -> dict[str, str]:
    listed = list(value.items())[:REJECTED_MAX] if isinstance(value, Mapping) else []
    return {_text(name, NAME_MAX): _text(reason, REASON_MAX) for name, reason in listed}
