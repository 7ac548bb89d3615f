"""The planes' port `Commands` on AWS IoT's broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pinthesky.aws.clients import Clients, errors
from pinthesky.model.identifiers import ThingName, command_topic, plain

AT_LEAST_ONCE = 1


class IotCommands:
    """The adapter of `planes.ports.Commands`."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def send(self, thing: ThingName, command: Mapping[str, Any]) -> None:
        """See `planes.ports.Commands`. The broker keeps it an hour for a camera that is away and has been here."""
        with errors(f"sending a command to {thing}"):
            self._clients.get("iot-data").publish(
                topic=command_topic(thing),
                qos=AT_LEAST_ONCE,
                payload=msgspec.json.encode(command, enc_hook=plain),
            )
