"""Posts to addresses that somebody has named, with a rule for where such an address may lead.

The rule is asked when a connection is made, about the very address that is connected to: a name that leads elsewhere by
then is refused as well. No redirect is followed, no proxy of the environment is used, and what the other side answers
is not read beyond its status.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from pinthesky.errors import Unavailable
from pinthesky.version import __version__

TIMEOUT_S = 10.0
"""For all of it, from the name to the answer's first line."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressRule = Callable[[Address], None]
"""Raises ValueError for an address that nothing is posted to."""


class OutgoingPosts:
    """Posts to `https://` and `http://` addresses. Thread-safe."""

    def __init__(self, rule: AddressRule, trusted: ssl.SSLContext | None = None) -> None:
        """`trusted`: whose certificates an address may show; the system's unless given."""
        self._rule = rule
        self._trusted = trusted or ssl.create_default_context()

    def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post `body`; the status of the answer. Raises Unavailable: there is none within TIMEOUT_S."""
        try:
            return self._posted(address, body, headers)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable(f"the other side cannot be reached: {str(error) or type(error).__name__}") from error

    def check_host(self, host: str) -> None:
        """Raise ValueError for a host that is a refused address in numbers; names are looked up when they are used."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return
        self._rule(mapped(address))

    def _posted(self, address: str, body: bytes, headers: Mapping[str, str]) -> int:
        parts = urlsplit(address)
        given = {"User-Agent": f"pits-hub/{__version__}", "Connection": "close", **headers}
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
        # The connection's own time-out is for each step, and a slow answer has many.
        watch = threading.Timer(TIMEOUT_S, connection.cut)
        watch.start()
        try:
            connection.request("POST", path, body, given)
            return connection.getresponse().status
        finally:
            watch.cancel()
            watch.join()
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None) -> _Connection:
        if scheme == "https":
            return _TlsConnection(host, port, rule=self._rule, trusted=self._trusted)
        return _Connection(host, port, rule=self._rule)


def mapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    return getattr(address, "ipv4_mapped", None) or address


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int | None, *, rule: AddressRule) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S)
        self._rule = rule

    def connect(self) -> None:
        self.sock = _connected(self.host, self.port, self._rule)

    def cut(self) -> None:
        """End it, from another thread: whoever waits for the other side gets an OSError."""
        with suppress(OSError, AttributeError):  # it has ended by itself, or has not begun
            self.sock.shutdown(socket.SHUT_RDWR)


class _TlsConnection(_Connection):
    default_port = http.client.HTTPS_PORT

    def __init__(self, host: str, port: int | None, *, rule: AddressRule, trusted: ssl.SSLContext) -> None:
        super().__init__(host, port, rule=rule)
        self._trusted = trusted

    def connect(self) -> None:
        super().connect()
        # In two steps, so that it can be cut off in the second one.
        tls = self._trusted.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = tls
        tls.do_handshake()


def _connected(host: str, port: int, rule: AddressRule) -> socket.socket:
    """A connection to the first address of a host that takes one. Raises OSError, ValueError (one that is refused)."""
    failed = OSError("the name leads nowhere")
    deadline = time.monotonic() + TIMEOUT_S
    for family, kind, protocol, _, target in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        rule(mapped(ipaddress.ip_address(str(target[0]).partition("%")[0])))
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
