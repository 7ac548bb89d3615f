"""Fixtures for tests of the whole daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.aws_fixtures import (  # noqa: F401 - fixtures are found by being here
    bucket,
    credentials_server,
    data_plane,
    moto_port,
    s3,
)
from tests.support.cloud import cloud  # noqa: F401 - fixtures are found by being here
from tests.support.daemon_process import DaemonProcess
from tests.support.fake_device_client import FakeDeviceClient

SCENE = ("--resolution", "320x240", "--framerate", "10", "--encoding-bitrate", "400000")


@pytest.fixture
def client_of() -> Iterator[Callable[[DaemonProcess], FakeDeviceClient]]:
    """Starts the device client beside a daemon, and ends it after the test."""
    clients: list[FakeDeviceClient] = []

    def start(daemon: DaemonProcess) -> FakeDeviceClient:
        client = FakeDeviceClient(
            publish_file=daemon.event_output,
            subscribe_file=daemon.event_input,
            shadow_input_file=daemon.configure_input,
            shadow_output_file=daemon.configure_output,
        )
        client.start()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.stop()


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon before a scene in which nothing moves."""
    daemon = DaemonProcess(tmp_path / "daemon", "synthetic:?script=quiet:3600", *SCENE)
    yield daemon
    if daemon.is_running:
        daemon.kill()
