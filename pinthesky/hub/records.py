"""The table of the records in SQLite: keys, conditions and order as in DynamoDB."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence

from pinthesky.errors import Conflict
from pinthesky.hub.database import Database
from pinthesky.planes.table import (
    EVERYTHING,
    LIMIT_MAX,
    Change,
    Condition,
    Delete,
    Key,
    Page,
    Position,
    Put,
    Range,
    Record,
    check_changes,
    check_limit,
)

_SCHEMA = (
    # SQLite orders text by its bytes, as DynamoDB does.
    """CREATE TABLE records (
        partition TEXT NOT NULL,
        sort TEXT NOT NULL,
        content BLOB NOT NULL,
        index_partition TEXT,
        index_sort TEXT,
        expires_at INTEGER,
        version INTEGER NOT NULL,
        PRIMARY KEY (partition, sort)
    ) STRICT, WITHOUT ROWID""",
    """CREATE INDEX records_index ON records (index_partition, index_sort, partition, sort)
        WHERE index_partition IS NOT NULL""",
    "CREATE INDEX records_expiry ON records (expires_at) WHERE expires_at IS NOT NULL",
)
_SELECT = "SELECT partition, sort, content, index_partition, index_sort, expires_at, version FROM records"
_ALIVE = "(expires_at IS NULL OR expires_at > ?)"
SWEEP_MAX = 1000
"""Most expired records that one sweep removes, so that it never holds the database for long."""


class SqliteTable:
    """The adapter of `planes.table.Table`. `now_s` is the wall clock, epoch seconds."""

    def __init__(self, database: Database, *, now_s: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now_s = now_s
        database.migrate("records", _SCHEMA)

    def get(self, key: Key) -> Record | None:
        """See `planes.table.Table`."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Record]:
        """See `planes.table.Table`."""
        if keys:
            check_limit(len(keys))
        now = int(self._now_s())
        found = {}
        with self._database.reading() as connection:
            for key in keys:
                where = f"{_SELECT} WHERE partition = ? AND sort = ? AND {_ALIVE}"
                row = connection.execute(where, (key.partition, key.sort, now)).fetchone()
                if row is not None:
                    found[key] = _record(row)
        return found

    def write(self, *changes: Change) -> None:
        """See `planes.table.Table`."""
        check_changes(changes)
        now = int(self._now_s())
        with self._database.transaction() as connection:
            for change in changes:
                key = change.record.key if isinstance(change, Put) else change.key
                version = _check(connection, key, condition=change.condition, now=now)
                if isinstance(change, Put):
                    _put(connection, change.record, version + 1)
                elif isinstance(change, Delete):
                    connection.execute(
                        "DELETE FROM records WHERE partition = ? AND sort = ?", (key.partition, key.sort)
                    )

    def query(
        self,
        partition: str,
        within: Range = EVERYTHING,
        *,
        ascending: bool = True,
        limit: int = LIMIT_MAX,
        after: Position | None = None,
    ) -> Page:
        """See `planes.table.Table`."""
        start = None if after is None else (after.key.sort,)
        return self._page(("partition", "sort"), partition, within, ascending=ascending, limit=limit, start=start)

    def query_index(
        self,
        partition: str,
        within: Range = EVERYTHING,
        *,
        ascending: bool = True,
        limit: int = LIMIT_MAX,
        after: Position | None = None,
    ) -> Page:
        """See `planes.table.Table`."""
        columns = ("index_partition", "index_sort", "partition", "sort")
        start = None
        if after is not None and after.index is not None:
            start = (after.index.sort, after.key.partition, after.key.sort)
        return self._page(columns, partition, within, ascending=ascending, limit=limit, start=start)

    def sweep(self) -> int:
        """Remove records that have expired, at most SWEEP_MAX; returns how many."""
        expired = "SELECT partition, sort FROM records WHERE expires_at <= ? LIMIT ?"
        with self._database.transaction() as connection:
            return connection.execute(
                f"DELETE FROM records WHERE (partition, sort) IN ({expired})",  # noqa: S608 - both are ours
                (int(self._now_s()), SWEEP_MAX),
            ).rowcount

    def _page(
        self,
        columns: Sequence[str],
        partition: str,
        within: Range,
        *,
        ascending: bool,
        limit: int,
        start: Sequence[str] | None,
    ) -> Page:
        """Records by the order of `columns`, the first of which is `partition`; one more is read to know the end."""
        check_limit(limit)
        order = columns[1:]
        where = f"{columns[0]} = ? AND {order[0]} BETWEEN ? AND ? AND {_ALIVE}"
        values: list[str | int] = [partition, within.first, within.last, int(self._now_s())]
        if start is not None:
            where += f" AND ({', '.join(order)}) {'>' if ascending else '<'} ({', '.join('?' * len(order))})"
            values += start
        direction = "ASC" if ascending else "DESC"
        by = ", ".join(f"{column} {direction}" for column in order)
        with self._database.reading() as connection:
            rows = connection.execute(f"{_SELECT} WHERE {where} ORDER BY {by} LIMIT ?", (*values, limit + 1)).fetchall()
        records = [_record(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(records, None)
        return Page(records, Position(records[-1].key, records[-1].index))


def _check(connection: sqlite3.Connection, key: Key, *, condition: Condition | int, now: int) -> int:
    """The version of what stands at `key`, 0 for nothing. Raises Conflict where the condition does not hold."""
    row = connection.execute(
        "SELECT version, expires_at FROM records WHERE partition = ? AND sort = ?", (key.partition, key.sort)
    ).fetchone()
    present = row is not None and (row["expires_at"] is None or row["expires_at"] > now)
    if condition is Condition.ABSENT:
        holds = not present
    elif condition is Condition.PRESENT:
        holds = present
    else:
        holds = condition is Condition.ANY or (present and row["version"] == condition)
    if not holds:
        raise Conflict(f"{key.partition} {key.sort} has changed, or is not as it was expected")
    return 0 if row is None else int(row["version"])


def _put(connection: sqlite3.Connection, record: Record, version: int) -> None:
    index = (None, None) if record.index is None else (record.index.partition, record.index.sort)
    connection.execute(
        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?)",
        (record.key.partition, record.key.sort, record.content, *index, record.expires_at_s, version),
    )


def _record(row: sqlite3.Row) -> Record:
    index = None if row["index_partition"] is None else Key(row["index_partition"], row["index_sort"])
    return Record(Key(row["partition"], row["sort"]), row["content"], index, row["expires_at"], row["version"])
