"""The hub's shadows as the planes use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pinthesky.errors import Conflict
from pinthesky.hub.adapters.shadows import HubShadows
from pinthesky.hub.database import Database
from pinthesky.hub.shadows import Shadows
from pinthesky.hub.thing_changes import ThingChanges
from pinthesky.model.identifiers import ThingName

GARDEN = ThingName("garden")


@pytest.fixture
def shadows(tmp_path: Path) -> Iterator[HubShadows]:
    database = Database(tmp_path / "hub.sqlite")
    yield HubShadows(Shadows(database, ThingChanges(database, lambda _topic, _payload: None)))
    database.close()


def test_what_is_desired_of_the_version_that_was_read_is_kept(shadows: HubShadows):
    assert shadows.desire(GARDEN, {"camera": {"framerate": 5}}, expected_version=0) == 1
    assert shadows.desire(GARDEN, {"camera": {"framerate": 6}}, expected_version=1) == 2
    for version in (0, 1):
        with pytest.raises(Conflict):
            shadows.desire(GARDEN, {"camera": {"framerate": 7}}, expected_version=version)
    found = shadows.get(GARDEN)
    assert found is not None
    assert (found.desired, found.version) == ({"camera": {"framerate": 6}}, 2)


def test_after_it_was_deleted_it_is_one_of_which_nothing_was_said(shadows: HubShadows):
    shadows.desire(GARDEN, {"camera": {"framerate": 5}})
    shadows.delete(GARDEN)
    shadows.delete(GARDEN)
    assert shadows.get(GARDEN) is None
    assert shadows.desire(GARDEN, {"camera": {"framerate": 6}}, expected_version=0) > 1
