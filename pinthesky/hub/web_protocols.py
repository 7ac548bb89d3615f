"""uvicorn's protocols, told who the client is, with bounds for whoever connects and says little, or too much."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import ipaddress
import ssl
from collections import Counter
from typing import Any

import h11
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from pinthesky.model.networks import network_of

TLS_TIMEOUT_S = 15.0
"""How long TLS may take to be agreed on."""
TLS_BUFFER_BYTES = 64 * 1024
REQUEST_TIMEOUT_S = 20.0
"""How long the head of a request may take, from the connection or its first byte; and how long the rest of a body may,
after an answer that has not waited for it."""
CONNECTIONS_MAX = 2048
"""Open connections of one port, sockets among them; one more is closed at once."""
CONNECTIONS_OF_NETWORK_MAX = 128
"""Connections of one address, or one household's IPv6 network, that are no sockets."""
UNREAD_MAX = 4 * 1024 * 1024
"""Bytes that wait for a WebSocket's other side; one that asks for more of them and reads nothing is cut off."""
FRAGMENTS_MAX = 1024
"""Frames of one WebSocket message."""


_TWO_LENGTHS = {b"content-length", b"transfer-encoding"}


class _EventLoop(asyncio.SelectorEventLoop):
    async def create_server(self, *given: Any, **options: Any) -> asyncio.Server:
        """As asyncio, which waits a whole minute for TLS."""
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", TLS_TIMEOUT_S)
        return await super().create_server(*given, **options)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The event loop of a server's thread; called by uvicorn."""
    # What each TLS connection holds for as long as it lives, idle or not; asyncio's own is 256 KB.
    asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
    return _EventLoop()


class Crowd:
    """Connections by network. This machine's own are not counted: a reverse proxy may be among them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def enter(self, host: str) -> bool:
        """Count a connection; whether there is room for it. `leave` is due in either case."""
        if _is_this_machine(host):
            return True
        network = network_of(host)
        self._counts[network] += 1
        return self._counts[network] <= CONNECTIONS_OF_NETWORK_MAX

    def leave(self, host: str) -> None:
        """Count it off."""
        if not _is_this_machine(host):
            network = network_of(host)
            self._counts[network] -= 1
            self._counts += Counter()  # forgets those with nothing left


def http_protocol() -> type[H11Protocol]:
    """The protocol of one server, whose connections are counted together."""

    class OfOneServer(_HttpProtocol):
        crowd = Crowd()

    return OfOneServer


class _HttpProtocol(H11Protocol):
    crowd: Crowd
    _deadline: asyncio.TimerHandle | None = None
    _is_counted = False

    @property
    def _host(self) -> str:
        return "" if self.client is None else self.client[0]

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.access_log = False  # whatever loggers are set to: tickets and tokens stand in queries
        self.app = _with_certificate(self.app, transport)
        self._is_counted = True
        if not self.crowd.enter(self._host) or len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: Any = self.cycle  # as in `shutdown`
        if self.conn.their_state is h11.IDLE:
            if self._deadline is None and not self.transport.is_closing():
                self._expect()
        elif cycle is not None and not cycle.response_complete:
            self._expect_nothing()  # the application's turn, which has its own bounds

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._expect()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._leave()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        cycle: Any = self.cycle  # None before the first request, whatever its annotation says
        is_idle = cycle is None or cycle.response_complete
        if is_idle and self.transport.is_closing():
            self.transport.abort()  # asyncio's TLS does not bear to be closed twice
            return
        super().shutdown()
        if is_idle and self.transport.get_write_buffer_size() == 0:
            # A client that keeps its connection for later reads nothing, so it never answers the farewell of TLS.
            self.transport.abort()

    def _expect(self) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _leave(self) -> None:
        self._expect_nothing()
        if self._is_counted:
            self._is_counted = False
            self.crowd.leave(self._host)


class SocketProtocol(WebSocketsSansIOProtocol):
    """What goes on before the application hears of it has bounds as well."""

    def connection_made(self, transport: Any) -> None:
        """Called by asyncio."""
        super().connection_made(transport)
        self.app = _with_certificate(self.app, transport)

    def handle_ping(self) -> None:
        """Called by uvicorn, which answers each, whether the answers are taken or not."""
        super().handle_ping()
        if self.transport.get_write_buffer_size() > UNREAD_MAX:
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        """Called by uvicorn, which gathers frames of a message without end where they are small."""
        if len(self.frames) >= FRAGMENTS_MAX:
            self.transport.abort()
            return
        super().handle_cont(event)


def _with_certificate(app: ASGIApp, transport: Any) -> ASGIApp:
    """The application, told the certificate that the client of `transport` has shown, and how to cut it off."""
    tls = transport.get_extra_info("ssl_object")
    der = None if tls is None else tls.getpeercert(binary_form=True)
    chain = [] if der is None else [ssl.DER_cert_to_PEM_cert(der)]

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and {name for name, _ in scope["headers"]} >= _TWO_LENGTHS:
            # Two lengths: a proxy may have believed the other one, and taken for a body what we take for a request.
            refused = Response("a body has one length", 400, {"Connection": "close"})
            await refused(scope, receive, send)
            return
        tls_and_abort = {"tls": {"client_cert_chain": chain}, "abort": {"now": transport.abort}}
        extensions = {**scope.get("extensions", {}), **tls_and_abort}
        await app({**scope, "extensions": extensions}, receive, send)

    return told


def _is_this_machine(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
