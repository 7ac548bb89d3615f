"""The data plane behind any WebSocket: what Lambda and the hub call when one opens, says something, and ends.

Who a person is now is looked up at each message, so somebody who was removed, or whose role was changed, has no more
than that from the next message on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Throttled, Unavailable
from pinthesky.model.identifiers import ConnectionId
from pinthesky.model.people import Person, PersonId
from pinthesky.planes.authorization import Access
from pinthesky.planes.data_plane import protocol
from pinthesky.planes.data_plane.actions import ACTIONS, Asking, check_manager, check_room
from pinthesky.planes.data_plane.ending import close, forget, stop_live_views
from pinthesky.planes.data_plane.limits import (
    IDLE_S,
    MESSAGES_BEFORE_CLOSING,
    MESSAGES_MAX,
    SIGN_IN_S,
    SIGN_IN_TRIES_MAX,
    WINDOW_S,
)
from pinthesky.planes.home import Home
from pinthesky.planes.records.connections import Kind, Socket
from pinthesky.planes.routing import status_of

logger = logging.getLogger(__name__)

SUBPROTOCOLS = ("manager", "session")
TICKET, MANAGER = "Authorization", "ManagerId"
"""Parameters of the address with which a connection is opened."""
IDLE_GRACE_S = 60
"""Events that go out keep a connection alive too, and are not counted here."""


@dataclass(frozen=True)
class Opening:
    """What is known of a connection when it opens."""

    query: Mapping[str, str]
    subprotocols: Sequence[str]
    source_ip: str = ""
    user_agent: str = ""


class Answered(NamedTuple):
    """What is said to a message, and whether that is a refusal."""

    message: bytes
    refused: bool


def opened(home: Home, connection: ConnectionId, opening: Opening, *, now_s: float) -> str:
    """Take a connection, and choose its sub-protocol. Raises NotAuthorized: it is to be refused.

    Without a ticket it is taken too, but may only `login`, within SIGN_IN_S.
    """
    kind = next((each for each in opening.subprotocols if each in SUBPROTOCOLS), None)
    if kind is None:
        raise NotAuthorized(f"choose a sub-protocol: {' or '.join(SUBPROTOCOLS)}")
    now_ms = int(now_s * 1000)
    try:
        person = _person_of_ticket(home, opening.query.get(TICKET))
        manager = _manager_of(home, kind, opening.query.get(MANAGER), person=person)
        home.sockets.add(
            Socket(
                id=connection,
                kind=cast("Kind", kind),
                connected_at=now_ms,
                last_active_at=now_ms,
                person=None if person is None else person.id,
                manager=manager,
                source_ip=opening.source_ip[:64],
                user_agent=opening.user_agent[:200],
            )
        )
    except (InvalidInput, NotFound, Throttled) as error:
        raise NotAuthorized(str(error)) from error
    return kind


def received(home: Home, connection: ConnectionId, message: str | bytes, *, now_s: float) -> None:
    """Take a message, and answer it over the connection. Raises Unavailable: the records cannot be reached."""
    try:
        socket = home.sockets.note_message(connection, int(now_s * 1000))
    except NotFound:
        home.connections.close(connection)
        return
    if socket.received > MESSAGES_BEFORE_CLOSING or now_s * 1000 >= socket.expires_at:
        close(home, connection)
        return
    access = _access(home, socket)
    if socket.person is not None and access is None:
        close(home, connection)
        return
    answered = _answer(home, socket, message, access=access, now_s=now_s)
    _send(home, connection, answered.message)
    if access is None and answered.refused and _has_tried_too_often(home, connection):
        close(home, connection)


def closed(home: Home, connection: ConnectionId) -> None:
    """Learn that a connection has ended, whoever ended it. Never raises."""
    try:
        forget(home, connection)
    except PinTheSkyError as error:
        logger.error("The end of connection %s was not noted: %s", connection, error)


def close_overdue(home: Home, now_s: float) -> int:
    """Close whoever has not logged in in time, was silent too long, is too old, or is no longer invited.

    Live views of cameras that a person may not see any more are stopped. To be called about every ten seconds at home,
    and every minute in AWS. Returns how many connections were closed.
    """
    people: dict[PersonId, Access | None] = {}
    closed_count = 0
    for socket in list(home.sockets.everyone()):
        if socket.person is not None and socket.person not in people:
            people[socket.person] = _access(home, socket)
        access = None if socket.person is None else people[socket.person]
        if _is_overdue(socket, access, now_s=now_s):
            close(home, socket.id)
            closed_count += 1
        elif access is not None and not access.sees_everything:
            stop_live_views(home, socket.id, socket.manager_id, unless=access.sees)
    return closed_count


def _answer(home: Home, socket: Socket, message: str | bytes, *, access: Access | None, now_s: float) -> Answered:
    """The answer to a message. Never raises an error of ours."""
    if protocol.is_too_large(message):
        return Answered(protocol.answer(None, 413, message="a message has at most 128 KB"), refused=True)
    request: protocol.Request | None = None
    try:
        request = protocol.read_request(message)
        if socket.received > MESSAGES_MAX:
            raise Throttled(f"at most {MESSAGES_MAX} messages in {WINDOW_S} s", WINDOW_S)
        action = ACTIONS.get(request.action)
        if action is None:
            raise InvalidInput("action", f"must be one of {', '.join(ACTIONS)}")
        if action.permission is not None:
            if access is None:
                return Answered(protocol.answer(request, 401, message="log in first"), refused=True)
            access.require(action.permission)
        payload = protocol.read_payload(request.payload, action.payload)
        body = action.perform(Asking(home, socket, access, now_s), payload)
        return Answered(protocol.answer(request, 200, body=body), refused=False)
    except PinTheSkyError as error:
        if status_of(error) >= 500:
            logger.error("A message of connection %s failed: %s", socket.id, error)
        return Answered(protocol.refusal(request, error), refused=True)


def _send(home: Home, connection: ConnectionId, message: bytes) -> None:
    try:
        home.connections.post(connection, message)
    except NotFound:
        forget(home, connection)
    except Unavailable as error:
        logger.info("Connection %s is closed, it does not take its answers: %s", connection, error)
        close(home, connection)


def _has_tried_too_often(home: Home, connection: ConnectionId) -> bool:
    """Count a login that failed; whether it was one too many."""
    try:
        return home.sockets.note_failed_login(connection).failed_logins >= SIGN_IN_TRIES_MAX
    except NotFound:
        return False


def _access(home: Home, socket: Socket) -> Access | None:
    """What the person of a connection may do now; None for nobody, and for somebody who is no longer invited."""
    return None if socket.person is None else home.access_of(socket.person)


def _person_of_ticket(home: Home, ticket: str | None) -> Person | None:
    if ticket is None:
        return None
    if ticket.count(".") == 2:
        raise NotAuthorized("an access token in an address ends in logs: open with a ticket of POST /tokens")
    access = home.access_of(home.tickets.redeem(ticket))
    if access is None:
        raise NotAuthorized("you are not invited here")
    check_room(home, access.person)
    return access.person


def _manager_of(home: Home, kind: str, given: str | None, *, person: Person | None) -> ConnectionId | None:
    """A session's manager. Without anybody logged in it is named again at the login."""
    if kind == "manager" or given is None or person is None:
        return None
    return check_manager(home, ConnectionId.parse(given, MANAGER), person)


def _is_overdue(socket: Socket, access: Access | None, *, now_s: float) -> bool:
    if now_s >= socket.expires_at / 1000 or now_s >= socket.last_active_at / 1000 + IDLE_S + IDLE_GRACE_S:
        return True
    return access is None and (socket.person is not None or now_s >= socket.connected_at / 1000 + SIGN_IN_S)
