"""Routes of the WebSockets: who is connected, which live views run for them, and an end to a connection."""

from __future__ import annotations

from msgspec import Struct

from pinthesky.errors import NotFound
from pinthesky.model.commands import InvokeId
from pinthesky.model.identifiers import ConnectionId
from pinthesky.model.people import PersonId
from pinthesky.planes.authorization import Permission
from pinthesky.planes.data_plane.ending import close
from pinthesky.planes.listing import EpochMs, Items, ListQuery
from pinthesky.planes.records.connections import Kind, LiveSession, Socket
from pinthesky.planes.routing import Call, Routes

routes = Routes("connections")


class ConnectionView(Struct, kw_only=True, rename="camel"):
    """An open WebSocket. `managerId` is its own id, or of a session that of its manager."""

    id: ConnectionId
    kind: Kind
    person: PersonId | None
    manager_id: ConnectionId
    connected_at: EpochMs
    last_active_at: EpochMs
    expires_at: EpochMs
    source_ip: str
    user_agent: str


@routes.get("/connections", Permission.READ, "Open WebSockets")
def list_connections(call: Call, query: ListQuery) -> Items[ConnectionView]:
    """One's own; everybody's for owners, those that have not logged in yet too."""
    tokens = call.home.page_tokens
    page = call.home.sockets.page(limit=query.limit, after=tokens.open(query.next_token, "connections"))
    seen = [_view(socket) for socket in page.rows if _may_see(call, socket)]
    return Items(items=seen, next_token=tokens.seal(page.next, "connections"))


@routes.get("/connections/{connection}", Permission.READ, "An open WebSocket")
def get_connection(call: Call, connection: ConnectionId) -> ConnectionView:
    """As in the list."""
    return _view(_found(call, connection))


@routes.delete("/connections/{connection}", Permission.READ, "Close a WebSocket")
def close_connection(call: Call, connection: ConnectionId) -> None:
    """A manager's sessions are closed with it, and the live views that it has started are stopped."""
    close(call.home, _found(call, connection).id)


@routes.get("/connections/{connection}/sessions", Permission.READ, "Live views that a WebSocket has started")
def list_live_sessions(call: Call, connection: ConnectionId, query: ListQuery) -> Items[LiveSession]:
    """In the order of their ids."""
    socket = _found(call, connection)
    tokens, name = call.home.page_tokens, f"sessions {socket.id}"
    page = call.home.sockets.live_page(socket.id, limit=query.limit, after=tokens.open(query.next_token, name))
    seen = [session for session in page.rows if call.person.sees(session.camera)]
    return Items(items=seen, next_token=tokens.seal(page.next, name))


@routes.get("/connections/{connection}/sessions/{invoke}", Permission.READ, "A live view that was started")
def get_live_session(call: Call, connection: ConnectionId, invoke: InvokeId) -> LiveSession:
    """As in the list."""
    session = call.home.sockets.live(_found(call, connection).id, invoke)
    if not call.person.sees(session.camera):
        raise NotFound(f"there is no session {invoke}")
    return session


def _found(call: Call, connection: ConnectionId) -> Socket:
    socket = call.home.sockets.get(connection)
    if not _may_see(call, socket):
        raise NotFound(f"there is no connection {connection}")
    return socket


def _may_see(call: Call, socket: Socket) -> bool:
    return socket.person == call.person.person.id or call.person.allows(Permission.OWN)


def _view(socket: Socket) -> ConnectionView:
    return ConnectionView(
        id=socket.id,
        kind=socket.kind,
        person=socket.person,
        manager_id=socket.manager_id,
        connected_at=socket.connected_at,
        last_active_at=socket.last_active_at,
        expires_at=socket.expires_at,
        source_ip=socket.source_ip,
        user_agent=socket.user_agent,
    )
