"""Alerts on their way, in the hub's database: what a destination has not taken yet survives a restart."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pinthesky.hub.database import Database
from pinthesky.model.identifiers import plain
from pinthesky.planes.ports import Alert, Destination

logger = logging.getLogger(__name__)

WAITING_MAX = 1000
"""Alerts that wait to be sent; one more is dropped."""
KEPT_S = 24 * 3600
"""What is older is news to nobody: it is dropped when the hub comes back."""

_STEPS = (
    """CREATE TABLE waiting_alerts (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        made_s REAL NOT NULL,
        due_s REAL NOT NULL,
        tries INTEGER NOT NULL,
        subscription TEXT NOT NULL,
        content BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX waiting_alerts_by_due ON waiting_alerts (due_s, number)",
    "CREATE INDEX waiting_alerts_by_subscription ON waiting_alerts (subscription)",
)


@dataclass(frozen=True)
class Errand:
    """An alert, and where it is to go. `due_s` is epoch seconds; `tries` have failed."""

    number: int
    due_s: float
    tries: int
    alert: Alert
    destination: Destination


class _Content(msgspec.Struct, frozen=True):
    alert: Alert
    destination: Destination


class WaitingAlerts:
    """The queue. Thread-safe; every method may raise Unavailable."""

    def __init__(self, database: Database, *, now_s: Callable[[], float] = time.time) -> None:
        """`now_s` is the wall clock: what waits outlives the machine's start."""
        self._database = database
        self._now_s = now_s
        database.migrate("waiting_alerts", _STEPS)

    def __len__(self) -> int:
        with self._database.reading() as connection:
            return _count(connection)

    def put(self, alert: Alert, destinations: Sequence[Destination]) -> Sequence[Destination]:
        """Have an alert sent to each, now. Returns those for whom there was no room."""
        now_s = self._now_s()
        with self._database.transaction() as connection:
            room = max(0, WAITING_MAX - _count(connection))
            for destination in destinations[:room]:
                content = msgspec.json.encode(_Content(alert, destination), enc_hook=plain)
                connection.execute(
                    "INSERT INTO waiting_alerts (made_s, due_s, tries, subscription, content) VALUES (?, ?, 0, ?, ?)",
                    (now_s, now_s, str(destination.subscription_id), content),
                )
        return destinations[room:]

    def first(self) -> Errand | None:
        """What is due next, or was due first."""
        while (row := self._first_row()) is not None:
            try:
                content = msgspec.json.decode(row["content"], type=_Content, dec_hook=_parsed)
            except (msgspec.MsgspecError, ValueError) as error:
                logger.error("An alert that waited cannot be read and is dropped: %s", error)
                self._remove(row["number"])
                continue
            return Errand(row["number"], row["due_s"], row["tries"], content.alert, content.destination)
        return None

    def again(self, errand: Errand, *, after_s: float) -> None:
        """Try an errand again later, unless it was taken back meanwhile."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE waiting_alerts SET due_s = ?, tries = ? WHERE number = ?",
                (self._now_s() + after_s, errand.tries + 1, errand.number),
            )

    def done(self, errand: Errand) -> None:
        """Forget an errand: it has arrived, or is given up."""
        self._remove(errand.number)

    def forget(self, subscription: str) -> None:
        """Take back what waits for a subscription."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM waiting_alerts WHERE subscription = ?", (subscription,))

    def begin(self) -> int:
        """At the start: drop what is too old, have the rest sent now; returns how many were dropped.

        So it does not matter what the clock has done meanwhile.
        """
        now_s = self._now_s()
        with self._database.transaction() as connection:
            dropped = connection.execute("DELETE FROM waiting_alerts WHERE made_s < ?", (now_s - KEPT_S,)).rowcount
            connection.execute("UPDATE waiting_alerts SET due_s = ? WHERE due_s > ?", (now_s, now_s))
        return dropped

    def _first_row(self) -> sqlite3.Row | None:
        with self._database.reading() as connection:
            found: sqlite3.Row | None = connection.execute(
                "SELECT * FROM waiting_alerts ORDER BY due_s, number LIMIT 1"
            ).fetchone()
        return found

    def _remove(self, number: int) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM waiting_alerts WHERE number = ?", (number,))


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM waiting_alerts").fetchone()[0])


def _parsed(kind: Any, given: object) -> object:
    """`dec_hook` for msgspec: identifiers."""
    return kind.parse(given)
