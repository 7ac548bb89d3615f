"""When a camera was offline, at fault, in privacy or silent: the changes, for the gaps of its timeline."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from msgspec import Struct

from pinthesky.model.identifiers import ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.records.clips import DAY_S
from pinthesky.planes.table import LIMIT_MAX, Key, Position, Put, Range, Record, Table

Cause = Literal["offline", "fault", "privacy", "unknown"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
_MARGIN_DAYS = 30
"""Longer than the clips that they explain: what began before them still holds."""


class Condition(Struct, frozen=True, omit_defaults=True):
    """From then on a cause holds, at the latest `until` (epoch milliseconds), or no longer does."""

    holds: bool
    until: int | None = None


class Span(NamedTuple):
    """A time during which a cause held, epoch milliseconds; the end is not part of it."""

    cause: Cause
    start: int
    end: int


class Conditions:
    """The repository of the conditions."""

    def __init__(self, table: Table, keep_days: int | None) -> None:
        self._table = table
        self._keep_days = keep_days

    def note(self, thing: ThingName, cause: Cause, condition: Condition, *, at_ms: int) -> None:
        """Take that a cause holds from then on, or no longer does; news of it may come in any order."""
        expires_at_s = None if self._keep_days is None else at_ms // 1000 + (self._keep_days + _MARGIN_DAYS) * DAY_S
        key = Key(f"condition#{thing}", f"{cause}#{at_ms:013d}")
        self._table.write(Put(Record(key, rows.encode(condition), expires_at_s=expires_at_s)))

    def observe(self, thing: ThingName, cause: Cause, condition: Condition, *, at_ms: int) -> None:
        """Take how things are now; it is written down only where they were otherwise before."""
        before = self._before(thing, cause, at_ms)
        if condition != (Condition(holds=False) if before is None else rows.decode(before, Condition)):
            self.note(thing, cause, condition, at_ms=at_ms)

    def spans(self, thing: ThingName, cause: Cause, *, start_ms: int, end_ms: int) -> list[Span]:
        """When a cause held from `start_ms` to `end_ms`, in order."""
        found: list[Span] = []
        begun: int | None = None
        until: int | None = None

        def end(at_ms: int) -> None:
            if begun is None:
                return
            first, last = max(begun, start_ms), min(at_ms, end_ms if until is None else until, end_ms)
            if first < last:
                found.append(Span(cause, first, last))

        for at_ms, condition in self._changes(thing, cause, start_ms=start_ms, end_ms=end_ms):
            if condition.holds and begun is not None and condition.until == until:
                continue
            end(at_ms)
            begun, until = (at_ms, condition.until) if condition.holds else (None, None)
        end(end_ms)
        return found

    def _changes(self, thing: ThingName, cause: Cause, *, start_ms: int, end_ms: int) -> list[tuple[int, Condition]]:
        before = self._before(thing, cause, start_ms)
        records = [] if before is None else [before]
        within = Range(f"{cause}#{start_ms + 1:013d}", f"{cause}#{end_ms:013d}")
        after: Position | None = None
        while True:
            page = self._table.query(f"condition#{thing}", within, limit=LIMIT_MAX, after=after)
            records += page.records
            if page.next is None:
                break
            after = page.next
        return [(int(record.key.sort.partition("#")[2]), rows.decode(record, Condition)) for record in records]

    def _before(self, thing: ThingName, cause: Cause, at_ms: int) -> Record | None:
        """The last change at or before a time."""
        until = Range(f"{cause}#", f"{cause}#{at_ms:013d}")
        return next(iter(self._table.query(f"condition#{thing}", until, ascending=False, limit=1).records), None)
