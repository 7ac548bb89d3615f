"""What the database knows of the media folder, and the news of it that others have still to be told."""

from __future__ import annotations

import sqlite3
from typing import Literal, NamedTuple

from pinthesky.errors import InvalidInput
from pinthesky.hub.database import Database
from pinthesky.hub.media_record import MediaRecord
from pinthesky.model.identifiers import ThingName

PAGE_MAX = 1000
_SCHEMA = (
    """CREATE TABLE media (
        key TEXT PRIMARY KEY,
        thing TEXT NOT NULL,
        file TEXT NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        recorded_at_s REAL NOT NULL,
        stored_at_s REAL NOT NULL,
        is_recording INTEGER NOT NULL,
        may_expire INTEGER NOT NULL,
        sidecar_mtime_ns INTEGER NOT NULL,
        record TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX media_by_camera ON media (thing, recorded_at_s, key) WHERE is_recording",
    "CREATE INDEX media_by_time ON media (recorded_at_s, key) WHERE is_recording",
    "CREATE INDEX media_by_age ON media (stored_at_s) WHERE may_expire",
    "CREATE INDEX media_sizes ON media (size)",
    """CREATE TABLE media_news (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        record TEXT NOT NULL
    ) STRICT""",
)


class News(NamedTuple):
    """Something that happened to the media folder, and that its listeners have not all heard."""

    number: int
    kind: Literal["stored", "removed"]
    record: MediaRecord


class Known(NamedTuple):
    """What is known of a file."""

    key: str
    size: int
    sidecar_mtime_ns: int


class Position(NamedTuple):
    """Where a page ended."""

    recorded_at_s: float
    key: str


class Page(NamedTuple):
    """Records, newest first, and where to go on; None at the end."""

    records: list[MediaRecord]
    next: Position | None


class Usage(NamedTuple):
    """How many objects there are, and their bytes."""

    objects: int
    size: int


class MediaIndex:
    """The tables `media` and `media_news`. What changes the first is news, in the same transaction. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("media", _SCHEMA)

    def find(self, key: str) -> MediaRecord | None:
        """The record of a key."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT record FROM media WHERE key = ?", (key,)).fetchone()
        return None if row is None else MediaRecord.decode(row["record"])

    def put(self, record: MediaRecord, sidecar_mtime_ns: int) -> None:
        """Enter a record in place of any with its key."""
        with self._database.transaction() as connection:
            _put(connection, record, sidecar_mtime_ns)
            _tell(connection, "stored", record)

    def update(self, record: MediaRecord, sidecar_mtime_ns: int) -> None:
        """Enter what changed about an object whose content did not. That is no news."""
        with self._database.transaction() as connection:
            _put(connection, record, sidecar_mtime_ns)

    def remove(self, record: MediaRecord) -> None:
        """Forget a record."""
        with self._database.transaction() as connection:
            if connection.execute("DELETE FROM media WHERE key = ?", (record.key,)).rowcount:
                _tell(connection, "removed", record)

    def files(self) -> dict[str, Known]:
        """All files."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT file, key, size, sidecar_mtime_ns FROM media").fetchall()
        return {row["file"]: Known(row["key"], row["size"], row["sidecar_mtime_ns"]) for row in rows}

    def usage(self) -> Usage:
        """Objects and bytes."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT count(*), coalesce(sum(size), 0) FROM media").fetchone()
        return Usage(int(row[0]), int(row[1]))

    def evictable(self) -> int:
        """Bytes that retention may remove."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT coalesce(sum(size), 0) FROM media WHERE may_expire").fetchone()
        return int(row[0])

    def oldest(self, *, stored_before_s: float | None = None, limit: int = 100) -> list[MediaRecord]:
        """What retention may remove, first stored first."""
        before_s = float("inf") if stored_before_s is None else stored_before_s
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT record FROM media WHERE may_expire AND stored_at_s < ? ORDER BY stored_at_s LIMIT ?",
                (before_s, limit),
            ).fetchall()
        return [MediaRecord.decode(row["record"]) for row in rows]

    def below(self, prefix: str, *, after: str, limit: int) -> list[MediaRecord]:
        """Up to `limit` (1 to 1001) records whose keys begin with `prefix`, in the order of their keys."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT record FROM media WHERE key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",
                (after, prefix, prefix + "\U0010ffff", limit),
            ).fetchall()
        return [MediaRecord.decode(row["record"]) for row in rows]

    def page(
        self,
        *,
        thing: ThingName | None = None,
        since_s: float = float("-inf"),
        until_s: float = float("inf"),
        after: Position | None = None,
        limit: int = 100,
    ) -> Page:
        """Recordings of one camera or of all with `since_s <= recorded < until_s`, newest first. Probes are none.

        `limit` is 1 to 1000; `after` is the `next` of the page before. Raises InvalidInput.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidInput("limit", f"must be 1 to {PAGE_MAX}, got {limit}")
        recorded_at_s, key = after or Position(until_s, "")
        query = (
            "SELECT record FROM media WHERE is_recording AND recorded_at_s >= ?"
            " AND (recorded_at_s < ? OR (recorded_at_s = ? AND key < ?))"
        )
        values: list[object] = [since_s, recorded_at_s, recorded_at_s, key]
        if thing is not None:
            query += " AND thing = ?"
            values.append(str(thing))
        with self._database.reading() as connection:
            rows = connection.execute(
                f"{query} ORDER BY recorded_at_s DESC, key DESC LIMIT ?", [*values, limit + 1]
            ).fetchall()
        records = [MediaRecord.decode(row["record"]) for row in rows]
        if len(records) <= limit:
            return Page(records, None)
        last = records[limit - 1]
        return Page(records[:limit], Position(last.recorded_at_s, last.key))

    def news(self, limit: int = 100) -> list[News]:
        """What has not been told, in the order in which it happened."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM media_news ORDER BY number LIMIT ?", (limit,)).fetchall()
        return [News(row["number"], row["kind"], MediaRecord.decode(row["record"])) for row in rows]

    def told(self, number: int) -> None:
        """All listeners have heard the news of this number."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM media_news WHERE number = ?", (number,))


def _put(connection: sqlite3.Connection, record: MediaRecord, sidecar_mtime_ns: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO media VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.key,
            str(record.thing),
            record.file,
            record.size,
            record.recorded_at_s,
            record.stored_at_s,
            int(not record.address.is_probe),
            int(record.may_expire),
            sidecar_mtime_ns,
            record.encode().decode(),
        ),
    )


def _tell(connection: sqlite3.Connection, kind: str, record: MediaRecord) -> None:
    if not record.address.is_probe:
        connection.execute("INSERT INTO media_news (kind, record) VALUES (?, ?)", (kind, record.encode().decode()))
