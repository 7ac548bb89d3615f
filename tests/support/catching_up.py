"""A console that comes back after it was away, and keeps count of what it has heard."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.support.hostile_clients import RawSocket

Ask = Callable[..., Any]
"""`ask(method, path, body=None, **query)` gives the JSON of an answer that is a success."""


class CatchingUp:
    """Reads in a thread of its own while it is there. `heard` counts events by id."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        self.last: str | None = None
        self._client: RawSocket | None = None
        self._reader: threading.Thread | None = None

    def come(self, ask: Ask, port: int, **options: Any) -> None:
        """Connect, and hear what was missed."""
        ticket = ask("POST", "/tokens")["token"]
        client = RawSocket(port, f"?Authorization={quote(ticket)}", **options)
        assert client.status == 101
        after = {} if self.last is None else {"after": self.last}
        early: list[dict[str, Any]] = []
        client.frame(_login(after))
        while "response" not in (message := client.hear()):
            early.append(message)
        body = message["response"]["body"]
        missed = list(body["events"])
        if self.last is None:
            missed = _all_after(ask, None)
        if body["more"]:
            # The rest is asked for from the last one on; what is pushed meanwhile is heard over the socket.
            missed += _all_after(ask, missed[-1]["id"])
        for event in [*missed, *(each["event"] for each in early if "event" in each)]:
            self._note(event["id"])
        self._client = client
        self._reader = threading.Thread(target=self._read, args=(client,))
        self._reader.start()

    def leave(self) -> None:
        """The connection breaks, if it has not."""
        if self._client is not None and self._reader is not None:
            with contextlib.suppress(OSError):
                self._client.socket.shutdown(socket.SHUT_RDWR)
            self._reader.join(10)
            self._client.close()
        self._client = self._reader = None

    def wait_for(self, ids: set[str], timeout_s: float = 10.0) -> None:
        """Until all of these were heard."""
        deadline = time.monotonic() + timeout_s
        while not ids <= set(self.heard):
            assert time.monotonic() < deadline, sorted(ids - set(self.heard))
            threading.Event().wait(0.01)

    def _read(self, client: RawSocket) -> None:
        while True:
            try:
                message = client.hear()
            except TimeoutError:
                continue
            except OSError:
                return
            if message is None:
                return
            if "event" in message:
                self._note(message["event"]["id"])

    def _note(self, event: str) -> None:
        self.heard[event] += 1
        self.last = event if self.last is None else max(self.last, event)


def _login(after: dict[str, str]) -> bytes:
    return json.dumps({"action": "login", "requestId": "1", "payload": after}).encode()


def _all_after(ask: Ask, after: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = {"limit": "100"} if after is None else {"after": after, "limit": "100"}
    while True:
        page = ask("GET", "/events", **query)
        found += page["items"]
        if page["nextToken"] is None:
            return found
        query["nextToken"] = page["nextToken"]


def every_event(ask: Ask) -> set[str]:
    """Ids of all that was pushed in the last day."""
    return {each["id"] for each in _all_after(ask, None)}
