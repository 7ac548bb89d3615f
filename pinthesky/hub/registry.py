"""Which things there are, and which certificates speak for them.

A thing's certificate counts if its SHA-256 fingerprint stands here, whatever TLS has said of it: it is looked up at
every request. Other processes write the same tables (`pits-hub remove-camera`), so the running hub watches them.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509

from pinthesky.errors import Conflict, InvalidInput, InvariantBroken, NotAuthorized, NotFound, Unavailable
from pinthesky.hub.database import Database
from pinthesky.hub.ports import OnRemoved
from pinthesky.machine.permanent_thread import Crash, PermanentThread
from pinthesky.model.identifiers import ThingName

logger = logging.getLogger(__name__)

WATCH_EVERY_S = 0.5
"""How often the running hub looks for removals by other processes."""
THINGS_MAX = 10_000
CERTIFICATES_MAX = 8
"""Certificates that may speak for one thing at the same time: the one in use, and those of rotations under way."""

_SCHEMA = (
    """CREATE TABLE registry_things (
        thing TEXT PRIMARY KEY,
        added_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # Revoked ones stay until they expire: the revocation list is made of them.
    """CREATE TABLE registry_certificates (
        fingerprint BLOB PRIMARY KEY,
        thing TEXT NOT NULL,
        serial TEXT NOT NULL,
        not_before INTEGER NOT NULL,
        not_after INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX registry_certificates_of ON registry_certificates (thing)",
    # What the running hub has still to tell its parts.
    "CREATE TABLE registry_removals (number INTEGER PRIMARY KEY AUTOINCREMENT, thing TEXT NOT NULL) STRICT",
)


@dataclass(frozen=True)
class Revoked:
    """A certificate that must be refused: its serial number, and the second since the epoch of its revocation."""

    serial: int
    revoked_at_s: int


class Registry:
    """The adapter of `ports.ThingRegistry`."""

    def __init__(self, database: Database, *, now_s: Callable[[], float] = time.time) -> None:
        """`now_s` is the wall clock."""
        self._database = database
        self._now_s = now_s
        self._calls: list[OnRemoved] = []
        self.removed = threading.Event()
        """Set when this process has removed a thing and not all parts know of it yet."""
        database.migrate("registry", _SCHEMA)

    def add(self, thing: ThingName) -> None:
        """See `ports.ThingRegistry`."""
        with self._database.transaction() as connection:
            known = connection.execute("SELECT 1 FROM registry_things WHERE thing = ?", (str(thing),)).fetchone()
            if known is not None:
                raise Conflict(f"there is a camera {thing} already")
            (count,) = connection.execute("SELECT count(*) FROM registry_things").fetchone()
            if count >= THINGS_MAX:
                raise Conflict(f"there are {THINGS_MAX} cameras already, and no hub takes more")
            connection.execute("INSERT INTO registry_things VALUES (?, ?)", (str(thing), self._now()))

    def remove(self, thing: ThingName) -> None:
        """See `ports.ThingRegistry`."""
        with self._database.transaction() as connection:
            if connection.execute("DELETE FROM registry_things WHERE thing = ?", (str(thing),)).rowcount == 0:
                raise NotFound(f"there is no camera {thing}")
            connection.execute(
                "UPDATE registry_certificates SET revoked_at = ? WHERE thing = ? AND revoked_at IS NULL",
                (self._now(), str(thing)),
            )
            connection.execute("INSERT INTO registry_removals (thing) VALUES (?)", (str(thing),))
        self.removed.set()

    def things(self) -> list[ThingName]:
        """See `ports.ThingRegistry`."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT thing FROM registry_things ORDER BY thing").fetchall()
        return [ThingName(row["thing"]) for row in rows]

    def is_active(self, thing: ThingName) -> bool:
        """See `ports.ThingRegistry`."""
        with self._database.reading() as connection:
            found = connection.execute("SELECT 1 FROM registry_things WHERE thing = ?", (str(thing),)).fetchone()
        return found is not None

    def register_certificate(self, thing: ThingName, certificate: bytes) -> None:
        """See `ports.ThingRegistry`."""
        try:
            parsed = x509.load_der_x509_certificate(certificate)
        except ValueError as error:
            raise InvalidInput("certificate", f"is no X.509 certificate ({error})") from error
        row = (
            hashlib.sha256(certificate).digest(),
            str(thing),
            format(parsed.serial_number, "x"),
            int(parsed.not_valid_before_utc.timestamp()),
            int(parsed.not_valid_after_utc.timestamp()),
        )
        with self._database.transaction() as connection:
            if connection.execute("SELECT 1 FROM registry_things WHERE thing = ?", (str(thing),)).fetchone() is None:
                raise NotFound(f"there is no camera {thing}")
            connection.execute(
                "DELETE FROM registry_certificates WHERE revoked_at IS NOT NULL AND not_after < ?", (self._now(),)
            )
            (count,) = connection.execute(
                "SELECT count(*) FROM registry_certificates WHERE thing = ? AND revoked_at IS NULL", (str(thing),)
            ).fetchone()
            if count >= CERTIFICATES_MAX:
                raise Conflict(f"camera {thing} has {CERTIFICATES_MAX} certificates already, the most there may be")
            if connection.execute("SELECT 1 FROM registry_certificates WHERE fingerprint = ?", row[:1]).fetchone():
                raise Conflict("this certificate is known already")
            connection.execute("INSERT INTO registry_certificates VALUES (?, ?, ?, ?, ?, NULL)", row)

    def thing_of(self, certificate: bytes) -> ThingName:
        """See `ports.ThingRegistry`."""
        fingerprint = hashlib.sha256(certificate).digest()
        with self._database.reading() as connection:
            row = connection.execute(
                """SELECT thing, not_before, not_after, revoked_at FROM registry_certificates
                JOIN registry_things USING (thing) WHERE fingerprint = ?""",
                (fingerprint,),
            ).fetchone()
        if row is None or row["revoked_at"] is not None:
            raise NotAuthorized("this certificate speaks for no camera")
        if not row["not_before"] <= self._now_s() <= row["not_after"]:
            raise NotAuthorized("this certificate is out of its time")
        return ThingName(row["thing"])

    def revoked(self) -> list[Revoked]:
        """The certificates that were revoked and would still be in their time."""
        with self._database.reading() as connection:
            rows = connection.execute(
                """SELECT serial, revoked_at FROM registry_certificates
                WHERE revoked_at IS NOT NULL AND not_after >= ? ORDER BY revoked_at, fingerprint""",
                (self._now(),),
            ).fetchall()
        return [Revoked(int(row["serial"], 16), row["revoked_at"]) for row in rows]

    def on_removed(self, call: OnRemoved) -> None:
        """See `ports.ThingRegistry`."""
        self._calls.append(call)

    def changes(self) -> int:
        """See `Database.changes`."""
        return self._database.changes()

    def tell_removals(self) -> None:
        """Tell all parts of every removal they have not heard of; one is done with when all of them have.

        Raises what a part raises; the rest is told next time.
        """
        with self._database.reading() as connection:
            rows = connection.execute("SELECT number, thing FROM registry_removals ORDER BY number").fetchall()
        for row in rows:
            thing = ThingName(row["thing"])
            for call in self._calls:
                call(thing)
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM registry_removals WHERE number = ?", (row["number"],))
            logger.info("Camera %s is removed", thing)

    def _now(self) -> int:
        return int(self._now_s())


class RemovalWatch(PermanentThread):
    """Looks for removals, by whichever process, and has all parts told of them; what fails is told again."""

    def __init__(self, registry: Registry, on_crash: Crash, *, every_s: float = WATCH_EVERY_S) -> None:
        super().__init__("removals", on_crash)
        self._registry = registry
        self._every_s = every_s
        self._seen: int | None = None
        self._complained = False

    def wake(self) -> None:
        """See PermanentThread."""
        self._registry.removed.set()

    def step(self) -> None:
        """See PermanentThread."""
        self._registry.removed.clear()
        try:
            now = self._registry.changes()
            if now != self._seen:
                self._seen = None
                self._registry.tell_removals()
                self._seen = now
        except (Unavailable, InvariantBroken) as error:
            if not self._complained:
                logger.error("Not all parts know yet which cameras were removed: %s", error)
            self._complained = True
        else:
            if self._complained:
                logger.warning("All parts know again which cameras were removed")
            self._complained = False
        if not self.stopping:
            self._registry.removed.wait(self._every_s)
