"""The actions of the data plane, as plain functions: what each takes, who may ask for it, and what it answers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from pinthesky.errors import Conflict, InvalidInput, InvariantBroken, NotAuthorized, NotFound, Throttled
from pinthesky.model.commands import COMMANDS, Command, InvokeId, Record, name_of, parse_command
from pinthesky.model.identifiers import ConnectionId, plain
from pinthesky.model.people import Person
from pinthesky.planes.authorization import Access, Permission
from pinthesky.planes.data_plane.ending import connection_of
from pinthesky.planes.data_plane.limits import (
    LIFETIME_S,
    MISSED_BYTES_MAX,
    MISSED_MAX,
    OF_PERSON_MAX,
    SESSIONS_MAX,
)
from pinthesky.planes.data_plane.protocol import (
    InvokeBody,
    InvokePayload,
    ListSessionsPayload,
    LoginBody,
    LoginPayload,
    StatusBody,
    StatusPayload,
)
from pinthesky.planes.home import Home
from pinthesky.planes.listing import Items
from pinthesky.planes.pushes import since
from pinthesky.planes.records.connections import LiveSession, Socket
from pinthesky.planes.records.pushes import PushId

COMMAND_PERMISSIONS: Mapping[str, Permission] = {
    "capture_image": Permission.WATCH,
    "record": Permission.WATCH,
    "capture_video": Permission.OPERATE,
    "configuration": Permission.OPERATE,
    "health": Permission.OPERATE,
}
"""What each command for a camera asks for."""


class Missed(NamedTuple):
    """Events that a console was away for, and whether there are more of them."""

    events: list[msgspec.Raw]
    more: bool


@dataclass(frozen=True)
class Asking:
    """Who asks, over which connection, and when."""

    home: Home
    socket: Socket
    access: Access | None
    """None until somebody has logged in."""
    now_s: float

    @property
    def person(self) -> Access:
        """Who has logged in; an action with a permission always has one."""
        if self.access is None:
            raise InvariantBroken("an action without login has asked who has logged in")
        return self.access

    @property
    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return int(self.now_s * 1000)


@dataclass(frozen=True)
class Action:
    """One action. `permission` None: may be asked for without having logged in."""

    permission: Permission | None
    payload: type[Any]
    perform: Callable[[Asking, Any], object]


def login(asking: Asking, payload: LoginPayload) -> LoginBody:
    """Say whose connection this is; and, with `after`, hear what was missed."""
    home = asking.home
    person = _who(asking, payload)
    manager = _manager(asking, payload, person)
    if asking.socket.person != person.id:
        check_room(home, person)
    # From here on events are posted to this connection, so that none falls between what was missed and what comes.
    socket = home.sockets.log_in(asking.socket.id, person.id, manager)
    seen = payload.after if socket.kind == "manager" else None
    missed = Missed([], more=False) if seen is None else _missed(home, home.access(person), seen)
    return LoginBody(
        connection_id=socket.id,
        manager_id=socket.manager_id,
        person_id=person.id,
        role=person.role,
        expires_at=socket.expires_at,
        events=missed.events,
        more=missed.more,
    )


def _missed(home: Home, access: Access, seen: PushId) -> Missed:
    """What was pushed since `seen`, as much of it as one message should carry."""
    found = since(home, access, seen, limit=MISSED_MAX)
    events: list[msgspec.Raw] = []
    room = MISSED_BYTES_MAX
    for push in found.rows:
        event = msgspec.json.encode(push, enc_hook=plain)
        room -= len(event)
        if room < 0:
            return Missed(events, more=True)
        events.append(msgspec.Raw(event))
    return Missed(events, more=found.next is not None)


def check_room(home: Home, person: Person) -> None:
    """Raise Throttled when a person has as many connections as there may be."""
    if len(home.sockets.of_person(person.id)) >= OF_PERSON_MAX:
        raise Throttled(f"you have {OF_PERSON_MAX} connections open already", LIFETIME_S)


def status(asking: Asking, payload: StatusPayload) -> StatusBody:
    """How a connection is. Asking keeps it from being idle."""
    socket = _own(asking, payload.connection_id)
    return StatusBody(
        connection_id=socket.id,
        manager_id=socket.manager_id,
        kind=socket.kind,
        connected_at=socket.connected_at,
        last_active_at=socket.last_active_at,
        expires_at=socket.expires_at,
    )


def invoke(asking: Asking, payload: InvokePayload) -> InvokeBody:
    """Have a camera do something. Its answer comes as `{"invoke": …}`."""
    home, event = asking.home, payload.event
    asking.person.require_sees(payload.camera)
    if event.name not in COMMANDS:
        raise InvalidInput("event.name", f"must be one of {', '.join(COMMANDS)}")
    asking.person.require(COMMAND_PERMISSIONS[event.name])
    home.cameras.get(payload.camera)
    socket = _own(asking, payload.connection_id)
    invoke_id = payload.invoke_id or InvokeId(secrets.token_hex(16))
    context = {
        **(event.context or {}),
        "connection": connection_of(home, socket.id, socket.manager_id, invoke_id=invoke_id),
    }
    if event.session is not None:
        context["session"] = event.session
    command = parse_command({"name": event.name, "context": context})
    if isinstance(command, Record):
        _note_live_view(
            asking,
            socket,
            LiveSession(
                invoke_id=invoke_id, camera=payload.camera, started_at=asking.now_ms, transport=command.transport
            ),
            command=command,
        )
    home.connections.allow_answer(socket.id, payload.camera)
    home.commands.send(payload.camera, _as_document(command))
    return InvokeBody(invoke_id=invoke_id, connection_id=socket.id)


def list_sessions(asking: Asking, payload: ListSessionsPayload) -> Items[LiveSession]:
    """The live views that a connection has started."""
    socket = _own(asking, payload.connection_id)
    tokens, query = asking.home.page_tokens, f"sessions {socket.id}"
    page = asking.home.sockets.live_page(socket.id, limit=payload.limit, after=tokens.open(payload.next_token, query))
    seen = [session for session in page.rows if asking.person.sees(session.camera)]
    return Items(items=seen, next_token=tokens.seal(page.next, query))


ACTIONS: Mapping[str, Action] = {
    "login": Action(None, LoginPayload, login),
    "status": Action(Permission.READ, StatusPayload, status),
    "invoke": Action(Permission.READ, InvokePayload, invoke),
    "listSessions": Action(Permission.READ, ListSessionsPayload, list_sessions),
}


def _who(asking: Asking, payload: LoginPayload) -> Person:
    """Who logs in. Raises NotAuthorized."""
    home = asking.home
    shown = []
    if payload.jwt_id is not None:
        shown.append(home.access_tokens.person_of(payload.jwt_id))
    if payload.token_id is not None:
        shown.append(home.tickets.redeem(payload.token_id))
    if asking.socket.person is not None:
        shown.append(asking.socket.person)
    if not shown:
        raise NotAuthorized("show a ticket (tokenId) or an access token (jwtId)")
    if len(set(shown)) > 1:
        raise NotAuthorized("a connection belongs to one person")
    try:
        person = home.people.get(shown[0])
    except NotFound as error:
        raise NotAuthorized("you are not invited here") from error
    if person.role is None:
        raise NotAuthorized("you are not invited here")
    return person


def _manager(asking: Asking, payload: LoginPayload, person: Person) -> ConnectionId | None:
    """The manager of a session, which has to be the same person's; None for a manager."""
    if asking.socket.kind == "manager":
        return None
    manager = payload.manager_id or asking.socket.manager
    if manager is None:
        raise InvalidInput("managerId", "must be there for a session: the id of its manager's connection")
    return check_manager(asking.home, manager, person)


def check_manager(home: Home, manager: ConnectionId, person: Person) -> ConnectionId:
    """Raise NotFound unless a manager is open, and of the same person."""
    found = home.sockets.get(manager)
    if found.kind != "manager" or found.person != person.id:
        raise NotFound(f"there is no connection {manager}")
    return manager


def _own(asking: Asking, connection: ConnectionId | None) -> Socket:
    """One of this person's connections. Raises NotFound for anybody else's."""
    if connection is None or connection == asking.socket.id:
        return asking.socket
    socket = asking.home.sockets.get(connection)
    if socket.person != asking.socket.person:
        raise NotFound(f"there is no connection {connection}")
    return socket


def _note_live_view(asking: Asking, socket: Socket, session: LiveSession, *, command: Record) -> None:
    sockets = asking.home.sockets
    if command.session.stop:
        sockets.stop(socket.id, session.invoke_id)
    elif command.session.start:
        running = sockets.live_page(socket.id, limit=SESSIONS_MAX).rows
        if len(running) >= SESSIONS_MAX and session.invoke_id not in {each.invoke_id for each in running}:
            raise Conflict(f"{SESSIONS_MAX} live views run over this connection already; stop one first")
        sockets.start(socket, session)


def _as_document(command: Command) -> dict[str, Any]:
    """A command as it travels: what was understood, and nothing else that a caller may have written."""
    context = {
        field: value
        for field in command.__struct_fields__
        if (value := msgspec.to_builtins(getattr(command, field), enc_hook=plain)) is not None
    }
    return {"name": name_of(command), "context": context}
