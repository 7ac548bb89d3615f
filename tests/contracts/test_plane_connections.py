"""The planes' port `Connections`: one suite for API Gateway, the hub and the fake of the tests.

For moto every connection is open, so AWS is a stand-in that knows which are. Two differences: AWS has nothing that lets
one camera answer and another not, so there `allow_answer` of a connection that is gone says nothing; and the hub gives
no address of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from pinthesky.aws.adapters.connections import ApiGatewayConnections
from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.hub.adapters.connections import HubConnections
from pinthesky.hub.sockets import Opening, Sockets
from pinthesky.model.identifiers import ConnectionId, ThingName
from pinthesky.planes.ports import Connections
from tests.planes.fakes import FakeConnections
from tests.support.aws_planes import Asked, Said, answer_in_place, local_clients

ENDPOINT = "https://abcdef.execute-api.eu-central-1.amazonaws.com/prod"


class World(NamedTuple):
    connections: Connections
    open: Callable[[], ConnectionId]
    heard: Callable[[ConnectionId], list[bytes]]


class ConnectionsService:
    """`@connections` of API Gateway, with its own limits."""

    def __init__(self) -> None:
        self.posted: dict[str, list[bytes]] = {}
        self.slow = False

    def open(self) -> ConnectionId:
        name = ConnectionId(f"{len(self.posted):06d}=")
        self.posted[name] = []
        return name

    def __call__(self, asked: Asked) -> Said:
        stage, _, name = asked.path.partition("/@connections/")
        assert stage == "/prod"
        if name not in self.posted:
            return Said(410, "GoneException")
        if self.slow:
            return Said(429, "LimitExceededException")
        if asked.method == "DELETE":
            del self.posted[name]
            return Said(204)
        if len(asked.body) > 128 * 1024:
            return Said(413, "PayloadTooLargeException")
        self.posted[name].append(asked.body)
        return Said()


def at_api_gateway(service: ConnectionsService) -> ApiGatewayConnections:
    clients = local_clients()
    connections = ApiGatewayConnections(clients, ENDPOINT)
    answer_in_place(connections._client, service)
    return connections


class HubSockets:
    """The hub's sockets, in a loop in which nobody takes what waits."""

    def __init__(self) -> None:
        self.sockets = Sockets()
        self._loop = asyncio.new_event_loop()

    def open(self) -> ConnectionId:
        async def admit() -> ConnectionId:
            opening = Opening({}, ("manager",), source_ip="192.0.2.7", user_agent="Firefox", certificate="a camera's")
            self._connection = self.sockets.admit(opening)
            return self._connection.name

        return self._loop.run_until_complete(admit())

    def heard(self, _name: ConnectionId) -> list[bytes]:
        messages = []
        while (message := self._connection.take()[0]) is not None:
            messages.append(message.encode() if isinstance(message, str) else message)
        if self._connection.ending:
            self.sockets.release(self._connection)
        return messages

    def close(self) -> None:
        self._loop.close()


@pytest.fixture(params=["aws", "hub", "fake"])
def world(request) -> Iterator[World]:
    if request.param == "aws":
        service = ConnectionsService()
        yield World(at_api_gateway(service), service.open, lambda name: service.posted.get(name, []))
    elif request.param == "fake":
        fake = FakeConnections()
        yield World(fake, lambda: fake.open("connection-1="), lambda name: fake.posted.get(name, []))
    else:
        hub = HubSockets()
        yield World(HubConnections(hub.sockets), hub.open, hub.heard)
        hub.close()


def test_what_is_posted_arrives_in_order(world: World):
    name = world.open()
    world.connections.post(name, b'{"a":1}')
    world.connections.post(name, '{"b":"Gärten"}'.encode())
    assert world.heard(name) == [b'{"a":1}', '{"b":"Gärten"}'.encode()]


def test_a_message_that_is_too_large_is_refused(world: World):
    name = world.open()
    with pytest.raises(InvalidInput):
        world.connections.post(name, b"x" * (128 * 1024 + 1))


def test_a_connection_that_was_closed_is_gone_and_can_be_closed_again(world: World):
    name = world.open()
    world.connections.close(name)
    assert world.heard(name) == []
    world.connections.close(name)
    with pytest.raises(NotFound):
        world.connections.post(name, b"{}")


def test_a_camera_may_be_let_answer(world: World):
    name = world.open()
    world.connections.allow_answer(name, ThingName("garden"))
    world.connections.post(name, b"{}")
    assert world.heard(name) == [b"{}"]


def test_an_answer_to_a_connection_that_is_gone_cannot_be_allowed(world: World):
    gone = ConnectionId("gone=")
    if isinstance(world.connections, ApiGatewayConnections):
        world.connections.allow_answer(gone, ThingName("garden"))
        with pytest.raises(NotFound):
            world.connections.post(gone, b"{}")
        return
    with pytest.raises(NotFound):
        world.connections.allow_answer(gone, ThingName("garden"))


def test_cameras_are_told_where_to_answer(world: World):
    expected = {ApiGatewayConnections: ENDPOINT, HubConnections: None}
    assert world.connections.endpoint == expected.get(type(world.connections), world.connections.endpoint)


def test_a_connection_of_api_gateway_that_is_posted_to_too_fast_is_unavailable():
    service = ConnectionsService()
    connections, name = at_api_gateway(service), service.open()
    service.slow = True
    with pytest.raises(Unavailable):
        connections.post(name, b"{}")
