"""`Mqtt` in memory, in which the test decides when a connection comes and what each message is answered with."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from pinthesky.errors import Unavailable
from pinthesky.link.connection import matches
from pinthesky.link.ports import Receive


class Sent(NamedTuple):
    """One publish; the test answers it by its future."""

    topic: str
    payload: bytes
    answer: Future[None]

    @property
    def document(self) -> Any:
        """The payload as JSON."""
        return json.loads(self.payload)


class HeldMqtt:
    """Starts without a connection. `acknowledges` says whether a publish resolves at once."""

    def __init__(self) -> None:
        self.connected = False
        self.acknowledges = True
        self.sent: list[Sent] = []
        self.refused = 0
        """Publishes that failed because there was no connection."""
        self.receivers: list[tuple[str, Receive]] = []
        self._calls: list[Callable[[], None]] = []

    def publish(self, topic: str, payload: bytes) -> Future[None]:
        answer: Future[None] = Future()
        if not self.connected:
            self.refused += 1
            answer.set_exception(Unavailable("there is no connection"))
            return answer
        self.sent.append(Sent(topic, payload, answer))
        if self.acknowledges:
            answer.set_result(None)
        return answer

    def subscribe(self, topic_filter: str, receive: Receive) -> None:
        self.receivers.append((topic_filter, receive))

    def on_connected(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        if self.connected:
            call()

    def connect(self) -> None:
        """A connection comes, with all subscriptions."""
        self.connected = True
        for call in self._calls:
            call()

    def lose(self) -> None:
        """The connection goes; what was not acknowledged fails."""
        self.connected = False
        for sent in self.sent:
            if not sent.answer.done():
                sent.answer.set_exception(Unavailable("the connection was lost"))

    def deliver(self, topic: str, payload: Any) -> None:
        """A message comes: bytes, or anything as JSON."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        for topic_filter, receive in self.receivers:
            if matches(topic_filter, topic):
                receive(topic, raw)
