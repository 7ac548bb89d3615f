"""Ports of this machine that programs in another network namespace reach at the same address of their own loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HOST = "127.0.0.1"
_BLOCK = 64 * 1024
_NETWORK = 0x40000000
"""CLONE_NEWNET of setns(2)."""


class ReachedInside:
    """Passes on, byte by byte, what is said to `ports` in the network of process `pid`; `close` ends all of it."""

    def __init__(self, pid: int, ports: Sequence[int]) -> None:
        self._listening = [(port, _listening_inside(pid, port)) for port in ports]
        self._loop = asyncio.new_event_loop()
        self._is_over = asyncio.Event()
        self._passing: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join(10.0)
        self._loop.close()

    async def _serve(self) -> None:
        servers = [
            await asyncio.start_server(partial(self._passed, port), sock=listening)
            for port, listening in self._listening
        ]
        await self._is_over.wait()
        for server in servers:
            server.close()
        passing = [*self._passing]
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing)

    async def _passed(self, port: int, inner: asyncio.StreamReader, to_inner: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            # asyncio reports a connection's task that ends cancelled as an error.
            with contextlib.suppress(asyncio.CancelledError):
                await _pass_on(port, inner, to_inner)
        finally:
            self._passing.discard(task)


async def _pass_on(port: int, inner: asyncio.StreamReader, to_inner: asyncio.StreamWriter) -> None:
    try:
        outer, to_outer = await asyncio.open_connection(HOST, port)
    except OSError:  # nobody listens, which is what the one inside is to see
        to_inner.transport.abort()
        return
    try:
        await asyncio.gather(_copy(inner, to_outer), _copy(outer, to_inner))
    finally:
        to_outer.transport.abort()
        to_inner.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end, which is passed on too; a connection that breaks ends like one that was closed."""
    with contextlib.suppress(OSError):
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
        writer.write_eof()


def _listening_inside(pid: int, port: int) -> socket.socket:
    """A socket that belongs to the network of another process: a thread of its own goes there to make it."""

    def make() -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/proc/{pid}/ns/net").open("rb") as network:
            if libc.setns(network.fileno(), _NETWORK) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return socket.create_server((HOST, port))

    with ThreadPoolExecutor(1) as there:
        return there.submit(make).result()
