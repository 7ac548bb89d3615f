"""A broker for each test, with a thing, the cloud beside it, and the device client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import Broker, MqttClient
from tests.support.link_client import ClientProcess, ThingFolder
from tests.support.native_threads import native_threads_are_traced  # noqa: F401 - fixtures are found by being here


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that forgets its sessions when it ends."""
    with Broker(tmp_path) as made:
        yield made


@pytest.fixture
def cloud(broker: Broker) -> Iterator[MqttClient]:
    """A client that may everything."""
    with broker.client() as made:
        yield made


@pytest.fixture
def thing(tmp_path: Path, broker: Broker) -> ThingFolder:
    """The folder of thing `garden`."""
    return ThingFolder(tmp_path / "thing", broker)


@pytest.fixture
def process(thing: ThingFolder) -> Iterator[ClientProcess]:
    """The device client of `thing`, with the event queue, to be started."""
    thing.use_queue()
    made = ClientProcess(thing)
    yield made
    if made.is_running:
        made.kill()
