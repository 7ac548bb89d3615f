"""The planes' port `Commands` on the hub's broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pinthesky.hub.ports import Broker
from pinthesky.model.identifiers import ThingName, command_topic, plain


class HubCommands:
    """The adapter of `planes.ports.Commands`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def send(self, thing: ThingName, command: Mapping[str, Any]) -> None:
        """See `planes.ports.Commands`. A camera that is away gets it when it is back: the broker keeps it for it."""
        self._broker.publish(command_topic(thing), msgspec.json.encode(command, enc_hook=plain))
