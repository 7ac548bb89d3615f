"""Whatever is sent to the routes of cameras and settings is answered, and never by a defect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from pinthesky.planes.control_plane import (
    cameras,
    capture,
    configuration,
    groups,
    health,
    modes,
    settings_schema,
    storage,
    things,
    versions,
)
from pinthesky.planes.routing import Route
from tests.planes.home import OWNER, StagedHome, ask, make_fleet, make_home

AREAS = (cameras, capture, configuration, groups, health, modes, settings_schema, storage, things, versions)
ROUTES: list[Route] = [route for area in AREAS for route in area.routes]
TEXT = strategies.sampled_from(
    ["", "garden", "hall", "outside", "inside", "attic", "a b", "..", "\ud800", "\u202e", "x" * 600, "null", "1", "-1"]
)
VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats(allow_nan=False) | TEXT,
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
QUERY_NAMES = strategies.sampled_from(
    [
        "limit",
        "nextToken",
        "thingName",
        "startTime",
        "endTime",
        "sortOrder",
        "document",
        "state",
        "expectedVersion",
        "\ud800",
    ]
)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StagedHome]:
    home = make_home(tmp_path_factory.mktemp("hostile"))
    make_fleet(home)
    yield home
    home.database.close()


def names_of(route: Route) -> list[str]:
    """The fields of a route's body, so that guesses come near."""
    kind = route.types.get("body")
    return [re.sub("_(.)", lambda found: found[1].upper(), name) for name in getattr(kind, "__struct_fields__", ())]


@hypothesis.settings(
    max_examples=200, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(strategies.data())
def test_whatever_is_sent_is_answered_below_500(staged: StagedHome, data: Any):
    route = data.draw(strategies.sampled_from(ROUTES))
    path = re.sub(r"\{[a-z]+\}", lambda _: data.draw(TEXT), route.path)
    fields = strategies.sampled_from([*names_of(route), "camera", "mode", "motion"])
    body = data.draw(strategies.dictionaries(fields, VALUES, max_size=4) | VALUES)
    query = data.draw(strategies.dictionaries(QUERY_NAMES, TEXT, max_size=2))
    status, _ = ask(staged, OWNER, route.method, path, body, **query)
    assert status < 500, (route.operation, path, body, query)
