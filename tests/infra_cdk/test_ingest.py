"""The rules by which events reach functions, and where those end that do not."""

from __future__ import annotations

from typing import Any

import pytest

from pinthesky.aws.api_events import LEGACY_TOPIC, said
from pinthesky.model.identifiers import ThingName, event_topic
from tests.support.cloud_template import Cloud
from tests.support.house.source import ROOT


def rules_of(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """The statement of each rule -> the rule."""
    found = cloud.every("AWS::IoT::TopicRule").values()
    return {each["TopicRulePayload"]["Sql"]: each["TopicRulePayload"] for each in found}


def called_by(cloud: Cloud, statement: str) -> str:
    (action,) = rules_of(cloud)[statement]["Actions"]
    return str(action["Lambda"]["FunctionArn"]).rpartition(":")[2]


def functions_of(cloud: Cloud) -> dict[str, dict[str, Any]]:
    found = cloud.every("AWS::Lambda::Function").items()
    return {each["FunctionName"]: {**each, "logical": logical} for logical, each in found if "FunctionName" in each}


def the_queue(cloud: Cloud) -> str:
    (logical,) = cloud.every("AWS::SQS::Queue")
    return logical


def test_the_statements_are_those_of_the_reference(full_cloud: Cloud):
    reference = (ROOT / "docs" / "reference" / "aws.md").read_text(encoding="utf-8")
    legacy = [each for each in rules_of(full_cloud) if f"'{LEGACY_TOPIC}'" in each]
    assert len(legacy) == 1
    for statement in rules_of(full_cloud):
        assert statement.replace(LEGACY_TOPIC + "'", "pinthesky/events/+/output'") in reference
    assert {each["AwsIotSqlVersion"] for each in rules_of(full_cloud).values()} == {"2016-03-23"}


def test_each_kind_of_event_reaches_its_function(cloud: Cloud):
    reached = {statement.rpartition(" ")[2]: called_by(cloud, statement) for statement in rules_of(cloud)}
    assert reached == {
        "'pinthesky/events/+/output'": "PinTheSky-device-event",
        "'$aws/events/presence/+/+'": "PinTheSky-presence",
        "'$aws/events/jobExecution/+/+'": "PinTheSky-job-execution",
    }


def test_the_shared_topic_of_older_devices_is_heard_only_if_asked_for(cloud: Cloud, full_cloud: Cloud):
    assert not [each for each in rules_of(cloud) if f"'{LEGACY_TOPIC}'" in each]
    (statement,) = [each for each in rules_of(full_cloud) if f"'{LEGACY_TOPIC}'" in each]
    assert called_by(full_cloud, statement) == "PinTheSky-device-event"


@pytest.mark.parametrize(
    "topic, client, thing",
    [
        (event_topic(ThingName("garden")), "garden", "garden"),
        (LEGACY_TOPIC, "shed", "shed"),
        (event_topic(ThingName("garden")), "shed", "garden"),
    ],
)
def test_the_thing_is_that_of_the_topic_and_on_the_shared_one_the_client(topic: str, client: str, thing: str):
    """What a rule selects is what the function reads."""
    event = {"payload": "e30=", "topic": topic, "client": client}
    found = said(event, takes_legacy_topic=True)
    assert found is not None
    assert found.thing == thing


def test_what_a_rule_cannot_hand_over_is_kept(full_cloud: Cloud):
    queue = the_queue(full_cloud)
    for rule in rules_of(full_cloud).values():
        assert rule["ErrorAction"]["Sqs"]["QueueUrl"].endswith(f"/{queue.lower()}")
        assert rule["RuleDisabled"] is False


def test_iot_may_do_nothing_but_keep_it(cloud: Cloud):
    trusting = {
        logical: each
        for logical, each in cloud.every("AWS::IAM::Role").items()
        if each["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "iot.amazonaws.com"}
    }
    (logical,) = trusting
    condition = trusting[logical]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]
    assert condition["StringEquals"] == {"aws:SourceAccount": "111122223333"}
    assert condition["ArnLike"]["aws:SourceArn"].startswith("arn:aws:iot:us-east-1:111122223333:rule/")
    policies = [each for each in cloud.every("AWS::IAM::Policy").values() if logical.lower() in each["Roles"]]
    assert [statement["Action"] for each in policies for statement in each["PolicyDocument"]["Statement"]] == [
        "sqs:SendMessage"
    ]


def test_each_rule_alone_may_call_its_function(full_cloud: Cloud):
    permissions = [
        each
        for each in full_cloud.every("AWS::Lambda::Permission").values()
        if each["Principal"] == "iot.amazonaws.com"
    ]
    assert len(permissions) == len(rules_of(full_cloud)) == 4
    for each in permissions:
        assert each["SourceArn"].startswith("arn:aws:iot:")
        assert each["SourceAccount"] == "111122223333"


def test_what_a_function_gives_up_is_kept_after_two_more_tries(cloud: Cloud):
    found = {each["FunctionName"]: each for each in cloud.every("AWS::Lambda::EventInvokeConfig").values()}
    functions = functions_of(cloud)
    called = ("device-event", "presence", "job-execution", "media", "schedule")
    assert set(found) == {functions[f"PinTheSky-{name}"]["FunctionName"] for name in called}
    for each in found.values():
        assert each["MaximumRetryAttempts"] == 2
        assert each["DestinationConfig"]["OnFailure"]["Destination"].endswith(f":{the_queue(cloud).lower()}")


def test_news_of_the_bucket_reach_the_function_of_media(cloud: Cloud):
    (rule,) = cloud.every("AWS::Events::Rule").values()
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created", "Object Deleted"],
        "detail": {
            "bucket": {"name": [cloud.outputs["MediaBucket"]]},
            "object": {"key": [{"prefix": "motion_videos/"}, {"prefix": "capture_images/"}]},
        },
    }
    (target,) = rule["Targets"]
    assert target["Arn"].endswith(":PinTheSky-media")
    assert target["DeadLetterConfig"]["Arn"].endswith(f":{the_queue(cloud).lower()}")
    assert target["RetryPolicy"]["MaximumRetryAttempts"] == 20


def test_no_function_asks_a_queue_day_and_night(cloud: Cloud):
    assert not cloud.every("AWS::Lambda::EventSourceMapping")


def test_events_of_jobs_are_switched_on_and_stay_on(cloud: Cloud):
    (logical,) = cloud.values["PinTheSky"].resources("Custom::IotEventConfiguration")
    switch = cloud.home["Resources"][logical]
    for moment in ("Create", "Update"):
        assert '"action":"updateEventConfigurations"' in switch["Properties"][moment]
        assert '"JOB_EXECUTION":{"Enabled":true}' in switch["Properties"][moment]
    assert "Delete" not in switch["Properties"]


class TestTheQueueOfDeadLetters:
    """One for everything."""

    def test_it_keeps_for_two_weeks_encrypted_and_over_tls(self, cloud: Cloud):
        queue = cloud.only("AWS::SQS::Queue")
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert queue["SqsManagedSseEnabled"] is True
        statements = cloud.only("AWS::SQS::QueuePolicy")["PolicyDocument"]["Statement"]
        assert [
            each
            for each in statements
            if each["Effect"] == "Deny" and each["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        ]

    def test_nobody_but_the_rule_of_the_bucket_is_let_in_by_the_queue_itself(self, cloud: Cloud):
        statements = cloud.only("AWS::SQS::QueuePolicy")["PolicyDocument"]["Statement"]
        (allowed,) = [each for each in statements if each["Effect"] == "Allow"]
        assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
        assert ":rule/" in allowed["Condition"]["ArnEquals"]["aws:SourceArn"]
