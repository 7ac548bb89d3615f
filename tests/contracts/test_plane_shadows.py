"""The planes' port `Shadows`: one suite for AWS IoT (moto), the hub and the fake of the tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinthesky.aws.adapters.shadows import IotShadows
from pinthesky.aws.clients import Clients
from pinthesky.errors import Conflict, InvalidInput
from pinthesky.hub.adapters.shadows import HubShadows
from pinthesky.hub.database import Database
from pinthesky.hub.shadows import Shadows as HubsOwn
from pinthesky.hub.thing_changes import ThingChanges
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.ports import Shadows
from tests.planes.fakes import Clock, FakeShadows
from tests.support.aws_planes import Said, answer_in_place, local_clients


@pytest.fixture
def thing() -> ThingName:
    return ThingName(f"garden-{secrets.token_hex(6)}")


@pytest.fixture(params=["aws", "hub", "fake"])
def shadows(request, tmp_path: Path, clients: Clients, thing: ThingName) -> Iterator[Shadows]:
    if request.param == "aws":
        clients.get("iot").create_thing(thingName=str(thing))  # moto keeps shadows with their things; AWS does not
        yield IotShadows(clients)
    elif request.param == "fake":
        yield FakeShadows(Clock())
    else:
        database = Database(tmp_path / "hub.sqlite")
        yield HubShadows(HubsOwn(database, ThingChanges(database, lambda _topic, _payload: None)))
        database.close()


def test_nothing_is_known_of_a_camera_of_which_nothing_was_said(shadows: Shadows, thing: ThingName):
    assert shadows.get(thing) is None


def test_what_is_desired_is_merged_field_by_field_and_a_section_can_go(shadows: Shadows, thing: ThingName):
    first = shadows.desire(thing, {"camera": {"framerate": 10, "rotation": 90}, "health": {"interval": 60}})
    second = shadows.desire(thing, {"camera": {"framerate": 20}, "health": None})
    found = shadows.get(thing)
    assert found is not None
    assert second > first
    assert found.version == second
    assert found.desired == {"camera": {"framerate": 20, "rotation": 90}}
    assert found.reported == {}


def test_a_lost_update_is_a_conflict(shadows: Shadows, thing: ThingName):
    version = shadows.desire(thing, {"camera": {"framerate": 10}}, expected_version=0)
    with pytest.raises(Conflict):
        shadows.desire(thing, {"camera": {"framerate": 11}}, expected_version=0)
    later = shadows.desire(thing, {"camera": {"framerate": 12}}, expected_version=version)
    with pytest.raises(Conflict):
        shadows.desire(thing, {"camera": {"framerate": 13}}, expected_version=version)
    assert shadows.desire(thing, {"camera": {"framerate": 14}}, expected_version=later) > later


def test_what_is_forgotten_is_gone_and_can_be_forgotten_again(shadows: Shadows, thing: ThingName):
    shadows.delete(thing)
    shadows.desire(thing, {"camera": {"framerate": 10}})
    shadows.delete(thing)
    assert shadows.get(thing) is None


def test_a_state_that_is_too_large_is_refused(shadows: Shadows, thing: ThingName):
    if isinstance(shadows, IotShadows):  # moto takes any size, so AWS's answer is put in its place
        refusing = local_clients()
        answer_in_place(refusing.get("iot-data"), lambda _asked: Said(413, "RequestEntityTooLargeException"))
        shadows = IotShadows(refusing)
    with pytest.raises(InvalidInput):
        shadows.desire(thing, {"camera": {"frame": "x" * 9000}})
