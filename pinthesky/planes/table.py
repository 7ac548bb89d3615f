"""The one table of the records: what stands in it, and the port that `pinthesky.aws` and `pinthesky.hub` serve."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pinthesky.errors import InvalidInput

LIMIT_MAX = 100
"""Most records of a page."""
TRANSACTION_MAX = 100
"""Most changes of a transaction (DynamoDB)."""
RECORD_MAX = 256 * 1024
"""Most bytes of a record's content: below DynamoDB's 400 KB, with room for its keys."""
KEY_MAX = 512
"""Most bytes of each part of a key: below DynamoDB's 1024 for a sort key."""


@dataclass(frozen=True, order=True)
class Key:
    """Where a record stands: `partition` groups what is listed together, `sort` orders it there (by its bytes)."""

    partition: str
    sort: str

    def __post_init__(self) -> None:
        for name, part in (("partition", self.partition), ("sort", self.sort)):
            size = len(part.encode())
            if not 1 <= size <= KEY_MAX:
                raise InvalidInput(f"key.{name}", f"must have 1 to {KEY_MAX} bytes, got {size}")


@dataclass(frozen=True)
class Record:
    """One row of the single table.

    `content` is JSON that only a repository understands. `index` is its place in the time index, where it is listed
    together with records of other partitions; None where it is not. From the epoch second `expires_at_s` on nobody
    sees it any more. `version` is set by the table, another number after each change.
    """

    key: Key
    content: bytes
    index: Key | None = None
    expires_at_s: int | None = None
    version: int = 0

    def __post_init__(self) -> None:
        if len(self.content) > RECORD_MAX:
            raise InvalidInput("record", f"must have at most {RECORD_MAX} bytes, got {len(self.content)}")


class Condition(enum.Enum):
    """What has to be true of a key for a change to be made. Another condition is a number: the version it must have."""

    ANY = "any"
    ABSENT = "absent"
    PRESENT = "present"


@dataclass(frozen=True)
class Put:
    """Write a record in place of what stands at its key."""

    record: Record
    condition: Condition | int = Condition.ANY


@dataclass(frozen=True)
class Delete:
    """Remove what stands at a key."""

    key: Key
    condition: Condition | int = Condition.ANY


@dataclass(frozen=True)
class Check:
    """Change nothing, but have the others changed only if this holds."""

    key: Key
    condition: Condition | int


Change = Put | Delete | Check


@dataclass(frozen=True)
class Range:
    """Which sort keys, both ends included; they are compared by their bytes."""

    first: str = ""
    last: str = "\U0010ffff"

    @classmethod
    def prefix(cls, prefix: str) -> Range:
        """Every sort key that begins with `prefix`."""
        return cls(prefix, prefix + "\U0010ffff")


EVERYTHING = Range()


@dataclass(frozen=True)
class Position:
    """Where a page ended: the record's key, and its place in the index if that was listed."""

    key: Key
    index: Key | None = None


class Page(NamedTuple):
    """Some records in order, and where to go on; None at the end."""

    records: Sequence[Record]
    next: Position | None


def check_changes(changes: Sequence[Change]) -> None:
    """Raise InvalidInput unless there are 1 to TRANSACTION_MAX changes, of different keys."""
    if not 1 <= len(changes) <= TRANSACTION_MAX:
        raise InvalidInput("changes", f"must be 1 to {TRANSACTION_MAX}, got {len(changes)}")
    keys = {change.record.key if isinstance(change, Put) else change.key for change in changes}
    if len(keys) != len(changes):
        raise InvalidInput("changes", "must be of different keys")


def check_limit(limit: int) -> None:
    """Raise InvalidInput unless a page may have `limit` records."""
    if not 1 <= limit <= LIMIT_MAX:
        raise InvalidInput("limit", f"must be 1 to {LIMIT_MAX}, got {limit}")


class Table(Protocol):
    """The one table of the records.

    An expired record is as good as absent to every reader and condition; it is swept away some time later. All methods
    raise Unavailable when the store cannot be reached or is overloaded, InvalidInput for what breaks a bound above.
    """

    def get(self, key: Key) -> Record | None:
        """The record at a key, as the last change that was confirmed left it."""
        ...

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Record]:
        """Those of up to LIMIT_MAX records that exist."""
        ...

    def write(self, *changes: Change) -> None:
        """Make all of up to TRANSACTION_MAX changes, of different keys, or none. Raises Conflict: a condition fails."""
        ...

    def query(
        self,
        partition: str,
        within: Range = EVERYTHING,
        *,
        ascending: bool = True,
        limit: int = LIMIT_MAX,
        after: Position | None = None,
    ) -> Page:
        """Up to `limit` (1 to LIMIT_MAX) records of a partition in the order of their sort keys.

        `after` goes on behind a position, whether its record still exists or not, so pages neither skip nor repeat a
        record that stays, whatever is written meanwhile.
        """
        ...

    def query_index(
        self,
        partition: str,
        within: Range = EVERYTHING,
        *,
        ascending: bool = True,
        limit: int = LIMIT_MAX,
        after: Position | None = None,
    ) -> Page:
        """The same in the time index. In AWS it may lag behind what was just written by moments."""
        ...
