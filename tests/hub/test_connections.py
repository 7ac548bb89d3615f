"""`@connections` as boto3 uses it, with a real server and real signatures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import botocore.session
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pinthesky.hub.connections import ConnectionsApi
from pinthesky.hub.credentials import Key, Keys
from pinthesky.hub.database import Database
from pinthesky.hub.registry import Registry
from pinthesky.hub.signatures import Signatures
from pinthesky.hub.socket_endpoint import SocketEndpoint
from pinthesky.hub.sockets import MESSAGE_MAX, QUEUE_MESSAGES_MAX, Opening, Sockets
from pinthesky.hub.web_server import WebServer
from pinthesky.model.identifiers import ConnectionId, ThingName
from tests.support.aws_servers import CertificateAuthority

GARDEN, YARD, LOST = ThingName("garden"), ThingName("yard"), ThingName("lost")


class Plane:
    """Takes every connection."""

    def __init__(self) -> None:
        self.last = ConnectionId("none")

    def opened(self, connection: ConnectionId, opening: Opening) -> str | None:
        self.last = connection
        return None

    def received(self, connection: ConnectionId, message: str | bytes) -> None:
        pass

    def closed(self, connection: ConnectionId) -> None:
        pass


class World(NamedTuple):
    port: int
    sockets: Sockets
    plane: Plane
    registry: Registry
    keys: Keys
    certificates: dict[ThingName, bytes]

    def console(self) -> tuple[ClientConnection, ConnectionId]:
        client = connect(f"ws://127.0.0.1:{self.port}/data", close_timeout=0.2)
        return client, self.plane.last

    def client(self, thing: ThingName | None, **changes: str) -> Any:
        key = (
            self.keys.issue_for_hub()
            if thing is None
            else self.keys.issue_for_thing(thing, self.certificates[thing], lifetime_s=3600)
        )
        return self.client_with(key, **changes)

    def client_with(self, key: Key, **changes: str) -> Any:
        given = {
            "aws_access_key_id": key.access_key_id,
            "aws_secret_access_key": key.secret_access_key,
            "aws_session_token": key.session_token,
            **changes,
        }
        return botocore.session.Session().create_client(
            "apigatewaymanagementapi",
            region_name="eu-central-1",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            config=Config(retries={"total_max_attempts": 1}),
            **given,  # type: ignore[arg-type] # a dict of keyword arguments
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("connections")
    database = Database(folder / "hub.sqlite")
    registry, authority, certificates = Registry(database), CertificateAuthority(folder), {}
    for thing in (GARDEN, YARD, LOST):
        pem = authority.issue(thing).cert.read_bytes()
        certificates[thing] = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        registry.add(thing)
        registry.register_certificate(thing, certificates[thing])
    sockets, plane, keys = Sockets(), Plane(), Keys(b"s" * 32)
    api = ConnectionsApi(sockets, Signatures(keys, registry))
    app = Starlette(routes=[*api.routes(), WebSocketRoute("/data", SocketEndpoint(sockets, plane).serve)])
    server = WebServer(app, host="127.0.0.1", port=0, tls=None)
    server.start()
    yield World(server.port, sockets, plane, registry, keys, certificates)
    assert server.stop()
    database.close()


@pytest.fixture
def console(world: World) -> Iterator[tuple[ClientConnection, ConnectionId]]:
    client, name = world.console()
    yield client, name
    client.close()


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_what_a_camera_posts_arrives_at_the_console_that_asked_it(world, console):
    client, name = console
    world.sockets.grant(name, GARDEN)
    world.client(GARDEN).post_to_connection(ConnectionId=name, Data='{"invoke": {"name": "Tür"}}'.encode())
    assert client.recv(5) == '{"invoke": {"name": "Tür"}}'


@pytest.mark.parametrize("thing", [GARDEN, YARD])
def test_a_connection_that_has_not_asked_a_camera_is_gone_for_it(world, console, thing):
    _, name = console
    if thing is YARD:
        world.sockets.grant(name, GARDEN)
    with pytest.raises(ClientError) as refused:
        world.client(thing).post_to_connection(ConnectionId=name, Data=b"{}")
    assert code_of(refused) == ("GoneException", 410)


@pytest.mark.parametrize("operation", ["get_connection", "delete_connection"])
def test_a_camera_neither_looks_at_nor_ends_a_connection(world, console, operation):
    _, name = console
    world.sockets.grant(name, GARDEN)
    with pytest.raises(ClientError) as refused:
        getattr(world.client(GARDEN), operation)(ConnectionId=name)
    assert code_of(refused) == ("GoneException", 410)
    assert world.sockets.info(name).source_ip == "127.0.0.1"


def test_the_hub_looks_at_a_connection_and_ends_it(world, console):
    client, name = console
    told = world.client(None).get_connection(ConnectionId=name)
    assert told["Identity"]["SourceIp"] == "127.0.0.1"
    assert abs(told["ConnectedAt"].timestamp() - time.time()) < 60
    world.client(None).delete_connection(ConnectionId=name)
    with pytest.raises(ConnectionClosed):
        client.recv(5)


@pytest.mark.parametrize("name", ["gone=", "../../etc", "a b", "x" * 129])
def test_a_connection_that_never_was_is_gone(world, name):
    with pytest.raises(ClientError) as refused:
        world.client(None).post_to_connection(ConnectionId=name, Data=b"{}")
    assert code_of(refused) == ("GoneException", 410)


def test_a_message_may_be_as_long_as_at_api_gateway_and_no_longer(world, console):
    client, name = console
    world.sockets.grant(name, GARDEN)
    camera = world.client(GARDEN)
    camera.post_to_connection(ConnectionId=name, Data=b"x" * MESSAGE_MAX)
    assert client.recv(5) == "x" * MESSAGE_MAX
    with pytest.raises(ClientError) as refused:
        camera.post_to_connection(ConnectionId=name, Data=b"x" * (MESSAGE_MAX + 1))
    assert code_of(refused) == ("PayloadTooLargeException", 413)


def test_a_console_that_takes_nothing_is_a_limit_for_the_camera(world, monkeypatch):
    monkeypatch.setattr("pinthesky.hub.sockets.Connection.take", lambda _: (None, None))
    client, name = world.console()
    for _ in range(QUEUE_MESSAGES_MAX):
        world.sockets.post(name, "x")
    world.sockets.grant(name, GARDEN)
    with pytest.raises(ClientError) as refused:
        world.client(GARDEN).post_to_connection(ConnectionId=name, Data=b"{}")
    assert code_of(refused) == ("LimitExceededException", 429)
    monkeypatch.undo()
    world.sockets.close(name)
    client.close()


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"aws_secret_access_key": "wrong"}, "InvalidSignatureException"),
        ({"aws_session_token": "wrong"}, "UnrecognizedClientException"),
        ({"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE"}, "UnrecognizedClientException"),
    ],
)
def test_wrong_keys_are_refused_with_the_code_that_makes_a_client_fetch_new_ones(world, console, changes, code):
    _, name = console
    world.sockets.grant(name, GARDEN)
    with pytest.raises(ClientError) as refused:
        world.client(GARDEN, **changes).post_to_connection(ConnectionId=name, Data=b"{}")
    assert code_of(refused) == (code, 403)


def test_an_expired_key_is_told_as_such(world, console):
    _, name = console
    key = world.keys.issue_for_thing(GARDEN, world.certificates[GARDEN], lifetime_s=-1)
    with pytest.raises(ClientError) as refused:
        world.client_with(key).post_to_connection(ConnectionId=name, Data=b"{}")
    assert code_of(refused) == ("ExpiredTokenException", 403)


def test_unsigned_requests_and_other_methods_are_refused(world, console):
    _, name = console
    http, url = urllib3.PoolManager(retries=False, timeout=5.0), f"http://127.0.0.1:{world.port}/@connections/{name}"
    assert http.request("POST", url, body=b"{}").status == 403
    assert http.request("PUT", url, body=b"{}").status == 405
    http.clear()


def test_a_removed_camera_answers_nobody_any_more(world, console):
    _, name = console
    camera = world.client(LOST)
    world.sockets.grant(name, LOST)
    camera.post_to_connection(ConnectionId=name, Data=b"{}")
    world.registry.remove(LOST)
    with pytest.raises(ClientError) as refused:
        camera.post_to_connection(ConnectionId=name, Data=b"{}")
    assert code_of(refused) == ("ForbiddenException", 403)
