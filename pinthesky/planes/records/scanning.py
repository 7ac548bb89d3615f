"""Lists over a filter that has no partition of its own: a bounded number of rows is looked at for each page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import Struct

from pinthesky.planes.records.rows import Rows
from pinthesky.planes.table import Page, Position, Record

Row = TypeVar("Row", bound=Struct)

READ_FACTOR = 10
"""How many rows are looked at, at most, for each one that a page may have."""

Read = Callable[[int, "Position | None"], Page]
"""Up to so many records behind a position."""
Resolve = Callable[[Sequence[Record]], "Sequence[Row | None]"]
"""What stands behind each record; None where it is gone."""


def scan(
    read: Read, resolve: Resolve[Row], keep: Callable[[Row], bool], *, limit: int, after: Position | None
) -> Rows[Row]:
    """Up to `limit` rows that `keep` lets pass, and where to go on behind the last one that was looked at.

    A page may have few rows, or none, before the list ends: its `next` says whether it has.
    """
    found: list[Row] = []
    budget = READ_FACTOR * limit
    while budget > 0:
        page = read(min(limit, budget), after)
        for record, row in zip(page.records, resolve(page.records), strict=True):
            if row is None or not keep(row):
                continue
            found.append(row)
            if len(found) == limit:
                at_end = page.next is None and record is page.records[-1]
                return Rows(found, None if at_end else Position(record.key, record.index))
        if page.next is None:
            return Rows(found, None)
        after = page.next
        budget -= len(page.records)
    return Rows(found, after)
