"""The route of the pushes: what a console has missed."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pinthesky.planes import pushes
from pinthesky.planes.authorization import Permission
from pinthesky.planes.listing import Items, ListQuery
from pinthesky.planes.records.pushes import Push, PushId
from pinthesky.planes.routing import Call, Routes

routes = Routes("events")


class EventsQuery(ListQuery, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Parameters of the list of pushes."""

    after: (
        Annotated[PushId, Meta(description="The last event that was seen; without it all of the last day.")] | None
    ) = None


@routes.get("/events", Permission.READ, "Pushes of the last 24 hours, the oldest first")
def list_events(call: Call, query: EventsQuery) -> Items[Push]:
    """Begins ten seconds before `after`, since clocks differ: drop what you have seen, by its id."""
    name = f"events after {query.after}"
    after = call.home.page_tokens.open(query.next_token, name)
    found = pushes.since(call.home, call.person, query.after, limit=query.limit, after=after)
    return Items(items=list(found.rows), next_token=call.home.page_tokens.seal(found.next, name))
