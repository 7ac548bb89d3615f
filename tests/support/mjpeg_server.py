"""A camera that shows JPEG after JPEG over HTTP (multipart/x-mixed-replace), with faults on demand."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from itertools import cycle

from tests.support.live_server import LiveServer, RequestReader

BOUNDARY = "picture"


class MjpegServer(LiveServer):
    """Shows `jpegs` in turn, `framerate` in a second. `status` is what it answers, "200 OK" unless told otherwise."""

    def __init__(self, jpegs: Sequence[bytes], *, framerate: float) -> None:
        super().__init__()
        self.status = "200 OK"
        self._jpegs = jpegs
        self._framerate = framerate

    @property
    def url(self) -> str:
        """Where it shows."""
        return f"http://127.0.0.1:{self.port}/stream"

    def serve(self, connection: socket.socket) -> None:
        """See LiveServer."""
        if RequestReader(connection).next() is None:
            return
        head = [f"HTTP/1.0 {self.status}", f"Content-Type: multipart/x-mixed-replace; boundary={BOUNDARY}", "", ""]
        connection.sendall("\r\n".join(head).encode())
        if not self.status.startswith("200"):
            return
        self.served += 1
        began_s = time.monotonic()
        for number, jpeg in enumerate(cycle(self._jpegs)):
            if not self.wait_until(began_s + number / self._framerate):
                return
            part = [f"--{BOUNDARY}", "Content-Type: image/jpeg", f"Content-Length: {len(jpeg)}", "", ""]
            connection.sendall("\r\n".join(part).encode() + jpeg + b"\r\n")
