"""How often somebody has tried something: counted in fixed windows of time, for whoever is not to try without end."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from pinthesky.errors import NotFound, Throttled
from pinthesky.planes.records import rows
from pinthesky.planes.table import Key, Record, Table


class _Tries(Struct, frozen=True, kw_only=True):
    count: int
    until_s: int
    """Epoch second at which the count begins anew."""


class Attempts:
    """Counts by `what` and `who`. `most` in each `window_s` are let through."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def count(self, what: str, who: str, *, most: int, window_s: int, now_s: float) -> None:
        """Count one more. Raises Throttled when that is one too many."""
        key = _key(what, who)
        first = _Tries(count=1, until_s=int(now_s) + window_s)
        if rows.create_if_absent(self._table, _record(key, first)):
            return
        try:
            tries = rows.change(
                self._table,
                key,
                _Tries,
                to_record=lambda each: _record(key, each),
                to=lambda each: replace(each, count=min(each.count, most) + 1),
                missing="the window has just ended",
            )
        except NotFound:
            return
        _refuse_above(tries, most, now_s)

    def check(self, what: str, who: str, *, most: int, now_s: float) -> None:
        """Raises Throttled when `most` are used up; counts nothing."""
        record = self._table.get(_key(what, who))
        if record is not None:
            tries = rows.decode(record, _Tries)
            _refuse_above(replace(tries, count=tries.count + 1), most, now_s)


def _refuse_above(tries: _Tries, most: int, now_s: float) -> None:
    if tries.count > most:
        raise Throttled("too many attempts; wait a while", max(1, tries.until_s - int(now_s)))


def _key(what: str, who: str) -> Key:
    return Key(f"attempts#{what}", who)


def _record(key: Key, tries: _Tries) -> Record:
    return Record(key, rows.encode(tries), expires_at_s=tries.until_s)
