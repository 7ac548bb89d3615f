"""What the parts of the hub need of each other, as protocols, and the names that the hub gives to what AWS would name.

`hub/app.py` puts the adapters behind them: `registry`, `mqtt`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pinthesky.model.identifiers import ThingName

MEDIA_BUCKET = "pits-media"
"""The hub's one bucket: the media folder."""
ROLE_ALIAS = "pits-camera"
"""The one role alias: what a camera may do with the credentials is the same for all of them."""
REGION = "us-east-1"
"""The region that signatures name. AWS SDKs ask for one; it says nothing here."""
HUB_CLIENT_ID = "pits.hub"
"""Client id of the hub's own MQTT session. No thing can have it: a thing's name holds no dot."""

Receive = Callable[[str, bytes], None]
"""Called with topic and payload, in the connection's thread: returns soon and never raises."""
OnRemoved = Callable[[ThingName], None]
"""Called in the registry's thread. Raises Unavailable or InvariantBroken to be called again later; so does a crash of
the hub, so it must bear to be called twice."""
OnPresence = Callable[[ThingName, bool, str], None]
"""Called with thing, whether it is connected to the broker, and why, in the broker's thread: returns soon and never
raises. States come in order; the same one may come twice."""


class ThingRegistry(Protocol):
    """Which things there are, and which certificate speaks for which. All methods may be called from any thread."""

    def add(self, thing: ThingName) -> None:
        """Make the thing known. Raises Conflict where it is already."""
        ...

    def remove(self, thing: ThingName) -> None:
        """Forget the thing and revoke its certificates, both at once and for good. Raises NotFound."""
        ...

    def things(self) -> list[ThingName]:
        """Every thing, by name."""
        ...

    def is_active(self, thing: ThingName) -> bool:
        """Whether the thing is known now."""
        ...

    def register_certificate(self, thing: ThingName, certificate: bytes) -> None:
        """Let a certificate (DER) speak for a thing. Raises NotFound, Conflict (it is known already), InvalidInput."""
        ...

    def thing_of(self, certificate: bytes) -> ThingName:
        """Return the thing for which a certificate (DER) speaks now.

        Raises NotAuthorized for a certificate that is unknown, revoked or out of its time.
        """
        ...

    def on_removed(self, call: OnRemoved) -> None:
        """Have `call` called for every thing that is removed, in whichever process; to be said before the start.

        What was removed while no hub ran is told at the next start. The name may have been given to a new thing since.
        """
        ...


class Broker(Protocol):
    """The hub's own connection to the broker. All methods may be called from any thread, connected or not."""

    def publish(self, topic: str, payload: bytes, *, qos: int = 1) -> None:
        """Queue a message, within bounds. Never waits for the broker. Raises Unavailable where the queue is full."""
        ...

    def subscribe(self, topic_filter: str, receive: Receive) -> None:
        """Receive what matches, from now on and again after every reconnection."""
        ...
