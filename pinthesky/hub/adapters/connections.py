"""The planes' port `Connections` on the hub's sockets."""

from __future__ import annotations

from pinthesky.hub.sockets import TOO_SLOW, Sockets
from pinthesky.model.identifiers import ConnectionId, ThingName


class HubConnections:
    """The adapter of `planes.ports.Connections`."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets

    @property
    def endpoint(self) -> None:
        """None: a camera posts to the hub by the name under which it was given it."""
        return

    def post(self, connection: ConnectionId, message: bytes) -> None:
        """See `planes.ports.Connections`."""
        self._sockets.post(connection, message.decode())

    def close(self, connection: ConnectionId) -> None:
        """See `planes.ports.Connections`."""
        self._sockets.close(connection, TOO_SLOW)

    def allow_answer(self, connection: ConnectionId, thing: ThingName) -> None:
        """See `planes.ports.Connections`."""
        self._sockets.grant(connection, thing)
