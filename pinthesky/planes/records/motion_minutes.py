"""How much of each minute was motion, as the cameras tell it: a row for each hour that had some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from pinthesky.errors import Conflict, Unavailable
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.records.clips import DAY_S
from pinthesky.planes.table import LIMIT_MAX, Condition, Key, Position, Put, Range, Record, Table

HOUR_MINUTES = 60


class MotionHour(Struct, frozen=True):
    """The minutes of an hour (0 to 59) that had motion, with the percent of each."""

    minutes: dict[int, int]


class MotionMinutes:
    """The repository of the minutes; they are kept as long as clips are."""

    def __init__(self, table: Table, keep_days: int | None) -> None:
        self._table = table
        self._keep_days = keep_days

    def note(self, thing: ThingName, percent_of: Mapping[int, int]) -> None:
        """Take the percent of epoch minutes. Of what is told of a minute twice the greater one holds."""
        hours: dict[int, dict[int, int]] = {}
        for minute, percent in percent_of.items():
            hours.setdefault(minute // HOUR_MINUTES, {})[minute % HOUR_MINUTES] = percent
        for hour, minutes in sorted(hours.items()):
            self._merge(thing, hour, minutes)

    def between(self, thing: ThingName, first: int, last: int) -> dict[int, int]:
        """The percent of the epoch minutes from `first` to `last` that had motion."""
        within = Range(_sort(first // HOUR_MINUTES), _sort(last // HOUR_MINUTES))
        found: dict[int, int] = {}
        after: Position | None = None
        while True:
            page = self._table.query(f"motion#{thing}", within, limit=LIMIT_MAX, after=after)
            found |= _minutes(page.records)
            if page.next is None:
                return {minute: percent for minute, percent in found.items() if first <= minute <= last}
            after = page.next

    def _merge(self, thing: ThingName, hour: int, minutes: Mapping[int, int]) -> None:
        key = Key(f"motion#{thing}", _sort(hour))
        expires_at_s = None if self._keep_days is None else (hour + 1) * 3600 + self._keep_days * DAY_S
        for _ in range(rows.TRIES_MAX):
            record = self._table.get(key)
            before = {} if record is None else rows.decode(record, MotionHour).minutes
            after = dict(before)
            for minute, percent in minutes.items():
                after[minute] = max(percent, before.get(minute, 0))
            if after == before:
                return
            content = rows.encode(MotionHour(dict(sorted(after.items()))))
            condition = Condition.ABSENT if record is None else record.version
            try:
                self._table.write(Put(Record(key, content, expires_at_s=expires_at_s), condition))
            except Conflict:
                continue
            return
        raise Unavailable(f"the motion of {thing} is changed by too many at once")


def _minutes(records: Iterable[Record]) -> dict[int, int]:
    return {
        int(record.key.sort) * HOUR_MINUTES + minute: percent
        for record in records
        for minute, percent in rows.decode(record, MotionHour).minutes.items()
    }


def _sort(hour: int) -> str:
    return f"{hour:07d}"
