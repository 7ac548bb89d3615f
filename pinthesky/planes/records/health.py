"""The health reports of the cameras: every one for as long as it is kept, and the latest of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pinthesky.errors import Conflict, Unavailable
from pinthesky.model.health import HealthReport
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.table import LIMIT_MAX, Change, Condition, Delete, Key, Position, Put, Range, Record, Table

LATEST = "health"
AHEAD_MAX_MS = 60_000
"""A report from further in the future was stamped by a wrong clock."""
FORGET_MAX = 5000
"""Most reports that are forgotten at once."""
NUMBER_MAX = 2**53
"""Largest number of a report, bytes of a disk among them: what every reader of JSON keeps exactly."""
_DAY_S = 86_400
_FIELDS = {field.name: field.type for field in msgspec.structs.fields(HealthReport)}


class StoredReport(Struct, frozen=True, kw_only=True, rename="camel"):
    """One report of a camera."""

    thing_name: ThingName
    timestamp: int
    """Epoch milliseconds."""
    report: dict[str, Any]
    """The fields of `pinthesky.model.health` that could be read, by their names on the wire."""


class HealthReports:
    """The repository of the health reports."""

    def __init__(self, table: Table, kept_days: int | None) -> None:
        """Reports are kept for `kept_days`, None: for ever. The latest of a camera always is."""
        self._table = table
        self._kept_days = kept_days

    def report(self, thing: ThingName, document: Mapping[str, Any], now_ms: int) -> StoredReport:
        """Keep what a camera has sent, an event `health_end`. What is no valid field of a report is left out."""
        sent_s = document.get("timestamp")
        at_ms = now_ms
        if (
            isinstance(sent_s, int | float)
            and not isinstance(sent_s, bool)
            and 0 <= sent_s * 1000 <= now_ms + AHEAD_MAX_MS
        ):
            at_ms = round(sent_s * 1000)
        expires_at_s = None if self._kept_days is None else at_ms // 1000 + self._kept_days * _DAY_S
        return self.add(thing, at_ms, valid_fields(document), expires_at_s=expires_at_s)

    def add(self, thing: ThingName, at_ms: int, report: Mapping[str, Any], *, expires_at_s: int | None) -> StoredReport:
        """Keep a report of epoch millisecond `at_ms`; saying it twice changes nothing, a late one is not the latest."""
        stored = StoredReport(thing_name=thing, timestamp=at_ms, report=dict(report))
        history = Put(Record(_key(thing, at_ms), rows.encode(stored), expires_at_s=expires_at_s))
        for _ in range(rows.TRIES_MAX):
            try:
                self._table.write(history, *self._as_latest(stored))
            except Conflict:
                continue
            return stored
        raise Unavailable(f"reports of {thing} come too quickly")

    def get(self, thing: ThingName, at_ms: int) -> StoredReport:
        """Raises NotFound."""
        missing = f"{thing} has no report of {at_ms}"
        return rows.get(self._table, _key(thing, at_ms), StoredReport, missing=missing)

    def latest(self, things: Sequence[ThingName]) -> list[StoredReport]:
        """The latest report of each of up to 100 cameras that ever sent one, in the order asked for."""
        keys = [Key(LATEST, str(thing)) for thing in dict.fromkeys(things)]
        found = self._table.get_many(keys)
        return [rows.decode(found[key], StoredReport) for key in keys if key in found]

    def page(
        self,
        thing: ThingName,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        ascending: bool = False,
        limit: int,
        after: Position | None = None,
    ) -> rows.Rows[StoredReport]:
        """Reports of a camera by their time, `start_ms` and `end_ms` included."""
        within = Range(_sort(start_ms or 0), Range().last if end_ms is None else _sort(end_ms))
        page = self._table.query(_history(thing), within, ascending=ascending, limit=limit, after=after)
        return rows.decode_page(page, StoredReport)

    def forget_camera(self, thing: ThingName, until_ms: int) -> bool:
        """Forget a camera's reports until a time, FORGET_MAX at most; whether none is left."""
        latest = self._table.get(Key(LATEST, str(thing)))
        if latest is not None and rows.decode(latest, StoredReport).timestamp <= until_ms:
            self._table.write(Delete(latest.key))
        for _ in range(FORGET_MAX // LIMIT_MAX):
            page = self._table.query(_history(thing), Range("", _sort(until_ms)))
            if page.records:
                self._table.write(*(Delete(record.key) for record in page.records))
            if page.next is None:
                return True
        return False

    def _as_latest(self, stored: StoredReport) -> Sequence[Change]:
        key = Key(LATEST, str(stored.thing_name))
        found = self._table.get(key)
        if found is not None and rows.decode(found, StoredReport).timestamp >= stored.timestamp:
            return ()
        return (Put(Record(key, rows.encode(stored)), Condition.ABSENT if found is None else found.version),)


def valid_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Those fields of an event that are valid fields of a report and say something."""
    found = {}
    for name, kind in _FIELDS.items():
        value = document.get(name)
        if value is None or (isinstance(value, int | float) and not abs(value) <= NUMBER_MAX):
            continue
        try:
            found[name] = msgspec.convert(value, kind)
        except msgspec.ValidationError:
            # Devices of all ages report here: what one of them cannot say rightly does not hide the rest.
            continue
    return found


def _history(thing: ThingName) -> str:
    return f"health#{thing}"


def _sort(at_ms: int) -> str:
    return f"{at_ms:013}"


def _key(thing: ThingName, at_ms: int) -> Key:
    return Key(_history(thing), _sort(at_ms))
