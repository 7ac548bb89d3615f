"""Changes to what the hub knows of things: first committed, then told.

Whoever follows the messages of a thing sees its states in the order in which they were committed, and never one that
a power cut could take back.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pinthesky.errors import Unavailable
from pinthesky.hub.database import Database
from pinthesky.hub.shadow_document import PAYLOAD_MAX, TooLarge, encode

log = logging.getLogger(__name__)

Publish = Callable[[str, bytes], None]


class TooManyRequests(Unavailable):
    """A thing asks for more than its share."""


class Change:
    """One transaction, and what is to be said when it is committed: to things, and within the hub."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.messages: list[tuple[str, bytes]] = []
        self.calls: list[Callable[[], None]] = []

    def afterwards(self, call: Callable[[], None]) -> None:
        """Call once the transaction is committed; it returns soon and never raises."""
        self.calls.append(call)

    def tell(self, topic: str, document: dict[str, Any]) -> None:
        """Publish `document` as JSON once the transaction is committed. Raises TooLarge for what no broker takes."""
        payload = encode(document)
        if len(payload) > PAYLOAD_MAX:
            raise TooLarge
        self.messages.append((topic, payload))

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A part of the transaction that fails for itself: an error takes back what it did and told, no more."""
        told, called = len(self.messages), len(self.calls)
        self.connection.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            del self.messages[told:]
            del self.calls[called:]
            self.connection.execute("ROLLBACK TO attempt")
            raise
        finally:
            self.connection.execute("RELEASE attempt")


class ThingChanges:
    """Makes changes, one at a time. May be used from any thread; changes do not nest."""

    def __init__(self, database: Database, publish: Publish) -> None:
        """`publish` queues a message for the broker; it does not block, and raises Unavailable if it takes no more."""
        self._database = database
        self._publish = publish
        self._lock = threading.Lock()
        self._is_losing = False

    @contextmanager
    def begin(self) -> Iterator[Change]:
        """Change something. Raises as `Database.transaction` does; then nothing is changed and nothing is told."""
        with self._lock:
            with self._database.transaction() as connection:
                change = Change(connection)
                yield change
            for topic, payload in change.messages:
                self._send(topic, payload)
            for call in change.calls:
                call()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Look at one state of everything."""
        with self._database.reading() as connection:
            yield connection

    def _send(self, topic: str, payload: bytes) -> None:
        try:
            self._publish(topic, payload)
        except Unavailable as error:
            if not self._is_losing:
                log.warning("What things should hear is given up until the broker takes messages again: %s", error)
            self._is_losing = True
        else:
            if self._is_losing:
                log.info("The broker takes messages again")
            self._is_losing = False
