"""The hub's WebSockets: who is connected, and what is on its way to each of them.

A connection has a bounded queue. An answer that finds it full is refused, and its sender may try again; a push that
finds it full ends the connection, since a console that has missed something asks for it when it connects again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.hub.rate_limits import RateLimit
from pinthesky.model.identifiers import ConnectionId, ThingName
from pinthesky.model.networks import network_of

logger = logging.getLogger(__name__)

CONNECTIONS_MAX = 1024
"""As many as 32 people may have. One takes about 125 KB, most of it for TLS (benchmarks/planes_hub.py)."""
STRANGERS_MAX, STRANGERS_OF_NETWORK_MAX = 64, 16
"""Connections that were opened without a ticket, in all and from one address or one household's IPv6 network: those
that are younger than STRANGER_S, since the data plane closes who does not log in within a minute."""
STRANGER_S = 75.0
STRANGERS_PER_MINUTE = 60
"""Openings without a ticket from one network."""
TICKET = "Authorization"
"""The query's parameter."""
MESSAGE_MAX = 128 * 1024
"""Most bytes of a message, in either direction (API Gateway's limit)."""
QUEUE_MESSAGES_MAX = 256
QUEUE_BYTES_MAX = 2 * 1024 * 1024
"""Most that waits for one connection; a message may exceed it when nothing else waits."""
GRANTS_MAX = 64
"""Things that may answer one connection at a time; the one that was granted first is forgotten."""

NORMAL, TOO_SLOW = 1000, 1013
"""Close codes (RFC 6455 and its registry)."""

Message = str | bytes


@dataclass(frozen=True)
class Opening:
    """What is known of a connection when it opens."""

    query: Mapping[str, str]
    subprotocols: tuple[str, ...]
    source_ip: str
    user_agent: str
    certificate: str | None
    """The client's certificate, PEM; None where it showed none."""

    @property
    def is_stranger(self) -> bool:
        """Whether nobody says who this is."""
        return not self.query.get(TICKET)


@dataclass(frozen=True)
class ConnectionInfo:
    """What `@connections` tells of a connection. Times are epoch seconds."""

    connected_at: float
    last_active_at: float
    source_ip: str
    user_agent: str


class Connection:
    """One open connection and its queue. `take`, `news` and `ended` belong to the event loop it was made in."""

    def __init__(self, name: ConnectionId, opening: Opening) -> None:
        self.name = name
        self.opening = opening
        self.connected_at = self.last_active_at = time.time()
        self.news = asyncio.Event()
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._close_code: int | None = None

    @property
    def ending(self) -> bool:
        """Whether somebody has ended it already."""
        return self._close_code is not None

    def put(self, message: Message) -> None:
        """Queue a message. Raises NotFound, InvalidInput, Unavailable as `Sockets.post`."""
        size = _size(message)
        if size > MESSAGE_MAX:
            raise InvalidInput("message", f"must have at most {MESSAGE_MAX} bytes, got {size}")
        with self._lock:
            if self._close_code is not None:
                raise NotFound(f"connection {self.name} is gone")
            full = self._waiting_bytes + size > QUEUE_BYTES_MAX or len(self._waiting) >= QUEUE_MESSAGES_MAX
            if self._waiting and full:
                raise Unavailable(f"connection {self.name} does not take what is sent to it")
            self._waiting.append(message)
            self._waiting_bytes += size
        self._wake()

    def touch(self) -> None:
        """Note that something has arrived."""
        self.last_active_at = time.time()

    def end(self, code: int) -> None:
        """Have it closed with `code`; what waits is dropped."""
        with self._lock:
            if self._close_code is None:
                self._close_code = code
            self._waiting.clear()
            self._waiting_bytes = 0
        self._wake()

    def take(self) -> tuple[Message | None, int | None]:
        """The next message, and the code with which to close; both None when there is nothing to do until `news`."""
        with self._lock:
            if self._close_code is not None or not self._waiting:
                self.news.clear()
                return None, self._close_code
            message = self._waiting.popleft()
            self._waiting_bytes -= _size(message)
        self.touch()
        return message, None

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop has ended, and every connection with it
            self._loop.call_soon_threadsafe(self.news.set)
            if self.ending:
                self._loop.call_soon_threadsafe(self.ended.set)


def _size(message: Message) -> int:
    return len(message.encode()) if isinstance(message, str) else len(message)


class Sockets:
    """All open connections. Every method but `admit` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[ConnectionId, Connection] = {}
        self._things: dict[ConnectionId, ThingName] = {}
        self._granted: dict[ConnectionId, dict[ThingName, None]] = {}
        self._strangers = RateLimit(STRANGERS_PER_MINUTE, 60.0)
        self.too_slow = 0
        """Connections that were ended because they did not take what was sent."""

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, opening: Opening) -> Connection:
        """A new connection, in the event loop that serves it. Raises Unavailable when too many are open."""
        connection = Connection(ConnectionId(secrets.token_urlsafe(16)), opening)
        with self._lock:
            if len(self._open) >= CONNECTIONS_MAX:
                raise Unavailable(f"{CONNECTIONS_MAX} connections are open already")
            if opening.is_stranger:
                self._check_strangers(network_of(opening.source_ip))
            self._open[connection.name] = connection
        return connection

    def _check_strangers(self, network: str) -> None:
        since = time.time() - STRANGER_S
        networks = [
            network_of(each.opening.source_ip)
            for each in self._open.values()
            if each.opening.is_stranger and each.connected_at > since
        ]
        if len(networks) >= STRANGERS_MAX or networks.count(network) >= STRANGERS_OF_NETWORK_MAX:
            raise Unavailable("too many connections are open in which nobody has logged in")
        if not self._strangers.allows(network):
            raise Unavailable("too many connections were opened in which nobody has logged in")

    def release(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        connection.end(NORMAL)
        with self._lock:
            for table in (self._open, self._things, self._granted):
                table.pop(connection.name, None)

    def post(self, connection: ConnectionId, message: Message) -> None:
        """Send, in order. Raises NotFound (gone), InvalidInput (too large), Unavailable (too much waits already)."""
        self._found(connection).put(message)

    def push(self, connection: ConnectionId, message: Message) -> None:
        """Send what must not be missed: who does not keep up is disconnected. A connection that is gone is no error."""
        with suppress(NotFound):
            found = self._found(connection)
            try:
                found.put(message)
            except Unavailable as error:
                logger.info("%s, and is ended", error)
                self.end_slow(found)

    def close(self, connection: ConnectionId, code: int = NORMAL) -> None:
        """End a connection at once; what still waits is dropped. One that is gone already is no error."""
        with suppress(NotFound):
            self._found(connection).end(code)

    def end_slow(self, connection: Connection) -> None:
        """End a connection that does not take what is sent to it, and count it."""
        with self._lock:
            self.too_slow += 1
        connection.end(TOO_SLOW)

    def info(self, connection: ConnectionId) -> ConnectionInfo:
        """What is known of an open connection. Raises NotFound."""
        found = self._found(connection)
        opening = found.opening
        return ConnectionInfo(found.connected_at, found.last_active_at, opening.source_ip, opening.user_agent)

    def belongs_to(self, connection: ConnectionId, thing: ThingName) -> None:
        """Note that a connection is a camera's own: it ends when the camera is removed. Raises NotFound."""
        self._found(connection)
        with self._lock:
            self._things[connection] = thing

    def grant(self, connection: ConnectionId, thing: ThingName) -> None:
        """Let a camera answer this connection, because the connection has asked it something. Raises NotFound."""
        self._found(connection)
        with self._lock:
            granted = self._granted.setdefault(connection, {})
            granted.pop(thing, None)
            granted[thing] = None
            while len(granted) > GRANTS_MAX:
                granted.pop(next(iter(granted)))

    def may_answer(self, connection: ConnectionId, thing: ThingName) -> bool:
        """Whether the connection is open and has asked this camera something."""
        with self._lock:
            found = self._open.get(connection)
            return found is not None and not found.ending and thing in self._granted.get(connection, ())

    def forget_thing(self, thing: ThingName) -> None:
        """A camera was removed: its own connections end, and it may answer nobody any more."""
        with self._lock:
            own = [connection for connection, owner in self._things.items() if owner == thing]
            for granted in self._granted.values():
                granted.pop(thing, None)
        for connection in own:
            self.close(connection)

    def _found(self, connection: ConnectionId) -> Connection:
        found = self._open.get(connection)
        if found is None or found.ending:
            raise NotFound(f"connection {connection} is gone")
        return found
