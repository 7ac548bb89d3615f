"""Routes of the tickets with which WebSockets are opened: each works once, for a minute."""

from __future__ import annotations

from msgspec import Struct

from pinthesky.errors import NotFound
from pinthesky.model.people import PersonId
from pinthesky.planes.authorization import Permission
from pinthesky.planes.listing import EpochMs, Items, ListQuery
from pinthesky.planes.records.tickets import Ticket, TicketId
from pinthesky.planes.routing import Call, Routes

routes = Routes("tokens")

ISSUED_MAX, WINDOW_S = 60, 60
"""So many tickets may a person ask for in so many seconds."""


class IssuedTicket(Struct, kw_only=True, rename="camel"):
    """A new ticket. `token` is shown here and never again: open a WebSocket with `?Authorization=<token>`."""

    id: TicketId
    token: str
    person: PersonId
    created_at: EpochMs
    expires_at: EpochMs


@routes.get("/tokens", Permission.READ, "Tickets that were not used yet")
def list_tokens(call: Call, query: ListQuery) -> Items[Ticket]:
    """One's own; everybody's for owners."""
    tokens = call.home.page_tokens
    page = call.home.tickets.page(limit=query.limit, after=tokens.open(query.next_token, "tokens"))
    mine = [ticket for ticket in page.rows if _may_see(call, ticket)]
    return Items(items=mine, next_token=tokens.seal(page.next, "tokens"))


@routes.post("/tokens", Permission.READ, "A ticket for opening a WebSocket", status=201)
def issue_token(call: Call) -> IssuedTicket:
    """It works once, within 60 seconds."""
    me = call.person.person.id
    call.home.attempts.count("ticket", me, most=ISSUED_MAX, window_s=WINDOW_S, now_s=call.now_s)
    ticket, secret = call.home.tickets.issue(me, call.now_s)
    return IssuedTicket(
        id=ticket.id,
        token=secret,
        person=ticket.person,
        created_at=ticket.created_at,
        expires_at=ticket.expires_at,
    )


@routes.get("/tokens/{ticket}", Permission.READ, "A ticket that was not used yet")
def get_token(call: Call, ticket: TicketId) -> Ticket:
    """Without what opens a WebSocket."""
    found = call.home.tickets.get(ticket)
    if not _may_see(call, found):
        raise NotFound(f"there is no ticket {ticket}")
    return found


@routes.delete("/tokens/{ticket}", Permission.READ, "Make a ticket worthless")
def remove_token(call: Call, ticket: TicketId) -> None:
    """What was opened with it stays open."""
    get_token(call, ticket)
    call.home.tickets.remove(ticket)


def _may_see(call: Call, ticket: Ticket) -> bool:
    return ticket.person == call.person.person.id or call.person.allows(Permission.OWN)
