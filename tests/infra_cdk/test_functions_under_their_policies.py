"""The functions do their work with the roles that they get: a whole home again, each request held against its role.

What `test_policies.py` forbids is attacks; here nothing may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pinthesky.aws import lambda_handlers
from tests.aws import test_whole_home as whole_home
from tests.aws.test_whole_home import account  # noqa: F401 - the same
from tests.support.aws_fixtures import moto_port  # noqa: F401 - fixtures are found by being here
from tests.support.cloud_template import Cloud
from tests.support.policies.asking import Asking
from tests.support.policies.cloud_account import CloudAccount
from tests.support.policies.enforcement import Enforcement

HANDLERS = ("http", "socket", "device_event", "presence", "job_execution", "media", "schedule", "conversion")
WATCHED = ("cognito-idp", "dynamodb", "iot", "iot-data", "s3", "sns", "cloudwatch", "lambda")


@pytest.fixture(scope="module")
def asking(cloud: Cloud) -> Asking:
    return Asking(CloudAccount(cloud.templates))


@pytest.fixture
def enforcement(
    account: whole_home.Account,  # noqa: F811 - the fixture
    asking: Asking,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Enforcement]:
    """What the functions ask for goes through their roles; at the end nothing was refused."""
    watch = Enforcement(asking)
    for handler in HANDLERS:
        monkeypatch.setattr(
            lambda_handlers, handler, watch.acting_as(f"function:{handler}", getattr(lambda_handlers, handler))
        )
    sockets = account.clients.get("apigatewaymanagementapi", endpoint_url=whole_home.ENDPOINT)
    with watch.watching(sockets, *(account.clients.get(service) for service in WATCHED)):
        yield watch


@pytest.mark.parametrize(
    "flow",
    [
        whole_home.test_a_camera_is_registered_records_is_watched_and_is_removed,
        whole_home.test_settings_commands_and_jobs_reach_the_camera,
        whole_home.test_a_stream_of_a_camera_without_pyav_becomes_a_clip,
        whole_home.test_people_have_the_role_that_they_were_given_last,
        whole_home.test_an_alert_reaches_a_rule_by_its_topic,
        whole_home.test_every_chore_and_every_other_entrance_is_there,
    ],
    ids=lambda flow: flow.__name__.removeprefix("test_"),
)
def test_no_request_of_a_whole_home_is_refused(account, enforcement, flow):  # noqa: F811 - the fixture
    flow(account)
    assert enforcement.refused == []
    assert enforcement.allowed
