"""The planes' port `Connections` on API Gateway's `@connections`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pinthesky.aws.clients import Clients, errors
from pinthesky.errors import NotFound
from pinthesky.model.identifiers import ConnectionId, ThingName

_SERVICE = "apigatewaymanagementapi"
READ_TIMEOUT_S = 5.0


class ApiGatewayConnections:
    """The adapter of `planes.ports.Connections`."""

    def __init__(self, clients: Clients, endpoint: str) -> None:
        """`endpoint` is the address of the WebSocket API's stage, with https."""
        self._clients = clients
        self._endpoint = endpoint

    @property
    def endpoint(self) -> str:
        """See `planes.ports.Connections`."""
        return self._endpoint

    def post(self, connection: ConnectionId, message: bytes) -> None:
        """See `planes.ports.Connections`."""
        with errors(f"posting to connection {connection}", field="message", invalid=("PayloadTooLargeException",)):
            self._client.post_to_connection(ConnectionId=str(connection), Data=message)

    def close(self, connection: ConnectionId) -> None:
        """See `planes.ports.Connections`."""
        with suppress(NotFound), errors(f"closing connection {connection}"):
            self._client.delete_connection(ConnectionId=str(connection))

    def allow_answer(self, connection: ConnectionId, thing: ThingName) -> None:
        """See `planes.ports.Connections`. Nothing is to be done.

        In AWS the role of cameras lets each of them post to every connection of this API; its id, which is random and
        which only who was asked is told, is what stands in the way. One that is gone shows when something is posted.
        """

    @property
    def _client(self) -> Any:
        # Not tried again: whoever does not keep up would keep those waiting to whom the same is posted after.
        return self._clients.get(_SERVICE, endpoint_url=self._endpoint, read_timeout_s=READ_TIMEOUT_S, attempts=1)
