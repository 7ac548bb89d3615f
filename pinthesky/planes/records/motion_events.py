"""Motion events: one row for each, whichever of its start and its clips is heard of first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from pinthesky.errors import Conflict, Unavailable
from pinthesky.model.identifiers import EventId, ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.records.clips import ALWAYS, DAY_S, ClipRange
from pinthesky.planes.table import Change, Condition, Key, Page, Position, Put, Record, Table


class MotionEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One motion event. Times are epoch milliseconds."""

    thing_name: ThingName
    event_id: EventId
    heard_at: int
    """When the first news of it arrived."""
    motion_at: int | None = None
    """When motion began, if its start was heard."""
    score: float | None = None
    clip_at: int | None = None
    """The start of the earliest clip, if there is one."""

    @property
    def at(self) -> int:
        """When it was, as well as it is known."""
        known = [time for time in (self.motion_at, self.clip_at) if time is not None]
        return known[0] if known else self.heard_at


class MotionEvents:
    """The repository of the motion events; they are kept as long as clips are."""

    def __init__(self, table: Table, keep_days: int | None) -> None:
        self._table = table
        self._keep_days = keep_days

    def get(self, thing: ThingName, event: EventId) -> MotionEvent:
        """Raises NotFound."""
        return rows.get(self._table, _key(thing, event), MotionEvent, missing=f"{thing} has no event {event}")

    def begin(self, heard: MotionEvent, *along: Change) -> bool:
        """Take the start of motion, and make the changes `along` with it; False where it was heard before."""

        def begun(before: MotionEvent) -> MotionEvent:
            if before.motion_at is not None:
                return before
            return replace(before, motion_at=heard.motion_at, score=heard.score)

        return self._merge(heard, begun, along)

    def recorded(self, heard: MotionEvent) -> bool:
        """Take that there is a clip of it; whether that was news."""

        def earlier(before: MotionEvent) -> MotionEvent:
            known = [time for time in (before.clip_at, heard.clip_at) if time is not None]
            return replace(before, clip_at=min(known, default=None))

        return self._merge(heard, earlier, ())

    def of_camera(
        self, thing: ThingName, within: ClipRange = ALWAYS, *, limit: int, after: Position | None = None
    ) -> Page:
        """A camera's events by their time, the earliest first."""
        return self._table.query_index(f"event#{thing}", within.by_time(), limit=limit, after=after)

    def decoded(self, records: Sequence[Record]) -> list[MotionEvent]:
        """The events of a page."""
        return [rows.decode(record, MotionEvent) for record in records]

    def _merge(self, heard: MotionEvent, to: Callable[[MotionEvent], MotionEvent], along: Sequence[Change]) -> bool:
        for _ in range(rows.TRIES_MAX):
            record = self._table.get(_key(heard.thing_name, heard.event_id))
            after = heard
            if record is not None:
                before = rows.decode(record, MotionEvent)
                after = to(before)
                if after == before:
                    return False
            condition = Condition.ABSENT if record is None else record.version
            try:
                self._table.write(Put(self._record(after), condition), *along)
            except Conflict:
                continue
            return True
        raise Unavailable(f"event {heard.event_id} is changed by too many at once")

    def _record(self, event: MotionEvent) -> Record:
        expires_at_s = (
            None if self._keep_days is None else max(event.at, event.heard_at) // 1000 + self._keep_days * DAY_S
        )
        index = Key(f"event#{event.thing_name}", f"{event.at:013d}#{event.event_id}")
        return Record(_key(event.thing_name, event.event_id), rows.encode(event), index, expires_at_s)


def _key(thing: ThingName, event: EventId) -> Key:
    return Key(f"event#{thing}", str(event))
