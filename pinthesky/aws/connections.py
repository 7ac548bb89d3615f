"""Answers to a console's WebSocket, through API Gateway's `POST /@connections/{id}` or the hub's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pinthesky.aws.session import AwsSession


class ApiGatewayConnectionPoster:
    """The port `ConnectionPoster` on API Gateway. Thread-safe.

    Whether `endpoint_url` may be used at all is decided before it comes here, by the list of allowed destinations.
    """

    def __init__(self, session: AwsSession) -> None:
        self._session = session

    def post(self, *, endpoint_url: str, region: str, connection_id: str, payload: bytes) -> None:
        """Send `payload`, at most 128 KiB.

        Raises NotFound (the connection is gone), NotAuthorized, Unavailable, InvalidInput (too large).
        """
        client = self._session.connections(endpoint_url, region)
        with self._session.errors(f"answering connection {connection_id} at {endpoint_url}"):
            client.post_to_connection(ConnectionId=connection_id, Data=payload)
