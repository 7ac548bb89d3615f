"""The hub's one SQLite file: durable transactions, and a schema that every part keeps for itself."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pinthesky.errors import Conflict, InvariantBroken, Unavailable

BUSY_TIMEOUT_S = 10.0
"""How long a transaction waits for another writer."""
IDLE_MAX = 8
"""Connections that are kept for the next transactions."""


class Database:
    """One file, and a connection for each transaction that is open. May be used from any thread.

    What a transaction has committed survives `kill -9` and a power cut: WAL with `synchronous=FULL`.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`, or make it with mode 600. Raises Unavailable, InvariantBroken."""
        self._path = path
        self._inside = threading.local()
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._watching: sqlite3.Connection | None = None
        self._closed = False
        try:
            path.touch(mode=0o600)
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}") from error
        with self.transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS schemas (part TEXT PRIMARY KEY, version INTEGER) STRICT")

    def migrate(self, part: str, steps: Sequence[str]) -> None:
        """Bring the tables of `part` to the state after the last of `steps`, each one SQL statement.

        Steps are only ever appended: an installed database has run the first ones. Raises InvariantBroken for a
        database of a newer version of this program.
        """
        with self.transaction() as connection:
            row = connection.execute("SELECT version FROM schemas WHERE part = ?", (part,)).fetchone()
            done = 0 if row is None else int(row["version"])
            if done > len(steps):
                raise InvariantBroken(f"{self._path}: {part} was written by a newer version of this program")
            for step in steps[done:]:
                connection.execute(step)
            connection.execute("INSERT OR REPLACE INTO schemas VALUES (?, ?)", (part, len(steps)))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Read and write: committed when the block ends, taken back when it raises. Transactions do not nest.

        Raises Unavailable (locked too long, disk full), Conflict (a constraint), InvariantBroken (a damaged file).
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read one state of everything: what others commit meanwhile is not seen. Raises as `transaction`."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def changes(self) -> int:
        """A number that differs whenever anybody, also another process, has committed. Raises as `transaction`."""
        with self._lock, _errors(self._path):
            # SQLite counts what other connections than the asking one have done, so this one does nothing else.
            if self._watching is None:
                self._watching = self._open()
            return int(self._watching.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close all connections; nothing can be read or written any more."""
        with self._lock:
            self._closed = True
            for connection in (*self._idle, *([] if self._watching is None else [self._watching])):
                connection.close()
            self._idle.clear()
            self._watching = None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction of this thread."""
        if getattr(self._inside, "is_open", False):
            raise InvariantBroken("a transaction was begun within another one")
        with _errors(self._path):
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._open()
            self._inside.is_open = True
            try:
                yield connection
            finally:
                self._inside.is_open = False
                with self._lock:
                    if self._closed or len(self._idle) >= IDLE_MAX:
                        connection.close()
                    else:
                        self._idle.append(connection)

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise Unavailable(f"{self._path}: is closed")
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise Conflict(str(error)) from error
    except sqlite3.OperationalError as error:
        raise Unavailable(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise InvariantBroken(f"{path}: {error}") from error
