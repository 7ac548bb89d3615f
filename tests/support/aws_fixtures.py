"""Fixtures of `aws_servers`: one moto for the run, fresh proxies and buckets for each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config

from pinthesky.aws.credentials import CredentialsEndpoint
from pinthesky.aws.session import AwsSession
from pinthesky.device.timekeeping import SystemClock
from pinthesky.model.identifiers import ThingName
from tests.support.aws_servers import REGION, CredentialsServer, DataPlaneServer, FaultyS3, moto_server


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    """moto's port."""
    with moto_server() as port:
        yield port


def moto_client(port: int, service: str) -> Any:
    """A client past everything of ours, to look at what is stored."""
    return botocore.session.Session().create_client(
        service,
        region_name=REGION,
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture
def bucket(moto_port: int) -> str:
    """A new bucket in moto."""
    name = f"clips-{secrets.token_hex(8)}"
    moto_client(moto_port, "s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


@pytest.fixture
def s3(moto_port: int) -> Iterator[FaultyS3]:
    """S3, with faults on demand."""
    with FaultyS3(moto_port) as proxy:
        yield proxy


@pytest.fixture
def data_plane() -> Iterator[DataPlaneServer]:
    """The data plane."""
    with DataPlaneServer() as server:
        yield server


@pytest.fixture
def credentials_server(tmp_path: Path) -> Iterator[CredentialsServer]:
    """The credentials endpoint."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    with CredentialsServer(folder) as server:
        yield server


@pytest.fixture
def endpoint(credentials_server: CredentialsServer) -> CredentialsEndpoint:
    """Our end of the credentials endpoint, as the daemon makes it."""
    return make_endpoint(credentials_server)


def make_endpoint(server: CredentialsServer, **changes: Any) -> CredentialsEndpoint:
    """Our end of `server`, with what a test wants otherwise."""
    arguments: dict[str, Any] = {
        "endpoint": server.endpoint,
        "role_alias": server.role_alias,
        "thing_name": ThingName(server.thing_name),
        "cert": server.thing.cert,
        "key": server.thing.key,
        "ca": server.authority.cert,
        "clock": SystemClock(),
        "timeouts_s": (2.0, 2.0),
    }
    return CredentialsEndpoint(**{**arguments, **changes})


@pytest.fixture
def session(endpoint: CredentialsEndpoint, s3: FaultyS3) -> AwsSession:
    """The session as the daemon makes it for a hub."""
    return AwsSession(clock=SystemClock(), region=REGION, credentials=endpoint, s3_endpoint=s3.url)


class LogsAtMoto(AwsSession):
    """A session whose log clients talk to moto: AWS has no flag for another address of CloudWatch, and needs none."""

    def __init__(self, port: int) -> None:
        super().__init__(clock=SystemClock(), region=REGION)
        self._moto_port = port

    def logs(self, region: str) -> Any:
        """A client of moto's."""
        return moto_client(self._moto_port, "logs")
