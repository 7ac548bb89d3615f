"""The suite of the planes' routes again, every request as an event of an HTTP API through the function's entry.

The tests themselves are those of `tests/planes`: `ask` goes another way here, and nothing else is different.
"""

from __future__ import annotations

from tests.planes.control_plane import (
    test_cameras,
    test_capture,
    test_configuration,
    test_groups,
    test_health,
    test_modes,
    test_people,
    test_registrations,
    test_settings_schema,
    test_shares,
    test_storage_versions_things,
    test_subscriptions,
    test_tags,
    test_timeline,
    test_tokens_and_connections,
    test_videos,
)
from tests.planes.home import StagedHome
from tests.support.through_lambda import take_over, through_lambda  # noqa: F401 - fixtures are found by being here

take_over(
    globals(),
    test_cameras,
    test_capture,
    test_configuration,
    test_groups,
    test_health,
    test_modes,
    test_people,
    test_registrations,
    test_settings_schema,
    test_shares,
    test_storage_versions_things,
    test_subscriptions,
    test_tags,
    test_timeline,
    test_tokens_and_connections,
    test_videos,
)


def test_requests_go_through_the_function(fleet: StagedHome, request):
    assert "/cameras" in request.getfixturevalue("through_lambda")
