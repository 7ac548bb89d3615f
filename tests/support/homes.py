"""A whole home, as a person at the console has it, with cameras that really run: at a hub, or in AWS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import httpx2

from tests.support.fleet import Fleet
from tests.support.hub_console import Console, ConsoleSocket


class Program(Protocol):
    """A program of a camera."""

    def start(self) -> Any:
        """Start it; returns at once."""
        ...

    def stop(self) -> int:
        """Stop it as systemd does. Returns the exit code."""
        ...


class HomeCamera(Protocol):
    """A camera: the daemon, and the device client beside it."""

    @property
    def client(self) -> Program:
        """The device client."""
        ...

    def start(self) -> None:
        """Start both, and wait until they work."""
        ...


class HomeSocket(Protocol):
    """The console's WebSocket."""

    def send(self, action: str, request_id: str, **payload: Any) -> None:
        """Ask the data plane for something."""
        ...

    def wait(self, wanted: Any, what: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """The first message so far, or to come, that is wanted."""
        ...

    def wait_event(self, kind: str, camera: str, **fields: Any) -> dict[str, Any]:
        """The first push of a type, of a camera."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Home(Protocol):
    """What both kinds have in common; everything by HTTP and sockets, as a browser has it."""

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> httpx2.Response:
        """A request of the owner to the control plane."""
        ...

    def ask_as_nobody(self, path: str, headers: Mapping[str, str]) -> httpx2.Response:
        """A GET at the control plane without a token, or with whatever the headers show."""
        ...

    def fetch(self, address: str, **headers: str) -> httpx2.Response:
        """Follow a link to a clip or a picture, without any token."""
        ...

    def open_socket(self) -> HomeSocket:
        """A WebSocket of the owner's console."""
        ...

    def add(self, thing: str, scene: str) -> HomeCamera:
        """Register a camera; nothing of it is started."""
        ...

    def holds(self, key: str) -> bool:
        """Whether an object is stored."""
        ...

    def close(self) -> None:
        """Stop everything. AssertionError where something has not ended well."""
        ...


class HubHome:
    """At a hub: three programs beside the camera's two."""

    def __init__(self, folder: Path) -> None:
        self._fleet = Fleet(folder)
        try:
            self._console = Console(self._fleet.hub.data, self._fleet.hub.console_port)
        except BaseException:
            self._fleet.close()
            raise

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> httpx2.Response:
        """See `Home`."""
        return self._console.ask(method, path, body, **query)

    def ask_as_nobody(self, path: str, headers: Mapping[str, str]) -> httpx2.Response:
        """See `Home`."""
        return self._console.fetch(f"/api{path}", **headers)

    def fetch(self, address: str, **headers: str) -> httpx2.Response:
        """See `Home`."""
        return self._console.fetch(address, **headers)

    def open_socket(self) -> HomeSocket:
        """See `Home`."""
        return ConsoleSocket(self._console, self._fleet.hub.console_port, self._fleet.hub.data)

    def add(self, thing: str, scene: str) -> HomeCamera:
        """See `Home`."""
        return self._fleet.add(thing, scene=scene)

    def holds(self, key: str) -> bool:
        """See `Home`."""
        file = self._fleet.media(key)
        return file is not None and file.is_file()

    def close(self) -> None:
        """See `Home`."""
        self._console.close()
        codes = self._fleet.close()
        assert set(codes) == {0}, codes
