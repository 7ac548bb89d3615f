"""The end of a connection: it is forgotten, a manager's sessions end with it, and what it has started is stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from pinthesky.errors import PinTheSkyError
from pinthesky.model.commands import InvokeId
from pinthesky.model.identifiers import ConnectionId, ThingName
from pinthesky.model.people import PersonId
from pinthesky.planes.home import Home
from pinthesky.planes.table import LIMIT_MAX

logger = logging.getLogger(__name__)


def close(home: Home, connection: ConnectionId) -> None:
    """End a connection, whoever has it. One that is gone is no error."""
    home.connections.close(connection)
    forget(home, connection)


def close_all_of(home: Home, person: PersonId) -> None:
    """End every connection of a person."""
    for socket in home.sockets.of_person(person):
        close(home, socket.id)


def forget(home: Home, connection: ConnectionId) -> None:
    """Do what the end of a connection asks for; a second time there is nothing left to do."""
    socket = home.sockets.remove(connection)
    manager = connection if socket is None else socket.manager_id
    stop_live_views(home, connection, manager)
    for session_socket in home.sockets.sessions_of(connection):
        close(home, session_socket)


def stop_live_views(
    home: Home,
    connection: ConnectionId,
    manager: ConnectionId,
    *,
    unless: Callable[[ThingName], bool] = lambda _camera: False,
) -> None:
    """Stop what a connection has started on cameras, but for those that `unless` names."""
    for session in home.sockets.live_page(connection, limit=LIMIT_MAX).rows:
        if not unless(session.camera):
            home.sockets.stop(connection, session.invoke_id)
            _stop_live_view(home, session.camera, connection_of(home, connection, manager, invoke_id=session.invoke_id))


def connection_of(
    home: Home, connection: ConnectionId, manager: ConnectionId, *, invoke_id: InvokeId
) -> dict[str, str | None]:
    """The `connection` of a command's context: where the camera sends its answer."""
    return {
        "id": str(connection),
        "manager_id": str(manager),
        "management_endpoint": home.connections.endpoint,
        "invoke_id": str(invoke_id),
    }


def _stop_live_view(home: Home, camera: ThingName, connection: Mapping[str, str | None]) -> None:
    """Tell a camera. One that does not hear it stops when its next frame finds the connection gone."""
    try:
        home.commands.send(camera, {"name": "record", "context": {"session": {"stop": True}, "connection": connection}})
    except PinTheSkyError as error:
        logger.warning("%s was not told to stop the live view of connection %s: %s", camera, connection["id"], error)
