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


class Database:
    """One file, a connection for each thread that asks.

    What a transaction has committed survives `kill -9` and a power cut: WAL with `synchronous=FULL`.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`, or make it with mode 600. Raises Unavailable, InvariantBroken."""
        self._path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[sqlite3.Connection] = []
        path.touch(mode=0o600)
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
        connection = self._connection()
        with _errors(self._path):
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
        connection = self._connection()
        with _errors(self._path):
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    def changes(self) -> int:
        """A number that differs whenever another connection, also one of another process, has committed."""
        with _errors(self._path):
            return int(self._connection().execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close the connections of all threads. Nobody may be using them any more."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            return connection
        with _errors(self._path):
            connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        with self._lock:
            self._open.append(connection)
        self._local.connection = connection
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
