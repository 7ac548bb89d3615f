"""`POST`, `GET` and `DELETE /@connections/{id}`, as API Gateway's management API has them, for what cameras answer.

A camera may post only to a connection that has asked it something, and look at or end none. To anyone else a connection
that exists is as gone as one that never was. Source: "apigatewaymanagementapi" of the AWS API reference.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.hub.refusals import Refusal
from pinthesky.hub.signatures import Principal, Signatures, SignedRequest
from pinthesky.hub.small_bodies import BodyMissing, read_body
from pinthesky.hub.sockets import MESSAGE_MAX, Sockets
from pinthesky.model.identifiers import ConnectionId

SERVICE = "execute-api"
_SIGNATURE_ERRORS = {
    "ExpiredToken": "ExpiredTokenException",
    "InvalidAccessKeyId": "UnrecognizedClientException",
    "InvalidToken": "UnrecognizedClientException",
    "RequestTimeTooSkewed": "InvalidSignatureException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
}
"""S3's codes -> what the other services call the same, and what makes a client fetch new keys."""


class ConnectionsApi:
    """The routes. Cameras sign with the keys of the credentials endpoint, the planes with the hub's own."""

    def __init__(self, sockets: Sockets, signatures: Signatures) -> None:
        self._sockets = sockets
        self._signatures = signatures

    def routes(self) -> list[BaseRoute]:
        """One route; another method than the three is answered with 405."""
        return [Route("/@connections/{connection:path}", self._serve, methods=["POST", "GET", "DELETE"])]

    async def _serve(self, request: Request) -> Response:
        try:
            body = await read_body(request, limit=MESSAGE_MAX)
            if len(body) > MESSAGE_MAX:
                return _error(413, "PayloadTooLargeException", f"a message has at most {MESSAGE_MAX} bytes")
            return await run_in_threadpool(self._answer, request, body)
        except BodyMissing:
            return Response(status_code=400)
        except Refusal as refusal:
            return _error(403, _SIGNATURE_ERRORS.get(refusal.code, "ForbiddenException"), refusal.message)
        except (NotFound, InvalidInput):
            return _error(410, "GoneException", "the connection is gone")
        except Unavailable as error:
            return _error(429, "LimitExceededException", str(error))

    def _answer(self, request: Request, body: bytes) -> Response:
        sha256 = hashlib.sha256(body).hexdigest()
        verified = self._signatures.verify(SignedRequest.of(request.scope), service=SERVICE, payload_sha256=sha256)
        connection = ConnectionId.parse(request.path_params["connection"])
        self._check_permission(verified.principal, connection, request.method)
        if request.method == "POST":
            self._sockets.post(connection, _text(body))
            return Response(status_code=200)
        info = self._sockets.info(connection)
        if request.method == "DELETE":
            self._sockets.close(connection)
            return Response(status_code=204)
        return JSONResponse(
            {
                "connectedAt": _iso(info.connected_at),
                "lastActiveAt": _iso(info.last_active_at),
                "identity": {"sourceIp": info.source_ip, "userAgent": info.user_agent},
            }
        )

    def _check_permission(self, principal: Principal, connection: ConnectionId, method: str) -> None:
        if principal.thing is None:
            return
        if method != "POST" or not self._sockets.may_answer(connection, principal.thing):
            raise NotFound(f"{principal.thing} was not asked by connection {connection}")


def _text(body: bytes) -> str:
    """What is posted travels as a text frame; bytes that are no UTF-8 are replaced, as API Gateway does."""
    return body.decode("utf-8", "replace")


def _iso(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(status: int, kind: str, message: str) -> Response:
    return JSONResponse({"message": message}, status, headers={"x-amzn-ErrorType": kind})
