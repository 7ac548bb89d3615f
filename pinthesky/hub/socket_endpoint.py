"""Serves WebSockets: a task that sends, one that receives, and the data plane behind them in worker threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar, TypeVarTuple

from anyio import CapacityLimiter, to_thread
from starlette.websockets import WebSocket, WebSocketDisconnect

from pinthesky.errors import NotAuthorized, PinTheSkyError, Unavailable
from pinthesky.hub.sockets import NORMAL, TOO_SLOW, Connection, Message, Opening, Sockets
from pinthesky.model.identifiers import ConnectionId

logger = logging.getLogger(__name__)

SEND_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 2.0
HANDLER_THREADS = 16
INTERNAL_ERROR = 1011
"""Close code (RFC 6455)."""

Given = TypeVarTuple("Given")
Result = TypeVar("Result")


class SocketHandler(Protocol):
    """The data plane behind the sockets. Called in worker threads, for one connection one call at a time."""

    def opened(self, connection: ConnectionId, opening: Opening) -> str | None:
        """Take a connection and choose one of its sub-protocols, if any. Raises NotAuthorized: it is refused."""
        ...

    def received(self, connection: ConnectionId, message: Message) -> None:
        """Take a message of at most MESSAGE_MAX bytes. An error of ours ends the connection."""
        ...

    def closed(self, connection: ConnectionId) -> None:
        """Learn that the connection has ended, whoever ended it. Never raises."""
        ...


class SocketEndpoint:
    """Serves connections whose messages go to `handler`; `serve` is the endpoint of a WebSocketRoute."""

    def __init__(
        self, sockets: Sockets, handler: SocketHandler, *, is_origin: Callable[[str], bool] | None = None
    ) -> None:
        """`is_origin` tells whether a page from `scheme://host[:port]` may connect; any may unless given."""
        self._sockets = sockets
        self._handler = handler
        self._is_origin = is_origin
        self._limiter: CapacityLimiter | None = None

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection until it ends."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(HANDLER_THREADS)
        origin = websocket.headers.get("origin")  # a browser's; programs name none
        if origin is not None and self._is_origin is not None and not self._is_origin(origin):
            await websocket.close(NORMAL)
            return
        try:
            connection = self._sockets.admit(_opening_of(websocket))
        except Unavailable as error:
            logger.warning("A connection was refused: %s", error)
            await websocket.close(TOO_SLOW)
            return
        try:
            await self._open(connection, websocket)
        finally:
            self._sockets.release(connection)

    async def _open(self, connection: Connection, websocket: WebSocket) -> None:
        try:
            subprotocol = await self._in_thread(self._handler.opened, connection.name, connection.opening)
        except NotAuthorized as error:
            logger.info("A connection from %s was refused: %s", connection.opening.source_ip, error)
            await websocket.close(NORMAL)  # before it is accepted, which answers 403
            return
        try:
            await websocket.accept(subprotocol)
            receiving = asyncio.create_task(self._receive(connection, websocket))
            try:
                code = await self._send(connection, websocket, receiving)
            finally:
                receiving.cancel()
                await asyncio.wait((receiving,))
            if code is not None:
                with suppress(RuntimeError, TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT_S):
                        await websocket.close(code)
        finally:
            await self._in_thread(self._handler.closed, connection.name)

    async def _send(
        self, connection: Connection, websocket: WebSocket, receiving: asyncio.Task[int | None]
    ) -> int | None:
        """Send what is queued. Returns the code to close with, or None when the other side has left."""
        while not receiving.done():
            message, code = connection.take()
            if code is not None:
                return code
            if message is None:
                news = asyncio.create_task(connection.news.wait())
                await asyncio.wait((news, receiving), return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                continue
            try:
                sent = await self._sent(connection, websocket, message)
            except (WebSocketDisconnect, RuntimeError):
                return None
            if not sent and not connection.ending:
                self._sockets.end_slow(connection)
        return receiving.result()

    async def _sent(self, connection: Connection, websocket: WebSocket, message: Message) -> bool:
        """Send one message, unless the connection is ended meanwhile or takes longer than SEND_TIMEOUT_S."""
        send = websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message)
        sending = asyncio.create_task(send)
        ending = asyncio.create_task(connection.ended.wait())
        await asyncio.wait((sending, ending), timeout=SEND_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not sending.done():
            sending.cancel()
            return False
        sending.result()
        return True

    async def _receive(self, connection: Connection, websocket: WebSocket) -> int | None:
        """Hand on what arrives. Returns as `_send` does."""
        while True:
            raw = await websocket.receive()
            if raw["type"] == "websocket.disconnect":
                return None
            message: Message = raw["text"] if raw.get("text") is not None else raw["bytes"]
            connection.touch()
            try:
                await self._in_thread(self._handler.received, connection.name, message)
            except PinTheSkyError:
                logger.exception("Connection %s ended", connection.name)
                return INTERNAL_ERROR

    async def _in_thread(self, call: Callable[[*Given], Result], *given: *Given) -> Result:
        return await to_thread.run_sync(call, *given, limiter=self._limiter)


def _opening_of(websocket: WebSocket) -> Opening:
    chain = websocket.scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", [])
    return Opening(
        query=dict(websocket.query_params),
        subprotocols=tuple(websocket.scope.get("subprotocols", ())),
        source_ip="" if websocket.client is None else websocket.client.host,
        user_agent=websocket.headers.get("user-agent", "")[:200],
        certificate=chain[0] if chain else None,
    )
