"""The two stacks: what survives, what the outside relies on, and that CloudFormation takes them."""

from __future__ import annotations

import json

from cfnlint import ManualArgs, lint

from infra_cdk.names import OUTPUTS
from tests.support.cloud_template import Cloud

KEPT = {
    "AWS::S3::Bucket",
    "AWS::DynamoDB::Table",
    "AWS::Cognito::UserPool",
    "AWS::Cognito::UserPoolDomain",
    "AWS::IoT::Policy",
    "AWS::IoT::RoleAlias",
    "AWS::IoT::ThingGroup",
    "AWS::IAM::Role",
    "AWS::Logs::LogGroup",
}
LINT_MEANT = {
    "W3005": "CDK has every function wait for its role's policies, and names the role itself with them",
    "W6001": "outputs of one stack name what lives in the other",
}


def test_what_must_survive_does(cloud: Cloud):
    resources = cloud.store["Resources"]
    found = {each["Type"] for each in resources.values() if each["Type"] in KEPT}
    assert found == KEPT
    for logical, each in resources.items():
        if each["Type"] in KEPT:
            assert each["DeletionPolicy"] == each["UpdateReplacePolicy"] == "Retain", logical


def test_everything_else_goes_with_its_stack_but_a_switch_of_the_account(full_cloud: Cloud):
    kept = [each["Type"] for each in full_cloud.home["Resources"].values() if each.get("DeletionPolicy") == "Retain"]
    assert kept == ["Custom::IotEventConfiguration"]


def test_there_are_no_recordings_records_or_people_in_the_stack_that_goes(cloud: Cloud):
    buckets = [logical for logical, each in cloud.home["Resources"].items() if each["Type"] == "AWS::S3::Bucket"]
    assert len(buckets) == 1
    assert buckets[0].startswith("ConsoleSite")
    kinds = {each["Type"] for each in cloud.home["Resources"].values()}
    assert not {"AWS::DynamoDB::Table", "AWS::Cognito::UserPool", "AWS::IoT::Policy"} & kinds


def test_what_pitsctl_and_the_deploying_tool_read_is_there(cloud: Cloud):
    assert set(cloud.home["Outputs"]) == set(OUTPUTS)
    assert {
        "ConsoleUrl",
        "ApiUrl",
        "SocketUrl",
        "MediaBucket",
        "RoleAlias",
        "CameraPolicy",
        "CameraGroup",
        "Region",
    } <= set(OUTPUTS)
    assert cloud.outputs["CameraPolicy"] == cloud.only("AWS::IoT::Policy")["PolicyName"]
    assert cloud.outputs["RoleAlias"] == cloud.only("AWS::IoT::RoleAlias")["RoleAlias"]
    assert cloud.outputs["CameraGroup"] == cloud.only("AWS::IoT::ThingGroup")["ThingGroupName"]


def test_every_resource_that_can_says_whose_it_is(cloud: Cloud):
    for kind in ("AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::SQS::Queue", "AWS::DynamoDB::Table"):
        for each in cloud.every(kind).values():
            assert {"Key": "application", "Value": "pinthesky"} in each["Tags"]


def test_both_stay_far_from_the_limits_of_cloudformation(full_cloud: Cloud):
    for template in full_cloud.templates.values():
        assert len(template["Resources"]) < 250
        assert len(json.dumps(template)) < 500_000


def test_cfn_lint_has_nothing_to_say(full_cloud: Cloud):
    for name, template in full_cloud.templates.items():
        arguments = ManualArgs(regions=["us-east-1", "eu-central-1"], ignore_checks=sorted(LINT_MEANT))
        found = lint(json.dumps(template), config=arguments)
        assert not found, f"{name}: {found}"
