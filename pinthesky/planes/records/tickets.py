"""Tickets: what opens a WebSocket, once, within a minute. Only hashes are kept."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple

from msgspec import Struct

from pinthesky.errors import Conflict, NotAuthorized
from pinthesky.model.identifiers import Identifier
from pinthesky.model.people import PersonId
from pinthesky.planes.records import rows
from pinthesky.planes.table import Delete, Key, Position, Put, Record, Table

PARTITION = "ticket"
LIFETIME_S = 60
SECRET_MAX = 128
"""Most characters of a ticket."""


class TicketId(Identifier):
    """What a ticket is called in lists: the beginning of its hash."""

    __slots__ = ()
    _field = "ticket"
    _pattern = re.compile(r"[0-9a-f]{32}")
    _rule = "must be 32 lower-case hexadecimal digits"

    @classmethod
    def of(cls, secret: str) -> TicketId:
        """The id of a ticket with 256 random bits: half of their hash tells them apart, and leads back to none."""
        return cls(hashlib.sha256(secret.encode()).hexdigest()[:32])


class Ticket(Struct, frozen=True, kw_only=True, rename="camel"):
    """A ticket that was not used yet. Times are epoch milliseconds."""

    id: TicketId
    person: PersonId
    created_at: int
    expires_at: int


class Issued(NamedTuple):
    """A new ticket, and the secret that nobody else will ever see."""

    ticket: Ticket
    secret: str


class Tickets:
    """The repository of the tickets."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def issue(self, person: PersonId, now_s: float) -> Issued:
        """A ticket for a person."""
        secret = secrets.token_urlsafe(32)
        expires_at_s = int(now_s) + LIFETIME_S
        ticket = Ticket(
            id=TicketId.of(secret), person=person, created_at=int(now_s * 1000), expires_at=expires_at_s * 1000
        )
        self._table.write(Put(Record(_key(ticket.id), rows.encode(ticket), expires_at_s=expires_at_s)))
        return Issued(ticket, secret)

    def redeem(self, secret: str) -> PersonId:
        """Use a ticket up, and learn whose it is. Raises NotAuthorized: unknown, used or expired."""
        wrong = NotAuthorized("this ticket was used already, or its minute is over")
        if not 1 <= len(secret) <= SECRET_MAX or not secret.isascii():
            raise wrong
        key = _key(TicketId.of(secret))
        record = self._table.get(key)
        if record is None:
            raise wrong
        try:
            self._table.write(Delete(key, record.version))
        except Conflict as error:
            raise wrong from error
        return rows.decode(record, Ticket).person

    def get(self, ticket: TicketId) -> Ticket:
        """Raises NotFound."""
        return rows.get(self._table, _key(ticket), Ticket, missing=f"there is no ticket {ticket}")

    def page(self, *, limit: int, after: Position | None = None) -> rows.Rows[Ticket]:
        """Tickets of everybody, in no order that says anything."""
        return rows.decode_page(self._table.query(PARTITION, limit=limit, after=after), Ticket)

    def remove(self, ticket: TicketId) -> None:
        """One that is not there is no error."""
        self._table.write(Delete(_key(ticket)))


def _key(ticket: TicketId) -> Key:
    return Key(PARTITION, str(ticket))
