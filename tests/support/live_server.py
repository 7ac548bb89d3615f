"""What the servers that play a camera on the network have in common: connections, and faults on demand."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType


class LiveServer:
    """Serves one TCP port of this machine, a thread for each connection. A `with` block starts and ends it.

    Faults: `pause()` (silence, connections stay), `resume()`, `cut()` (all connections end at once), `refuse()` (nobody
    listens any more), `accept_again()`, and `mute = True` (connections are taken, but never answered).
    """

    def __init__(self) -> None:
        self.mute = False
        self.port = 0
        self.served = 0
        self._stopping = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._held = threading.Event()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self):
        self.accept_again()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._stopping.set()
        self._flowing.set()
        self.refuse()
        self.cut()
        for thread in self._threads:
            thread.join(5.0)

    def accept_again(self) -> None:
        """Listen, on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def refuse(self) -> None:
        """Stop listening: who connects is refused."""
        if self._listener is not None:
            # Only a shutdown wakes an accept that waits in another thread.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def cut(self) -> None:
        """End all connections in the middle of what they are saying."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def pause(self) -> None:
        """Say nothing more for now."""
        self._held.clear()
        self._flowing.clear()

    def wait_until_paused(self, timeout_s: float = 5.0) -> bool:
        """Wait until a connection has come to the pause: nothing more is on its way. False when none does in time."""
        return self._held.wait(timeout_s)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._flowing.set()

    def serve(self, connection: socket.socket) -> None:
        """Talk to one client until it or the server ends. Raises OSError freely."""
        raise NotImplementedError

    def wait_until(self, monotonic_s: float) -> bool:
        """Wait for a moment, and through a pause. False when the server ends."""
        self._stopping.wait(max(0.0, monotonic_s - time.monotonic()))
        if not self._flowing.is_set():
            self._held.set()
            self._flowing.wait()
        return not self._stopping.is_set()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._stopping.is_set():
                connection, _ = listener.accept()
                self._start(self._run, connection)

    def _run(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            with connection, contextlib.suppress(OSError):
                if self.mute:
                    while not self._stopping.is_set() and connection.recv(4096):
                        pass
                else:
                    self.serve(connection)
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _start(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True, name=type(self).__name__)
        self._threads.append(thread)
        thread.start()


class Request:
    """A request of RTSP or HTTP: first line and headers (in lower case)."""

    def __init__(self, text: str) -> None:
        first, *lines = text.split("\r\n")
        self.method, self.target, _ = [*first.split(" ", 2), "", ""][:3]
        self.headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
        }


class RequestReader:
    """Reads requests without bodies from a connection, and skips interleaved data of RTSP."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def next(self) -> Request | None:
        """The next request, or None when the client has ended."""
        while True:
            while self._buffer.startswith(b"$"):
                if not self._fill(4):
                    return None
                length = 4 + int.from_bytes(self._buffer[2:4], "big")
                if not self._fill(length):
                    return None
                self._buffer = self._buffer[length:]
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if end:
                self._buffer = rest
                return Request(head.decode("latin-1"))
            if not self._fill(len(self._buffer) + 1):
                return None

    def _fill(self, size: int) -> bool:
        while len(self._buffer) < size:
            received = self._connection.recv(65536)
            if not received:
                return False
            self._buffer += received
        return True
