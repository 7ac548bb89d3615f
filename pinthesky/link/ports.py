"""What the parts of the device client need of the connection, as a protocol. The adapter is `connection`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

Receive = Callable[[str, bytes], None]
"""Called with topic and payload, in the connection's thread: returns soon and never raises."""


class Mqtt(Protocol):
    """One MQTT connection that comes back by itself. All methods may be called from any thread, connected or not."""

    def publish(self, topic: str, payload: bytes) -> Future[None]:
        """Publish at least once. Resolves when the broker has acknowledged.

        Fails with Unavailable where the message was given up: the connection was lost before the acknowledgement, or
        too much is waiting already. Fails with NotAuthorized where the broker's policy is against it, and with
        InvalidInput where the broker refuses it for good.
        """
        ...

    def subscribe(self, topic_filter: str, receive: Receive) -> None:
        """Receive what matches, from now on and again after every reconnection."""
        ...

    def on_connected(self, call: Callable[[], None]) -> None:
        """Have `call` called after every connection, when all subscriptions stand; at once if that is so already."""
        ...
