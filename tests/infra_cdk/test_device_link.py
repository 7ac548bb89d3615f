"""What cameras hold on to: the policy, the role, the alias. What they mean is evaluated in test_policies.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra_cdk.device_link import POLICY_MAX, length_of
from pinthesky.model.camera_policy import THING
from pinthesky.model.identifiers import ThingName, command_topic, event_topic, log_stream_name, shadow_topic
from pinthesky.model.settings import CloudWatchSettings
from tests.support.cloud_template import Cloud
from tests.support.policies.template_values import ACCOUNT, REGION

PRINTED = "{thing}"
LONGEST_REGION = "ap-southeast-1"


def document_of(cloud: Cloud) -> dict[str, Any]:
    document: dict[str, Any] = cloud.only("AWS::IoT::Policy")["PolicyDocument"]
    return document


def resources_of(cloud: Cloud, action: str) -> list[str]:
    (found,) = [each for each in document_of(cloud)["Statement"] if each["Action"] == action]
    resources = found["Resource"]
    return resources if isinstance(resources, list) else [resources]


def topics_of(cloud: Cloud, action: str, kind: str = "topic") -> set[str]:
    start = f"arn:aws:iot:{REGION}:{ACCOUNT}:{kind}/"
    assert all(each.startswith(start) for each in resources_of(cloud, action))
    return {each.removeprefix(start).replace(THING, "garden") for each in resources_of(cloud, action)}


def role_statements(cloud: Cloud) -> list[dict[str, Any]]:
    found = [
        each
        for logical, each in cloud.every("AWS::IAM::Policy").items()
        if logical.startswith(("DeviceLink", "CamerasAnswer"))
    ]
    return [statement for policy in found for statement in policy["PolicyDocument"]["Statement"]]


def test_the_policy_fits_into_what_iot_takes_in_every_region(cloud: Cloud):
    text = json.dumps(document_of(cloud)).replace(REGION, LONGEST_REGION)
    assert length_of(json.loads(text)) <= POLICY_MAX


def test_a_thing_connects_as_itself_and_only_while_its_certificate_is_attached(cloud: Cloud):
    (connect,) = [each for each in document_of(cloud)["Statement"] if each["Action"] == "iot:Connect"]
    assert connect["Resource"] == f"arn:aws:iot:{REGION}:{ACCOUNT}:client/{THING}"
    assert connect["Condition"] == {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}


def test_every_topic_names_the_thing_that_has_connected(cloud: Cloud):
    for action in ("iot:Publish", "iot:Subscribe", "iot:Receive"):
        assert all(each.count(THING) == 1 for each in resources_of(cloud, action))


def test_a_thing_publishes_its_events_its_report_and_its_jobs(cloud: Cloud):
    thing = ThingName("garden")
    assert topics_of(cloud, "iot:Publish") == {
        event_topic(thing),
        shadow_topic(thing, "get"),
        shadow_topic(thing, "update"),
        "$aws/things/garden/jobs/start-next",
        "$aws/things/garden/jobs/*/get",
        "$aws/things/garden/jobs/*/update",
    }


def test_a_thing_hears_its_commands_its_shadow_and_its_jobs(cloud: Cloud):
    heard = {
        command_topic(ThingName("garden")),
        "$aws/things/garden/shadow/name/pinthesky/*",
        "$aws/things/garden/jobs/*",
    }
    assert topics_of(cloud, "iot:Subscribe", "topicfilter") == heard
    assert topics_of(cloud, "iot:Receive") == heard


def test_a_thing_takes_on_the_role_of_cameras_and_no_other(cloud: Cloud):
    assert resources_of(cloud, "iot:AssumeRoleWithCertificate") == [
        f"arn:aws:iot:{REGION}:{ACCOUNT}:rolealias/PinTheSkyCamera"
    ]
    (role,) = [
        each
        for each in cloud.every("AWS::IAM::Role").values()
        if each["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "credentials.iot.amazonaws.com"}
    ]
    assert "ManagedPolicyArns" not in role
    assert cloud.only("AWS::IoT::RoleAlias")["CredentialDurationSeconds"] == 3600


def test_the_role_names_the_thing_wherever_it_can(cloud: Cloud):
    for statement in role_statements(cloud):
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for resource in resources:
            own = "${credentials-iot:ThingName}" in resource
            assert own or resource.endswith("/POST/@connections/*")


def test_a_recording_can_only_be_given_the_tag_by_which_it_expires(cloud: Cloud):
    (tagging,) = [each for each in role_statements(cloud) if each["Action"] == "s3:PutObjectTagging"]
    assert tagging["Condition"]["StringEquals"] == {"s3:RequestObjectTag/retention": "standard"}
    assert tagging["Condition"]["ForAllValues:StringEquals"] == {"s3:RequestObjectTagKeys": ["retention"]}


def test_the_role_does_these_things_and_nothing_else(cloud: Cloud):
    actions = {
        action
        for statement in role_statements(cloud)
        for action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
    }
    assert actions == {
        "execute-api:ManageConnections",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "s3:PutObject",
        "s3:PutObjectTagging",
    }


@pytest.mark.parametrize("thing", ["garden", "a:b_c-d"])
def test_a_log_stream_of_a_day_is_the_things_own(cloud: Cloud, thing: str):
    (logging,) = [each for each in role_statements(cloud) if "logs:PutLogEvents" in each["Action"]]
    pattern = logging["Resource"].partition(":log-stream:")[2].replace("${credentials-iot:ThingName}", thing)
    stream = log_stream_name("2027/01/15", ThingName(thing))
    assert pattern.startswith("????/??/??@")
    assert stream == "2027/01/15" + pattern.removeprefix("????/??/??")


def test_the_log_group_of_cameras_is_the_one_that_they_write_to_by_default(cloud: Cloud):
    groups = [each.get("LogGroupName") for each in cloud.every("AWS::Logs::LogGroup").values()]
    assert CloudWatchSettings().log_group_name in groups
