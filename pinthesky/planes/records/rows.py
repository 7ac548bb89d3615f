"""What the repositories share: content as JSON, changes that nobody overtakes, pages of what is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from pinthesky.errors import Conflict, InvariantBroken, NotFound, Unavailable
from pinthesky.model.identifiers import Identifier, plain
from pinthesky.planes.table import Change, Condition, Key, Page, Position, Put, Record, Table

Row = TypeVar("Row", bound=msgspec.Struct)

TRIES_MAX = 8
"""How often a change begins again because another one was faster."""


class Rows(NamedTuple, Generic[Row]):
    """Some rows of a list, and where it goes on."""

    rows: Sequence[Row]
    next: Position | None


def encode(row: msgspec.Struct) -> bytes:
    """A row as it is stored."""
    return msgspec.json.encode(row, enc_hook=plain)


def decode(record: Record, kind: type[Row]) -> Row:
    """A row as it was stored. Raises InvariantBroken: only repositories write there."""
    try:
        return msgspec.json.decode(record.content, type=kind, dec_hook=_identifier)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvariantBroken(f"{record.key.partition} {record.key.sort} is no {kind.__name__}: {error}") from error


def decode_page(page: Page, kind: type[Row]) -> Rows[Row]:
    """The rows of a page."""
    return Rows([decode(record, kind) for record in page.records], page.next)


def get(table: Table, key: Key, kind: type[Row], *, missing: str) -> Row:
    """The row at `key`. Raises NotFound(missing)."""
    record = table.get(key)
    if record is None:
        raise NotFound(missing)
    return decode(record, kind)


def change(
    table: Table,
    key: Key,
    kind: type[Row],
    *,
    to_record: Callable[[Row], Record],
    to: Callable[[Row], Row],
    missing: str,
    along: Callable[[Row, Row], Sequence[Change]] = lambda _before, _after: (),
) -> Row:
    """Replace the row at `key` by `to(row)`, whoever else changes it meanwhile; `along` are changes made with it.

    `to` may be called several times; where it returns an equal row nothing is written. Raises NotFound(missing).
    """
    for _ in range(TRIES_MAX):
        record = table.get(key)
        if record is None:
            raise NotFound(missing)
        before = decode(record, kind)
        after = to(before)
        if after == before:
            return before
        try:
            table.write(Put(to_record(after), record.version), *along(before, after))
        except Conflict:
            continue
        return after
    raise Unavailable(f"{key.partition} {key.sort} is changed by too many at once")


def create(table: Table, record: Record, *, exists: str) -> None:
    """Write a record where there is none. Raises Conflict(exists)."""
    if not create_if_absent(table, record):
        raise Conflict(exists)


def create_if_absent(table: Table, record: Record, *along: Change) -> bool:
    """Write a record where there is none, and `along` with it. False where there is one: nothing is changed then."""
    try:
        table.write(Put(record, Condition.ABSENT), *along)
    except Conflict:
        return False
    return True


def _identifier(kind: type, value: object) -> object:
    """`dec_hook` for msgspec: identifiers are parsed again, so a damaged row is noticed."""
    if issubclass(kind, Identifier):
        return kind.parse(value)
    raise NotImplementedError(kind.__name__)
