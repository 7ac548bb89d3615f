"""The planes' port `Commands`: one suite for AWS IoT (moto), the hub and the fake of the tests."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from moto.iotdata.models import iotdata_backends

from pinthesky.aws.adapters.commands import IotCommands
from pinthesky.aws.clients import Clients
from pinthesky.hub.adapters.commands import HubCommands
from pinthesky.model.identifiers import CaptureId, ThingName, command_topic
from pinthesky.planes.ports import Commands
from tests.planes.fakes import FakeCommands
from tests.support.aws_planes import ACCOUNT
from tests.support.aws_servers import REGION


class World(NamedTuple):
    commands: Commands
    sent: Callable[[ThingName], list[Any]]
    """What was sent to a thing."""


class _Broker:
    """The hub's connection to its broker, as far as a command needs it."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []

    def publish(self, topic: str, payload: bytes, *, qos: int = 1) -> None:
        assert qos == 1
        self.published.append((topic, payload))

    def subscribe(self, topic_filter: str, receive: Any) -> None:
        raise AssertionError("commands are sent, not heard")


@pytest.fixture(params=["aws", "hub", "fake"])
def world(request, clients: Clients) -> World:
    if request.param == "fake":
        fake = FakeCommands()
        return World(fake, lambda thing: [command for to, command in fake.sent if to == thing])
    broker = _Broker()
    published = broker.published
    commands: Commands = HubCommands(broker)
    if request.param == "aws":
        commands, published = IotCommands(clients), iotdata_backends[ACCOUNT][REGION].published_payloads
    return World(commands, lambda thing: [json.loads(raw) for topic, raw in published if topic == command_topic(thing)])


def test_a_command_is_published_on_the_topic_of_its_camera(world: World):
    garden, gate = (ThingName(f"{name}-{secrets.token_hex(6)}") for name in ("garden", "gate"))
    command = {"name": "capture_image", "context": {"capture_id": CaptureId("c-1"), "file_name": "now.jpg"}}
    world.commands.send(garden, command)
    assert world.sent(garden) == [command]
    assert world.sent(gate) == []
