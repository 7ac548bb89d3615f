"""What every ConnectionPoster does, held on the one in memory and on API Gateway's protocol."""

from __future__ import annotations

from typing import Callable, NamedTuple

import pytest

from pinthesky.aws.connections import ApiGatewayConnectionPoster
from pinthesky.aws.session import AwsSession
from pinthesky.device.fakes import FakeConnectionPoster
from pinthesky.device.ports import ConnectionPoster
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, Unavailable
from tests.support.aws_servers import REGION, DataPlaneServer

CONNECTION = "L0SM9cOFvHcCIhw="


class Stage(NamedTuple):
    """A poster, where it posts to, what arrived there, and how the other side is made to fail."""

    poster: ConnectionPoster
    url: str
    payloads: Callable[[], list[bytes]]
    deny: Callable[[], object]
    overload: Callable[[], object]


@pytest.fixture(params=["memory", "api gateway"])
def stage(request: pytest.FixtureRequest) -> Stage:
    if request.param == "memory":
        fake = FakeConnectionPoster(CONNECTION)
        return Stage(
            fake,
            "https://data.example.com/prod",
            lambda: [payload for _, _, payload in fake.posts],
            lambda: fake.fail_next(NotAuthorized("denied")),
            lambda: fake.fail_next(Unavailable("overloaded")),
        )
    server: DataPlaneServer = request.getfixturevalue("data_plane")
    session: AwsSession = request.getfixturevalue("session")
    server.open_connections.add(CONNECTION)
    return Stage(
        ApiGatewayConnectionPoster(session),
        server.url,
        lambda: [payload for _, _, payload in server.posts],
        lambda: setattr(server, "status", 403),
        lambda: setattr(server, "status", 503),
    )


def post(stage: Stage, payload: bytes = b"{}", connection_id: str = CONNECTION) -> None:
    stage.poster.post(endpoint_url=stage.url, region=REGION, connection_id=connection_id, payload=payload)


def test_payloads_arrive_whole_and_in_order(stage: Stage):
    post(stage, b'{"invoke": 1}')
    post(stage, b"x" * 128 * 1024)
    assert stage.payloads() == [b'{"invoke": 1}', b"x" * 128 * 1024]


def test_a_connection_that_is_gone_is_not_found(stage: Stage):
    with pytest.raises(NotFound):
        post(stage, connection_id="gone=")


def test_a_payload_above_the_limit_is_refused(stage: Stage):
    with pytest.raises(InvalidInput):
        post(stage, b"x" * (128 * 1024 + 1))


def test_a_policy_that_denies_is_not_authorized(stage: Stage):
    stage.deny()
    with pytest.raises(NotAuthorized):
        post(stage)


def test_an_overloaded_data_plane_is_unavailable(stage: Stage):
    stage.overload()
    with pytest.raises(Unavailable):
        post(stage)
