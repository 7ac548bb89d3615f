"""Least privilege: what the reference gives each function is what its code can come to need, no more and no less.

The planes' own tests of what cameras and stores say run here once more, each through its handler's permissions; those
of the control plane and the sockets do so in their own files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from _pytest.outcomes import Failed

from pinthesky.planes import camera_silence, retention
from pinthesky.planes.data_plane import endpoint
from pinthesky.planes.home import Home
from pinthesky.planes.ingest import device_events, job_events, media_events, presence_events
from tests.planes import test_camera_silence, test_retention
from tests.planes.home import StagedHome
from tests.planes.ingest import (
    test_any_order,
    test_device_events,
    test_media_events,
    test_presence_and_jobs,
    test_recognition,
)
from tests.support import lambda_permissions
from tests.support.lambda_permissions import (
    ADAPTERS,
    ENTRANCES,
    TABLE_ACTIONS,
    actions_of,
    derived,
    documented,
    granted,
    guarded,
    operations_of,
)
from tests.support.through_lambda import take_over

OPTIONAL = frozenset({"rekognition:DetectLabels"})
"""What is given only where it was switched on; the code needs it then."""

take_over(
    globals(),
    test_any_order,
    test_camera_silence,
    test_device_events,
    test_media_events,
    test_presence_and_jobs,
    test_recognition,
    test_retention,
)


@pytest.fixture(autouse=True)
def through_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has what the handlers call be called as they are allowed to."""

    def stand_before(module: Any, name: str, handler: str) -> None:
        function: Callable[..., Any] = getattr(module, name)

        def permitted(home: Home, *arguments: Any, **more: Any) -> Any:
            return function(guarded(home, handler), *arguments, **more)

        monkeypatch.setattr(module, name, permitted)

    stand_before(device_events, "received", "device_event")
    stand_before(presence_events, "changed", "presence")
    stand_before(job_events, "progressed", "job_execution")
    stand_before(media_events, "stored", "media")
    stand_before(media_events, "removed", "media")
    stand_before(camera_silence, "check", "schedule")
    stand_before(retention, "sweep", "schedule")
    stand_before(retention, "reconcile", "schedule")
    stand_before(endpoint, "close_overdue", "schedule")


@pytest.mark.parametrize("handler", sorted(ENTRANCES))
def test_a_handler_has_what_its_code_can_reach_and_nothing_else(handler: str):
    assert sorted(derived(handler) - granted(handler)) == [], "the reference forgets these"
    assert sorted(granted(handler) - derived(handler)) == [], "nothing in the code needs these"


def test_the_conversion_has_what_its_port_to_the_media_needs_and_nothing_else():
    operations = {each for method in ("describe", "read", "write") for each in operations_of("media", method)}
    assert granted("conversion") == actions_of(operations)


def test_only_the_functions_of_pictures_ask_rekognition():
    assert {grant.handler for grant in documented() if grant.actions & OPTIONAL} == {
        "device_event",
        "media",
        "schedule",
    }


def test_every_action_of_every_adapter_is_somebodys():
    """A method that nobody reaches would be one that nobody needs."""
    reached = {action for handler in ENTRANCES for action in granted(handler)}
    for port in ADAPTERS:
        for method in lambda_permissions.methods_of(port):
            assert actions_of(operations_of(port, method)) - reached <= {"s3:PutObject", "s3:PutObjectTagging"}, method


def test_no_action_is_a_pattern_and_everything_without_a_narrower_resource_is_named():
    grants = documented()
    assert all("*" not in action for grant in grants for action in grant.actions)
    everywhere = {action for grant in grants if grant.resource.startswith("`*`") for action in grant.actions}
    assert everywhere == {
        "cloudwatch:GetMetricStatistics",
        "iot:AttachThingPrincipal",
        "iot:CreateCertificateFromCsr",
        "iot:DescribeEndpoint",
        "iot:DetachThingPrincipal",
        "iot:ListPrincipalThings",
        "iot:ListThingGroups",
        "iot:ListThingPrincipals",
        "rekognition:DetectLabels",
        "sns:Unsubscribe",
    }


def test_every_function_of_the_planes_may_use_the_table_and_only_that_way():
    for handler in ENTRANCES:
        assert {action for action in granted(handler) if action.startswith("dynamodb:")} == TABLE_ACTIONS


def test_a_function_that_did_what_it_may_not_would_be_seen(fleet: StagedHome):
    with pytest.raises(Failed, match=r"presence calls things\.groups without iot:ListThingGroups"):
        guarded(fleet, "presence").things.groups()
