"""Which things are connected to the broker, since when, and why the last connection ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.hub.database import Database
from pinthesky.model.identifiers import ThingName

log = logging.getLogger(__name__)

RESTARTED = "the hub was restarted"
REASON_MAX = 200
"""Most characters of a reason that are kept."""

_SCHEMA = [
    """
    CREATE TABLE presence (
        thing TEXT PRIMARY KEY,
        connected INTEGER NOT NULL,
        since_s REAL NOT NULL,
        reason TEXT NOT NULL
    ) STRICT
    """,
]


@dataclass(frozen=True)
class ThingPresence:
    """Whether a thing is connected, since when (seconds since the epoch), and the broker's reason."""

    connected: bool
    since_s: float
    reason: str


OnChange = Callable[[ThingName, ThingPresence], None]
"""Called in the broker's thread: returns soon and never raises."""


class Presence:
    """What the broker tells of its connections, kept. May be used from any thread.

    Who is connected when the hub starts is learnt anew, since connections end with the broker: until a thing is back,
    it counts as disconnected with the reason `RESTARTED`, and listeners hear only of its coming back.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        database.migrate("presence", _SCHEMA)
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._listeners: list[OnChange] = []
        with database.transaction() as connection:
            connection.execute(
                "UPDATE presence SET connected = 0, since_s = ?, reason = ? WHERE connected", (clock(), RESTARTED)
            )
            rows = connection.execute("SELECT * FROM presence").fetchall()
        self._known = {
            ThingName(row["thing"]): ThingPresence(bool(row["connected"]), row["since_s"], row["reason"])
            for row in rows
        }

    def on_change(self, call: OnChange) -> None:
        """Have `call` called after each change. To be said before the broker starts."""
        self._listeners.append(call)

    def of(self, thing: ThingName) -> ThingPresence | None:
        """What is known of a thing; None for one that never connected."""
        return self._known.get(thing)

    def all(self) -> dict[ThingName, ThingPresence]:
        """What is known of every thing that ever connected."""
        with self._lock:
            return dict(self._known)

    def tell(self, thing: ThingName, connected: bool, reason: str) -> None:
        """Take what the broker says. What is known already changes nothing; it never raises.

        If the database cannot take it, the truth is in memory all the same: the next start learns everything anew.
        """
        with self._lock:
            before = self._known.get(thing)
            if before is not None and before.connected == connected:
                return
            now = ThingPresence(connected, self._clock(), reason[:REASON_MAX])
            self._known[thing] = now
            try:
                with self._database.transaction() as connection:
                    connection.execute(
                        "INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?)",
                        (thing, int(connected), now.since_s, now.reason),
                    )
            except (Unavailable, InvariantBroken) as error:
                log.warning("That %s is %sconnected could not be written: %s", thing, "" if connected else "dis", error)
        for call in self._listeners:
            call(thing, now)

    def forget(self, thing: ThingName) -> None:
        """Remove what is known of a thing that is no more. Raises Unavailable."""
        with self._lock:
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM presence WHERE thing = ?", (thing,))
            self._known.pop(thing, None)
