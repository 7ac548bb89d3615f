"""A browser's end of the data plane, as the tests hold it: opens, says something, hears answers and events."""

from __future__ import annotations

import itertools
import json
from typing import Any

from pinthesky.errors import NotAuthorized
from pinthesky.model.identifiers import ConnectionId
from pinthesky.model.people import Person
from pinthesky.planes.data_plane import endpoint
from tests.planes.home import StagedHome, ask_for

_names = itertools.count(1)


class Console:
    """One WebSocket. Opened with a ticket of `person`, where one is given."""

    def __init__(
        self,
        home: StagedHome,
        person: Person | None = None,
        *,
        kind: str = "manager",
        source_ip: str = "",
        **query: str,
    ) -> None:
        self.home = home
        self.id = ConnectionId(f"connection-{next(_names)}=")
        if person is not None:
            query["Authorization"] = ask_for(home, person, "POST", "/tokens")["token"]
        opening = endpoint.Opening(query, (kind,), source_ip, "Firefox")
        self.subprotocol = endpoint.opened(home, self.id, opening, now_s=home.clock())
        home.connections.open(self.id)

    @property
    def is_open(self) -> bool:
        return self.id in self.home.connections.posted

    def say_raw(self, message: str | bytes) -> Any:
        """What is answered to a message; None where nothing is."""
        before = len(self.heard)
        endpoint.received(self.home, self.id, message, now_s=self.home.clock())
        answers = [each["response"] for each in self.heard[before:] if "response" in each]
        assert len(answers) <= 1
        return answers[0] if answers else None

    def say(self, action: str, **payload: object) -> Any:
        return self.say_raw(json.dumps({"action": action, "requestId": "q-1", "payload": payload}))

    def status_of(self, action: str, **payload: object) -> int | None:
        """Status of an answer; None where the connection is closed instead."""
        answer = self.say(action, **payload)
        return None if answer is None else answer["statusCode"]

    @property
    def heard(self) -> list[Any]:
        return [json.loads(message) for message in self.home.connections.posted.get(self.id, [])]

    @property
    def events(self) -> list[Any]:
        return [each["event"] for each in self.heard if "event" in each]

    def leave(self) -> None:
        """The browser is closed."""
        self.home.connections.close(self.id)
        endpoint.closed(self.home, self.id)


def is_refused(home: StagedHome, person: Person | None = None, **named: Any) -> str:
    """Why a WebSocket is not taken; empty where it is."""
    try:
        Console(home, person, **named)
    except NotAuthorized as error:
        return str(error)
    return ""
