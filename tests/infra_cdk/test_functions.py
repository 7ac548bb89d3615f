"""The functions: what they run on, what they are told, and that each may do what its handler does and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from infra_cdk.access import ROWS
from infra_cdk.names import function_name
from infra_cdk.permissions import ACTIONS_WITHOUT_RESOURCES
from pinthesky.aws import deployment, lambda_handlers
from tests.support.cloud_template import Cloud
from tests.support.lambda_permissions import documented

OURS = "pinthesky.aws.lambda_handlers."
OWN_LOG = {"logs:CreateLogStream", "logs:PutLogEvents"}
DEAD_LETTERS = {"sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"}


def functions_of(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """The functions of the planes, by handler."""
    found = cloud.every("AWS::Lambda::Function").values()
    return {each["Handler"].removeprefix(OURS): each for each in found if each["Handler"].startswith(OURS)}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(cloud: Cloud, role: str) -> Iterator[dict[str, Any]]:
    """What a role may do; `role` is its ARN."""
    names = {
        values.arn(logical): values.name(logical)
        for values in cloud.values.values()
        for logical in values.resources("AWS::IAM::Role")
    }
    for policy in cloud.every("AWS::IAM::Policy").values():
        if names[role] in policy["Roles"]:
            yield from policy["PolicyDocument"]["Statement"]


def allowed(cloud: Cloud, function: Mapping[str, Any]) -> set[str]:
    return {action for each in statements(cloud, function["Role"]) for action in listed(each["Action"])}


def test_there_is_a_function_for_every_handler(full_cloud: Cloud):
    assert set(functions_of(full_cloud)) == {
        "http",
        "socket",
        "device_event",
        "presence",
        "job_execution",
        "media",
        "schedule",
        "conversion",
        "pre_sign_up",
    }
    assert all(callable(getattr(lambda_handlers, handler)) for handler in functions_of(full_cloud))


def test_they_are_zip_archives_for_arm_on_a_python_that_is_supported(full_cloud: Cloud):
    for function in functions_of(full_cloud).values():
        assert function["Architectures"] == ["arm64"]
        assert function["Runtime"] == "python3.13"
        assert "PackageType" not in function
        assert "S3Key" in function["Code"]


def test_only_the_one_that_converts_has_the_archive_with_pyav(full_cloud: Cloud):
    archives = {handler: each["Code"]["S3Key"] for handler, each in functions_of(full_cloud).items()}
    assert len(set(archives.values())) == 2
    assert [handler for handler, archive in archives.items() if archive == archives["conversion"]] == ["conversion"]


@pytest.mark.parametrize(
    "handler, seconds",
    [
        ("http", 30),
        ("socket", 30),
        ("device_event", 360),
        ("presence", 60),
        ("job_execution", 60),
        ("media", 360),
        ("schedule", 900),
        ("conversion", 300),
        ("pre_sign_up", 5),
    ],
)
def test_each_has_the_time_that_the_reference_names(full_cloud: Cloud, handler: str, seconds: int):
    assert functions_of(full_cloud)[handler]["Timeout"] == seconds


def test_the_one_that_converts_has_the_memory_for_it(cloud: Cloud):
    assert functions_of(cloud)["conversion"]["MemorySize"] == 2048


def test_each_logs_json_to_a_group_of_its_own_that_forgets(full_cloud: Cloud):
    groups = {each["LogGroupName"]: each for each in full_cloud.every("AWS::Logs::LogGroup").values()}
    for handler, function in functions_of(full_cloud).items():
        logging = function["LoggingConfig"]
        assert logging["LogFormat"] == "JSON"
        assert logging["LogGroup"] == f"/aws/lambda/{function_name(handler)}"
        assert groups[logging["LogGroup"]]["RetentionInDays"] == 30


def test_no_function_writes_to_a_log_that_lambda_would_make_for_it(full_cloud: Cloud):
    """Such a one is kept for ever, and outlives its stack."""
    groups = {each["LogGroupName"] for each in full_cloud.every("AWS::Logs::LogGroup").values()}
    assert {each["LoggingConfig"]["LogGroup"] for each in full_cloud.every("AWS::Lambda::Function").values()} <= groups


def test_no_log_of_either_stack_is_kept_for_ever(full_cloud: Cloud):
    kept = [each.get("RetentionInDays") for each in full_cloud.every("AWS::Logs::LogGroup").values()]
    assert len(kept) >= 11
    assert all(kept)


def test_no_function_has_an_address_of_its_own_or_a_reserve(full_cloud: Cloud):
    assert not full_cloud.every("AWS::Lambda::Url")
    assert not [each for each in functions_of(full_cloud).values() if "ReservedConcurrentExecutions" in each]


def test_what_they_are_told_is_what_they_check_when_they_start(full_cloud: Cloud):
    for handler, function in functions_of(full_cloud).items():
        environment = {"AWS_REGION": "us-east-1", **function["Environment"]["Variables"]}
        if handler == "pre_sign_up":
            assert deployment.read_trigger(environment).table
            continue
        told = deployment.read(environment)
        assert told.console == "https://cameras.example.com"
        assert told.conversion_function == function_name("conversion")
        assert (told.clips_days, told.stills_days, told.health_days) == (60, 14, 30)
        assert (told.labels, told.labels_per_month, told.legacy_topic) == (True, 500, True)


def test_no_variable_is_told_that_nobody_reads(full_cloud: Cloud):
    known = {deployment.variable_of(name) for name in deployment.Deployment.__struct_fields__}
    for function in functions_of(full_cloud).values():
        assert set(function["Environment"]["Variables"]) <= known


@pytest.mark.parametrize("kind", ["cloud", "full_cloud"])
def test_each_may_do_what_the_reference_says_and_nothing_more(kind: str, request: pytest.FixtureRequest):
    cloud: Cloud = request.getfixturevalue(kind)
    given_up = {"device_event", "presence", "job_execution", "media", "schedule"}
    for handler, function in functions_of(cloud).items():
        expected = {
            action
            for grant in documented()
            if grant.handler == handler and (kind == "full_cloud" or "PITS_LABELS" not in grant.resource)
            for action in grant.actions
        }
        expected |= OWN_LOG | (DEAD_LETTERS if handler in given_up else set())
        assert allowed(cloud, function) == expected, handler


def test_nothing_is_allowed_on_everything_but_what_is_named_with_its_reason(full_cloud: Cloud):
    found = set()
    for policy in full_cloud.every("AWS::IAM::Policy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            assert not [action for action in listed(statement["Action"]) if "*" in action]
            if "*" in listed(statement["Resource"]):
                found |= set(listed(statement["Action"]))
    assert found == set(ACTIONS_WITHOUT_RESOURCES)
    assert all(len(reason) > 5 for reason in ACTIONS_WITHOUT_RESOURCES.values())


def test_no_role_has_a_policy_that_somebody_else_keeps(full_cloud: Cloud):
    assert not [each for each in full_cloud.every("AWS::IAM::Role").values() if each.get("ManagedPolicyArns")]


def test_no_two_functions_share_a_role(full_cloud: Cloud):
    roles = [each["Role"] for each in full_cloud.every("AWS::Lambda::Function").values()]
    assert len(roles) == len(set(roles))


def test_each_reaches_its_own_rows(full_cloud: Cloud):
    for handler, function in functions_of(full_cloud).items():
        found = [
            each for each in statements(full_cloud, function["Role"]) if "dynamodb:GetItem" in listed(each["Action"])
        ]
        if handler == "conversion":
            assert not found
            continue
        (rows,) = found
        keys = rows["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        assert listed(keys) == (["person"] if handler == "pre_sign_up" else sorted(ROWS[handler]))


def test_no_condition_of_rows_can_be_passed_by_asking_for_all(full_cloud: Cloud):
    """A scan names no key, and would pass a condition on keys."""
    for function in functions_of(full_cloud).values():
        assert not [
            action for action in allowed(full_cloud, function) if action in {"dynamodb:Scan", "dynamodb:PartiQLSelect"}
        ]


def test_rights_do_not_end_in_what_iam_takes_for_a_role(full_cloud: Cloud):
    for function in functions_of(full_cloud).values():
        document = list(statements(full_cloud, function["Role"]))
        assert len(json.dumps(document, separators=(",", ":"))) < 9_000
