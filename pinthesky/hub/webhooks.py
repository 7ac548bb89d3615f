"""Webhooks: an alert as JSON, posted to an address that an owner has named.

The house's own network, and this machine, are where such an address usually is: a home automation, a chat server. So
they are allowed. What is refused is what no home has a webhook on, and a rented machine has its keys on: link-local
addresses, and those that are no single machine's. It is looked at when a connection is made, so a name that leads
elsewhere by then is refused as well. What the other side answers is not read, and nobody is told of it but the log.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec

from pinthesky.errors import Unavailable
from pinthesky.version import __version__

TIMEOUT_S = 10.0
"""For all of it, from the name to the answer's first line."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Webhooks:
    """Posts to `https://` and `http://` addresses. Thread-safe."""

    def __init__(self, trusted: ssl.SSLContext | None = None) -> None:
        """`trusted`: whose certificates an address may show; the system's unless given."""
        self._trusted = trusted or ssl.create_default_context()

    def post(self, address: str, document: Mapping[str, Any]) -> None:
        """Post `document`. Raises Unavailable unless the answer is 2xx within TIMEOUT_S; no redirect is followed."""
        try:
            status = self._posted(address, msgspec.json.encode(document))
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable(f"the webhook cannot be reached: {str(error) or type(error).__name__}") from error
        if not 200 <= status < 300:
            raise Unavailable(f"the webhook answers {status}")

    def _posted(self, address: str, body: bytes) -> int:
        parts = urlsplit(address)
        headers = {"Content-Type": "application/json", "User-Agent": f"pits-hub/{__version__}", "Connection": "close"}
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
        # The connection's own time-out is for each step, and a slow answer has many.
        watch = threading.Timer(TIMEOUT_S, connection.cut)
        watch.start()
        try:
            connection.request("POST", path, body, headers)
            return connection.getresponse().status
        finally:
            watch.cancel()
            watch.join()
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None) -> _Connection:
        if scheme == "https":
            return _TlsConnection(host, port, trusted=self._trusted)
        return _Connection(host, port, timeout=TIMEOUT_S)


def check_address(address: Address) -> None:
    """Raise ValueError for an address that no webhook is at."""
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_link_local or mapped.is_multicast or mapped.is_unspecified or str(mapped) == "255.255.255.255":
        raise ValueError(f"{mapped} is no address for a webhook")


def check_host(host: str) -> None:
    """Raise ValueError for a host that is such an address in numbers; names are looked up when they are used."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return
    check_address(address)


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = _connected(self.host, self.port)

    def cut(self) -> None:
        """End it, from another thread: whoever waits for the other side gets an OSError."""
        with suppress(OSError, AttributeError):  # it has ended by itself, or has not begun
            self.sock.shutdown(socket.SHUT_RDWR)


class _TlsConnection(_Connection):
    default_port = http.client.HTTPS_PORT

    def __init__(self, host: str, port: int | None, *, trusted: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S)
        self._trusted = trusted

    def connect(self) -> None:
        super().connect()
        # In two steps, so that it can be cut off in the second one.
        tls = self._trusted.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = tls
        tls.do_handshake()


def _connected(host: str, port: int) -> socket.socket:
    """A connection to the first address of a host that takes one. Raises OSError, ValueError (one that is refused)."""
    failed = OSError("the name leads nowhere")
    deadline = time.monotonic() + TIMEOUT_S
    for family, kind, protocol, _, target in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        check_address(ipaddress.ip_address(str(target[0]).partition("%")[0]))
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(max(0.1, deadline - time.monotonic()))
            plain.connect(target)
        except OSError as error:
            plain.close()
            failed = error
            continue
        plain.settimeout(TIMEOUT_S)
        return plain
    raise failed
