"""API Gateway on this machine: an HTTP API and a WebSocket API before functions, over real HTTP and real sockets.

What stands before the functions is taken from the template: which routes there are, and which of them ask for a token
of which issuer and client. Quotas, throttling and time limits are not stood in for.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import jwt
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server as SocketServer
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from pinthesky.planes.routing import HttpRequest
from tests.support.aws_servers import DataPlaneServer, Server, answer
from tests.support.lambda_calls import http_event, socket_event
from tests.support.user_pool import UserPool

Invoke = Callable[[str, dict[str, Any]], Any]
"""Calls the function of that name with an event."""


@dataclass(frozen=True)
class Authorizer:
    """What a route asks of a token."""

    issuer: str
    audience: tuple[str, ...]


@dataclass(frozen=True)
class Route:
    """A route of an API, and the function behind it. `key` is as in the template: `GET /cameras/{thing}`."""

    key: str
    function: str
    authorizer: Authorizer | None = None

    def takes(self, method: str, path: str) -> bool:
        """Whether a request is for this route."""
        if self.key == "$default":
            return True
        verb, _, pattern = self.key.partition(" ")
        parts = [
            ".+" if part.endswith("+}") else "[^/]+" if part.startswith("{") else re.escape(part)
            for part in pattern.split("/")
        ]
        return verb in ("ANY", method) and re.fullmatch("/".join(parts), path) is not None

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """The most particular route is asked first, as API Gateway does it: without variables, long before short."""
        return self.key == "$default", "+}" in self.key, self.key.count("{")


class HttpApi(Server):
    """An HTTP API with payload 2.0."""

    def __init__(self, routes: Iterable[Route], pool: UserPool, invoke: Invoke) -> None:
        self._routes = sorted(routes, key=lambda route: route.rank)
        self._pool = pool
        self._invoke = invoke
        super().__init__()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Find the route, verify the token, ask the function."""
        address = urlsplit(request.path)
        path, body = unquote(address.path), request.rfile.read(int(request.headers.get("Content-Length", "0")))
        route = next((one for one in self._routes if one.takes(request.command, path)), None)
        if route is None:
            return answer(request, 404, b'{"message":"Not Found"}', Content_Type="application/json")
        claims = None
        if route.authorizer is not None:
            claims = self._claims(route.authorizer, request.headers.get("Authorization", ""))
            if claims is None:
                return answer(request, 401, b'{"message":"Unauthorized"}', Content_Type="application/json")
        asked = HttpRequest(request.command, path, dict(parse_qsl(address.query, keep_blank_values=True)), body)
        said = self._invoke(route.function, http_event(asked, claims))
        headers = {name.replace("-", "_"): value for name, value in said["headers"].items()}
        return answer(request, said["statusCode"], said["body"].encode(), **headers)

    def _claims(self, wanted: Authorizer, header: str) -> dict[str, str] | None:
        """Claims as the authorizer hands them over, all as text. It takes identity tokens too, as the real one does."""
        try:
            found = jwt.decode(
                header.removeprefix("Bearer "),
                self._pool.key.public_key(),
                algorithms=["RS256"],
                issuer=wanted.issuer,
                options={"verify_aud": False},
            )
        except jwt.PyJWTError:
            return None
        for_whom = found.get("aud") or found.get("client_id")
        return {name: str(value) for name, value in found.items()} if for_whom in wanted.audience else None


class SocketApi(DataPlaneServer):
    """A WebSocket API: `address` is where browsers connect, `url` where functions and cameras post to connections."""

    def __init__(self, routes: Mapping[str, str], invoke: Invoke) -> None:
        """`routes` names the function for each of `$connect`, `$default` and `$disconnect`."""
        self._routes = routes
        self._invoke = invoke
        self._open: dict[str, ServerConnection] = {}
        self._lock = threading.Lock()
        super().__init__()
        self._sockets: SocketServer = serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._connect,
            select_subprotocol=lambda connection, _offered: getattr(connection, "chosen", None),
            max_size=128 * 1024,
        )
        self._accepting = threading.Thread(target=self._sockets.serve_forever, name="socket-api", daemon=True)

    @property
    def address(self) -> str:
        """Where a browser connects."""
        return f"ws://127.0.0.1:{self._sockets.socket.getsockname()[1]}/prod"

    def __enter__(self) -> Any:
        self._accepting.start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        self._sockets.shutdown()
        for connection in list(self._open.values()):
            connection.close()
        self._accepting.join(5)
        super().__exit__(*error)

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """`@connections`: a post goes to the browser, a DELETE ends its connection."""
        name = unquote(request.path.rpartition("/")[2])
        if request.command == "DELETE":
            connection = self._open.get(name)
            if connection is None:
                return answer(request, 410, b"{}", x_amzn_ErrorType="GoneException")
            connection.close()
            return answer(request, 204, b"")
        before = len(self.posts)
        super().handle(request)
        for _, _, body in self.posts[before:]:
            connection = self._open.get(name)
            if connection is not None:
                connection.send(body.decode())
        return None

    def _connect(self, connection: ServerConnection, request: Request) -> Response | None:
        name = secrets.token_urlsafe(11) + "="
        query = {key: values[0] for key, values in parse_qs(urlsplit(request.path).query).items()}
        event = socket_event(
            "CONNECT",
            name,
            headers=dict(request.headers.raw_items()),
            queryStringParameters=query or None,
        )
        said = self._invoke(self._routes["$connect"], event)
        if said["statusCode"] != 200:
            return connection.respond(said["statusCode"], said.get("body", ""))
        chosen = {key.lower(): value for key, value in said.get("headers", {}).items()}
        connection.connection_name = name  # type: ignore[attr-defined] # the one place that both callbacks see
        connection.chosen = Subprotocol(chosen["sec-websocket-protocol"])  # type: ignore[attr-defined] # the same
        return None

    def _serve(self, connection: ServerConnection) -> None:
        name = str(connection.connection_name)  # type: ignore[attr-defined] # see _connect
        with self._lock:
            self._open[name] = connection
            self.open_connections.add(name)
        try:
            for message in connection:
                assert isinstance(message, str), "API Gateway takes text"
                self._invoke(self._routes["$default"], socket_event("MESSAGE", name, message))
        except ConnectionClosed:
            pass
        finally:
            with self._lock:
                self._open.pop(name, None)
                self.open_connections.discard(name)
            self._invoke(self._routes["$disconnect"], socket_event("DISCONNECT", name))
