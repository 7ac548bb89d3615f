"""uvicorn in a thread of its own, with TLS and the client's certificate where there is one.

The certificate travels to the application as ASGI's TLS extension says: `scope["extensions"]["tls"]
["client_cert_chain"]`, a list of PEM texts, the client's own first; it is empty where the client showed none.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time

import uvicorn
from starlette.types import ASGIApp

from pinthesky.errors import Unavailable
from pinthesky.hub import web_protocols

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0


class WebServer:
    """Serves one ASGI application on one address. `start` and `stop` may be called from any thread, once each."""

    def __init__(
        self, app: ASGIApp, *, host: str, port: int, tls: ssl.SSLContext | None, trusted_proxies: str = ""
    ) -> None:
        """Port 0 takes any free port; `trusted_proxies` are addresses or networks whose X-Forwarded-* is believed."""
        self._socket_address = (host, port)
        self._tls = tls
        config = uvicorn.Config(
            app,
            loop=f"{web_protocols.__name__}:new_event_loop",
            http=web_protocols.http_protocol(),
            ws=web_protocols.SocketProtocol,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=trusted_proxies or None,
            timeout_graceful_shutdown=int(STOP_TIMEOUT_S) - 2,
            timeout_keep_alive=65,
            ws_per_message_deflate=False,  # video does not shrink, and the rest is small
            ws_max_size=128 * 1024,
            ws_ping_interval=30.0,
            ws_ping_timeout=30.0,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None
        self._listener: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._listener is None:
            return self._socket_address[1]
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Listen, and return when connections are taken. Raises Unavailable where the address cannot be had."""
        host, port = self._socket_address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server(
                (host, port), family=family, backlog=512, dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6()
            )
        except OSError as error:
            raise Unavailable(f"cannot listen on {host} port {port}: {error.strerror}") from error
        # Connections inherit it. asyncio would set it, but not on those of a socket that was made without a protocol;
        # without it head and body of an answer, which are two writes, are 40 ms apart.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name=f"web-{self.port}")
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise Unavailable(f"the web server on port {self.port} did not start")
            self._thread.join(0.01)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End open requests and connections. False if they did not end in time."""
        self._server.should_exit = True
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
