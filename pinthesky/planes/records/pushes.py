"""The pushes of the last day: what open consoles were told, so that one that was away can catch up."""

from __future__ import annotations

import re
import secrets
import threading
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from pinthesky.model.identifiers import Identifier, ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.table import Key, Page, Position, Put, Range, Record, Table

PARTITION = "push"
KEPT_S = 86_400
OVERLAP_MS = 10_000
"""Two writers' clocks may differ by so much: who catches up begins so long before what it saw last."""

PushType = Literal[
    "motion_started",
    "clip_stored",
    "still_captured",
    "health_reported",
    "settings_applied",
    "job_progress",
    "camera_online",
    "camera_offline",
    "camera_fault",
    "recording_changed",
    "spool_pressure",
    "clip_deleted",
]


class PushId(Identifier):
    """`<epoch ms>-<random>`: in the order in which a process made them; of several as well as their clocks agree."""

    __slots__ = ()
    _field = "after"
    _pattern = re.compile(r"[0-9]{13}-[0-9a-f]{12}")
    _rule = "must be the id of an event"

    @classmethod
    def new(cls, now_ms: int) -> PushId:
        """A fresh id."""
        return cls(f"{now_ms:013d}-{secrets.token_hex(6)}")

    @property
    def at_ms(self) -> int:
        """When it was made, epoch milliseconds."""
        return int(self[:13])


class Push(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One push, as it travels in `{"event": …}`. Beside the first four fields, those that its type has."""

    type: PushType
    camera: ThingName | None
    """Whom it is about; who may not see that camera never hears of it."""
    time: int
    """When it happened, epoch milliseconds."""
    id: PushId | None = None
    event_id: str | None = None
    score: float | None = None
    video: str | None = None
    started_at: int | None = None
    duration_seconds: float | None = None
    trigger: str | None = None
    part: int | None = None
    labels: dict[str, float] | None = None
    file_name: str | None = None
    health: dict[str, Any] | None = None
    """The fields of a health report, by their names on the wire."""
    settings: dict[str, Any] | None = None
    """The shadow's section `sync`, by its names on the wire."""
    job: str | None = None
    status: str | None = None
    reason: str | None = None
    recovered: bool | None = None
    recording: bool | None = None
    dropped_files: int | None = None
    dropped_bytes: int | None = None


class Prepared(NamedTuple):
    """A push with its id, and the change that keeps it."""

    push: Push
    change: Put


class Pushes:
    """The repository of the pushes."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._last_ms: int | None = None
        """The time in the last id; None before the first one of this process."""

    def prepare(self, push: Push, now_s: float) -> Prepared:
        """Give a push its id; it is kept when the change is made."""
        named = replace(push, id=PushId.new(self._next_ms(int(now_s * 1000))))
        key = Key(PARTITION, str(named.id))
        return Prepared(named, Put(Record(key, rows.encode(named), expires_at_s=int(now_s) + KEPT_S)))

    def keep(self, prepared: Prepared) -> None:
        """Make the change."""
        self._table.write(prepared.change)

    def _next_ms(self, now_ms: int) -> int:
        """The time of the next id: it lies behind that of the last one, also when the clock was set back."""
        with self._lock:
            if self._last_ms is None:
                newest = self._table.query(PARTITION, ascending=False, limit=1).records
                self._last_ms = PushId(newest[0].key.sort).at_ms if newest else 0
            self._last_ms = max(now_ms, self._last_ms + 1)
            return self._last_ms

    def since(self, seen: PushId | None, *, limit: int, after: Position | None = None) -> Page:
        """Pushes in order, from a while before `seen`, from the beginning where nothing was."""
        first = "" if seen is None else f"{max(0, seen.at_ms - OVERLAP_MS):013d}"
        return self._table.query(PARTITION, Range(first), limit=limit, after=after)
