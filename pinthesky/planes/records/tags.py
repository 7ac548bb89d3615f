"""Tags: words that people put clips under. Which clips are under one is kept with the clips."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Self

from msgspec import Struct

from pinthesky.model.identifiers import Identifier
from pinthesky.planes.records import rows
from pinthesky.planes.table import Check, Condition, Delete, Key, Position, Record, Table

PARTITION = "tag"


class TagName(Identifier):
    """What a tag is called, in any language. Its characters are composed (NFC), so equal looks are equal names."""

    __slots__ = ()
    _field = "tag"
    _pattern = re.compile(r"[^\W_](?:[\w .-]{0,58}[\w.-])?")
    _rule = "must be 1 to 60 letters, digits, ' ', '.', '_' or '-', begin with a letter or digit, not end with space"

    @classmethod
    def parse(cls, value: object, field: str | None = None) -> Self:
        """Compose the characters, then validate."""
        return super().parse(unicodedata.normalize("NFC", value) if isinstance(value, str) else value, field)


class Tag(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A tag. Times are epoch milliseconds."""

    name: TagName
    created_at: int
    description: str = ""


class Tags:
    """The repository of the tags."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, name: TagName) -> Tag:
        """Raises NotFound."""
        return rows.get(self._table, _key(name), Tag, missing=f"there is no tag {name}")

    def page(self, *, limit: int, after: Position | None = None) -> rows.Rows[Tag]:
        """Tags in the order of their names."""
        return rows.decode_page(self._table.query(PARTITION, limit=limit, after=after), Tag)

    def add(self, tag: Tag) -> None:
        """Raises Conflict when it is there already."""
        rows.create(self._table, _record(tag), exists=f"there is a tag {tag.name} already")

    def change(self, name: TagName, to: Callable[[Tag], Tag]) -> Tag:
        """Replace a tag by `to(tag)`. Raises NotFound."""
        return rows.change(self._table, _key(name), Tag, to_record=_record, to=to, missing=f"there is no tag {name}")

    def remove(self, name: TagName) -> None:
        """Remove a tag; its clips stay. One that is not there is no error."""
        self._table.write(Delete(_key(name)))

    def needed(self, name: TagName) -> Check:
        """What has to hold for a clip to be put under a tag."""
        return Check(_key(name), Condition.PRESENT)


def _key(name: TagName) -> Key:
    return Key(PARTITION, str(name))


def _record(tag: Tag) -> Record:
    return Record(_key(tag.name), rows.encode(tag))
