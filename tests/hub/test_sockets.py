"""The hub's WebSockets, over a real server and real clients."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, Unavailable
from pinthesky.hub import socket_endpoint, sockets
from pinthesky.hub.socket_endpoint import SocketEndpoint
from pinthesky.hub.sockets import MESSAGE_MAX, Opening, Sockets
from pinthesky.hub.web_server import WebServer
from pinthesky.model.identifiers import ConnectionId, ThingName

GARDEN, YARD = ThingName("garden"), ThingName("yard")


def eventually(holds: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    """Whether `holds` comes true in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.005)
    return True


class Plane:
    """A data plane that remembers what it was told, refuses who brings no ticket, and fails on demand."""

    def __init__(self) -> None:
        self.openings: dict[ConnectionId, Opening] = {}
        self.received_messages: list[str | bytes] = []
        self.ended: list[ConnectionId] = []

    def opened(self, connection: ConnectionId, opening: Opening) -> str | None:
        if opening.query.get("ticket") != "good":
            raise NotAuthorized("no ticket")
        self.openings[connection] = opening
        return opening.subprotocols[0] if opening.subprotocols else None

    def received(self, connection: ConnectionId, message: str | bytes) -> None:
        if message == "fail":
            raise Unavailable("the store is down")
        self.received_messages.append(message)

    def closed(self, connection: ConnectionId) -> None:
        self.ended.append(connection)


class World:
    """A served plane, and clients to it."""

    def __init__(self) -> None:
        self.sockets = Sockets()
        self.plane = Plane()
        endpoint = SocketEndpoint(self.sockets, self.plane)
        app = Starlette(routes=[WebSocketRoute("/data", endpoint.serve)])
        self.server = WebServer(app, host="127.0.0.1", port=0, tls=None)
        self.server.start()
        self.clients: list[ClientConnection] = []

    def open(self, query: str = "ticket=good", **options) -> tuple[ClientConnection, ConnectionId]:
        before = set(self.plane.openings)
        client = connect(f"ws://127.0.0.1:{self.server.port}/data?{query}", close_timeout=0.2, **options)
        self.clients.append(client)
        [name] = set(self.plane.openings) - before
        return client, name

    def end(self) -> None:
        for client in self.clients:
            client.close()
        assert self.server.stop()


@pytest.fixture
def world():
    made = World()
    yield made
    made.end()


def test_a_message_arrives_at_the_plane_and_an_answer_at_the_client(world: World):
    client, name = world.open()
    client.send("hello")
    assert eventually(lambda: world.plane.received_messages == ["hello"])
    world.sockets.post(name, "there")
    world.sockets.post(name, b"\x00frame")
    assert (client.recv(5), client.recv(5)) == ("there", b"\x00frame")


def test_the_plane_sees_query_subprotocol_and_address(world: World):
    client, name = world.open("ticket=good&ManagerId=m1", subprotocols=["session"])
    opening = world.plane.openings[name]
    assert client.subprotocol == "session"
    assert (opening.query["ManagerId"], opening.source_ip, opening.certificate) == ("m1", "127.0.0.1", None)
    assert world.sockets.info(name).user_agent.startswith("Python")


def test_who_brings_no_ticket_is_refused_before_the_socket_opens(world: World):
    with pytest.raises(InvalidStatus) as refused:
        world.open("ticket=stolen")
    assert refused.value.response.status_code == 403
    assert eventually(lambda: len(world.sockets) == 0)
    assert world.plane.ended == []


def test_messages_arrive_in_the_order_of_their_sending(world: World):
    client, name = world.open()
    for number in range(200):
        world.sockets.post(name, str(number))
    assert [client.recv(5) for _ in range(200)] == [str(number) for number in range(200)]


def test_a_client_that_leaves_is_gone_for_everyone(world: World):
    client, name = world.open()
    world.sockets.grant(name, GARDEN)
    client.close()
    assert eventually(lambda: world.plane.ended == [name])
    assert eventually(lambda: len(world.sockets) == 0)
    with pytest.raises(NotFound, match="gone"):
        world.sockets.post(name, "anyone?")
    assert not world.sockets.may_answer(name, GARDEN)
    world.sockets.push(name, "nobody minds")
    world.sockets.close(name)


def test_closing_ends_the_client_with_the_code(world: World):
    client, name = world.open()
    world.sockets.close(name, 4001)
    with pytest.raises(ConnectionClosed):
        client.recv(5)
    assert client.close_code == 4001
    assert eventually(lambda: world.plane.ended == [name])


def test_a_message_that_is_too_large_is_refused_with_the_bound(world: World):
    _, name = world.open()
    with pytest.raises(InvalidInput, match=f"at most {MESSAGE_MAX} bytes, got {MESSAGE_MAX + 1}"):
        world.sockets.post(name, b"x" * (MESSAGE_MAX + 1))


def test_a_message_that_is_too_large_from_the_client_ends_it(world: World):
    client, name = world.open(max_size=None)
    client.send("x" * (MESSAGE_MAX + 1))
    with pytest.raises(ConnectionClosed):
        client.recv(5)
    assert client.close_code == 1009
    assert world.plane.received_messages == []
    assert eventually(lambda: world.plane.ended == [name])


def test_a_failing_plane_ends_the_connection_and_no_other(world: World):
    failing, _ = world.open()
    other, name = world.open()
    failing.send("fail")
    with pytest.raises(ConnectionClosed):
        failing.recv(5)
    assert failing.close_code == socket_endpoint.INTERNAL_ERROR
    world.sockets.post(name, "still here")
    assert other.recv(5) == "still here"


class Stalled:
    """A client that has opened, and reads nothing: what is sent to it fills the system's buffers and then our queue."""

    def __init__(self, world: World) -> None:
        self.client, self.name = world.open(max_queue=1)
        self.sent = os.urandom(MESSAGE_MAX)
        refused = 0
        while refused < 20:  # in a row: the loop had time to send, and could not
            try:
                world.sockets.post(self.name, self.sent)
                refused = 0
            except Unavailable:
                refused += 1
                threading.Event().wait(0.005)


def test_a_queue_that_is_full_refuses_answers_and_keeps_the_connection(world: World):
    stalled = Stalled(world)
    assert world.sockets.info(stalled.name).source_ip == "127.0.0.1"
    assert stalled.client.recv(5) == stalled.sent


def test_a_push_to_a_full_queue_ends_the_connection_at_once(world: World):
    stalled = Stalled(world)
    world.sockets.push(stalled.name, "news")
    assert eventually(lambda: world.plane.ended == [stalled.name], 4.0)
    assert world.sockets.too_slow == 1


def test_who_takes_nothing_for_long_is_disconnected(world: World, monkeypatch):
    monkeypatch.setattr(socket_endpoint, "SEND_TIMEOUT_S", 0.5)
    monkeypatch.setattr(socket_endpoint, "CLOSE_TIMEOUT_S", 0.1)
    stalled = Stalled(world)
    assert eventually(lambda: world.plane.ended == [stalled.name])
    assert world.sockets.too_slow == 1


def test_more_connections_than_are_allowed_are_told_to_come_back(world: World, monkeypatch):
    monkeypatch.setattr(sockets, "CONNECTIONS_MAX", 1)
    _, name = world.open()
    with pytest.raises(InvalidStatus):
        world.open()
    assert list(world.plane.openings) == [name]


def test_a_camera_answers_only_who_has_asked_it(world: World):
    _, name = world.open()
    assert not world.sockets.may_answer(name, GARDEN)
    world.sockets.grant(name, GARDEN)
    assert world.sockets.may_answer(name, GARDEN)
    assert not world.sockets.may_answer(name, YARD)


def test_grants_are_bounded_and_the_oldest_goes(world: World):
    _, name = world.open()
    things = [ThingName(f"camera-{number}") for number in range(sockets.GRANTS_MAX + 1)]
    for thing in things:
        world.sockets.grant(name, thing)
    assert [world.sockets.may_answer(name, thing) for thing in (things[0], things[1], things[-1])] == [
        False,
        True,
        True,
    ]


def test_a_removed_camera_loses_its_connections_and_its_grants(world: World):
    own, its = world.open()
    _, console = world.open()
    world.sockets.belongs_to(its, GARDEN)
    world.sockets.grant(console, GARDEN)
    world.sockets.grant(console, YARD)
    world.sockets.forget_thing(GARDEN)
    with pytest.raises(ConnectionClosed):
        own.recv(5)
    assert not world.sockets.may_answer(console, GARDEN)
    assert world.sockets.may_answer(console, YARD)


def test_stopping_the_server_ends_open_connections():
    world = World()
    client, name = world.open()
    assert world.server.stop()
    with pytest.raises(ConnectionClosed):
        client.recv(5)
    assert world.plane.ended == [name]
    world.sockets.close(name)
    client.close()
