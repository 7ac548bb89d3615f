"""Whatever is sent to any route, near to what it takes, is answered, and never by a defect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from pinthesky.planes.control_plane.surface import ROUTER
from tests.planes.home import OWNER, StagedHome, ask
from tests.planes.peopled_home import BODIES, QUERIES, PeopledHome

ODD: strategies.SearchStrategy[Any] = strategies.sampled_from(
    [None, True, -1, 0, 2**63, 1e300, "", "a b", "..", "\ud800", "x" * 600, "1", [], {}, [None], {"": {}}, "\u202e"]
)
ODD_TEXT = strategies.sampled_from(["", "a b", "..", "%2e", "\ud800", "x" * 600, "1", "-1", "null", "\u202e"])
QUERY_NAMES = ["limit", "nextToken", "thingName", "startTime", "endTime", "after", "person", "camera", "group", "tag"]


@pytest.fixture(scope="module")
def peopled(tmp_path_factory: pytest.TempPathFactory) -> PeopledHome:
    return PeopledHome(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def home(peopled: PeopledHome) -> Iterator[StagedHome]:
    copied = peopled.copy()
    yield copied
    copied.database.close()


def changed(draw: Any, value: Any) -> Any:
    """A value that is like `value` but for what was drawn to be odd in it."""
    if draw(strategies.integers(0, 4)) == 0:
        return draw(ODD)
    if isinstance(value, dict):
        return {name: changed(draw, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [changed(draw, inner) for inner in value]
    return value


@hypothesis.settings(
    max_examples=300, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(strategies.data())
def test_whatever_is_sent_is_answered_below_500(peopled: PeopledHome, home: StagedHome, data: Any):
    home.clock.now_s += 10
    route = data.draw(strategies.sampled_from(ROUTER.routes))
    names = peopled.names(OWNER)
    path = re.sub(r"\{([a-z]+)\}", lambda named: data.draw(strategies.just(names[named[1]]) | ODD_TEXT), route.path)
    key = f"{route.method} {route.path}"
    body = changed(data.draw, BODIES.get(key, {}))
    odd = data.draw(strategies.dictionaries(strategies.sampled_from(QUERY_NAMES), ODD_TEXT, max_size=2))
    status, _ = ask(home, OWNER, route.method, path, body, **{**QUERIES.get(key, {}), **odd})
    assert status < 500, (key, path, body, odd)
