"""Clients that do what no browser does: raw HTTP, half requests, and sockets that read nothing."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT_S = 10.0


class RawClient:
    """One TCP connection. With `root` it is TLS."""

    def __init__(self, port: int, *, root: Path | None = None, source: str = "127.0.0.1") -> None:
        plain = socket.create_connection(("127.0.0.1", port), TIMEOUT_S, source_address=(source, 0))
        self.socket: socket.socket = plain
        if root is not None:
            context = ssl.create_default_context(cafile=str(root))
            self.socket = context.wrap_socket(plain, server_hostname="localhost")

    def send(self, data: bytes) -> None:
        """Send; a connection that the other side has ended is no error."""
        try:
            self.socket.sendall(data)
        except OSError:
            return

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> tuple[int, bytes]:
        """A request written as it is given. Returns the status, 0 where nothing is answered, and the whole answer."""
        lines = [f"{method} {path} HTTP/1.1", *headers]
        if not any(line.lower().startswith("host:") for line in headers):
            lines.append("Host: localhost")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body)
        return self.answer()

    def answer(self) -> tuple[int, bytes]:
        """What comes until the other side ends."""
        found = self.rest()
        status = re.match(rb"HTTP/1.1 (\d{3})", found)
        return int(status[1]) if status else 0, found

    def rest(self, timeout_s: float = TIMEOUT_S) -> bytes:
        """All that comes until the other side ends; TimeoutError where it does not."""
        found = b""
        deadline = time.monotonic() + timeout_s
        while True:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                part = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return found
            if not part:
                return found
            found += part

    def ends_within(self, timeout_s: float) -> bool:
        """Whether the other side ends the connection in time."""
        try:
            self.rest(timeout_s)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """End it."""
        self.socket.close()


@contextmanager
def connected(port: int, **options: Any) -> Iterator[RawClient]:
    """A connection that is closed in the end."""
    client = RawClient(port, **options)
    try:
        yield client
    finally:
        client.close()


class RawSocket(RawClient):
    """A WebSocket by its frames."""

    def __init__(
        self, port: int, query: str = "", *, root: Path | None = None, source: str = "127.0.0.1", origin: str = ""
    ) -> None:
        super().__init__(port, root=root, source=source)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET /socket{query} HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Protocol: manager",
            *([f"Origin: {origin}"] if origin else []),
        ]
        self.send("\r\n".join([*lines, "", ""]).encode())
        head = b""
        self.socket.settimeout(TIMEOUT_S)
        while b"\r\n\r\n" not in head:
            part = self.socket.recv(1)
            if not part:
                break
            head += part
        found = re.match(rb"HTTP/1.1 (\d{3})", head)
        self.status = int(found[1]) if found else 0

    def frame(self, payload: bytes, *, opcode: int = 1, fin: bool = True) -> None:
        """Send one frame."""
        self.send(frame_of(payload, opcode=opcode, fin=fin))

    def say(self, action: str, **payload: Any) -> Any:
        """Ask the data plane something; its answer."""
        self.frame(json.dumps({"action": action, "payload": payload}).encode())
        return self.hear()

    def hear(self) -> Any:
        """The next text message, as JSON; pings are passed over, None at the end."""
        while True:
            head = self._exactly(2)
            if head is None:
                return None
            size = head[1] & 0x7F
            if size > 125:
                more = self._exactly(2 if size == 126 else 8)
                if more is None:
                    return None  # the server was killed within a frame
                size = int.from_bytes(more, "big")
            payload = self._exactly(size)
            opcode = head[0] & 0x0F
            if payload is None or opcode == 8:
                return None
            if opcode == 1:
                return json.loads(payload)

    def _exactly(self, size: int) -> bytes | None:
        found = b""
        self.socket.settimeout(TIMEOUT_S)
        while len(found) < size:
            try:
                part = self.socket.recv(size - len(found))
            except ConnectionError:
                return None
            if not part:
                return None
            found += part
        return found


def frame_of(payload: bytes, *, opcode: int = 1, fin: bool = True) -> bytes:
    """A frame of a client (RFC 6455, 5.2), masked with nothing."""
    first = (0x80 if fin else 0) | opcode
    if len(payload) < 126:
        head = struct.pack(">BB", first, 0x80 | len(payload))
    elif len(payload) < 65536:
        head = struct.pack(">BBH", first, 0x80 | 126, len(payload))
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, len(payload))
    return head + bytes(4) + payload
