"""The evaluator of policies, by the rules and examples of the user guides of IAM and IoT Core."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.policies.cloud_account import CloudAccount
from tests.support.policies.conditions import hold
from tests.support.policies.evaluation import ANONYMOUS, Principal, Request, Statement, decide
from tests.support.policies.patterns import PolicyNotUnderstood, arn_matches, equals, matches
from tests.support.policies.template_values import ACCOUNT, Values

BUCKET = "arn:aws:s3:::clips"
ROLE = Principal(arn=f"arn:aws:iam::{ACCOUNT}:role/reader")
STRANGER = Principal(arn="arn:aws:iam::999988887777:role/reader")


def said(effect: str, action: Any = "s3:GetObject", resource: Any = f"{BUCKET}/*", **more: Any) -> Statement:
    return Statement({"Effect": effect, "Action": action, "Resource": resource, **more}, f"{effect} {action}")


def allowed(own=(), of_resource=(), *, who=ROLE, action="s3:GetObject", resource=f"{BUCKET}/a/b.mp4", context=None):
    return decide(Request(who, action, resource, context or {}), own, of_resource, account=ACCOUNT).allowed


def by_hand(pattern: str, value: str) -> bool:
    """Wildcards once more, the slow way."""
    if not pattern:
        return not value
    if pattern[0] == "*":
        return any(by_hand(pattern[1:], value[cut:]) for cut in range(len(value) + 1))
    return bool(value) and pattern[0] in ("?", value[0]) and by_hand(pattern[1:], value[1:])


@given(st.text("ab*?.[+#\\\n", max_size=7), st.text("ab.[+#\\\n", max_size=7))
def test_wildcards_are_asterisk_and_question_mark_and_nothing_else(pattern, value):
    assert matches(pattern, value, {}) is by_hand(pattern, value)


@given(st.text("ab*?${}:/", max_size=8), st.text("ab*?${}:/", max_size=8))
def test_what_a_variable_brings_in_matches_itself_alone(value, other):
    assert matches("x/${iot:ClientId}", f"x/{other}", {"iot:clientid": value}) is (value == other)


@pytest.mark.parametrize(
    "pattern, arn, expected",
    [
        ("*", "arn:aws:s3:::clips", True),
        ("arn:aws:s3:::clips/*", "arn:aws:s3:::clips/a/b", True),
        ("arn:aws:s3:::clips", "arn:aws:s3:::clips/a", False),
        ("arn:aws:sns:*:1:*", "arn:aws:sns:eu-west-1:1:alerts", True),
        ("arn:aws:sns:*:alerts", "arn:aws:sns:eu-west-1:1:alerts", False),
        ("arn:aws:lambda:us-east-1:1:function:a*", "arn:aws:lambda:us-east-1:1:function:ab:3", True),
        (
            "arn:aws:iot:us-east-1:1:client/${iot:Connection.Thing.ThingName}",
            "arn:aws:iot:us-east-1:1:client/a:b",
            True,
        ),
        ("arn:aws:iot:us-east-1:1:client/${iot:ClientId}", "arn:aws:iot:us-east-1:1:client/a:b", False),
        ("arn:aws:iot:us-east-1:1:topicfilter/a/+", "arn:aws:iot:us-east-1:1:topicfilter/a/b", False),
        ("arn:aws:iot:us-east-1:1:topicfilter/a/+", "arn:aws:iot:us-east-1:1:topicfilter/a/+", True),
    ],
)
def test_an_arn_is_compared_part_by_part(pattern, arn, expected):
    assert arn_matches(pattern, arn, {"iot:connection.thing.thingname": "a:b"}) is expected


def test_signs_of_the_pattern_can_be_written_as_variables():
    assert equals("${$}aws/things${*}", "$aws/things*", {})
    assert matches("${*}", "*", {})
    assert not matches("${*}", "a", {})


def test_a_variable_may_have_a_default():
    assert matches("home/${aws:username, 'guest'}", "home/guest", {})
    assert matches("home/${aws:username, 'guest'}", "home/anna", {"aws:username": "anna"})


@pytest.mark.parametrize(
    "block, context, expected",
    [
        ({"StringEquals": {"a": ["x", "y"]}}, {"a": "y"}, True),
        ({"StringEquals": {"a": "x*"}}, {"a": "xy"}, False),
        ({"StringEquals": {"a": "x"}}, {}, False),
        ({"StringEqualsIfExists": {"a": "x"}}, {}, True),
        ({"StringNotEquals": {"a": ["x", "y"]}}, {"a": "y"}, False),
        ({"StringNotEquals": {"a": "x"}}, {}, True),
        ({"StringEqualsIgnoreCase": {"a": "X"}}, {"a": "x"}, True),
        ({"StringLike": {"a": "x*"}}, {"a": "xy"}, True),
        ({"StringLike": {"A": "${B}/*"}}, {"a": "y/1", "b": "y"}, True),
        ({"StringNotLike": {"a": "x*"}}, {"a": "xy"}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:iot:*:1:rule/a"}}, {"aws:sourcearn": "arn:aws:iot:r:1:rule/a"}, True),
        ({"ArnNotEquals": {"a": "arn:aws:s3:::x"}}, {"a": "arn:aws:s3:::x"}, False),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws:securetransport": "false"}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, {}, False),
        ({"BoolIfExists": {"aws:SecureTransport": "true"}}, {}, True),
        ({"Null": {"s3:if-none-match": "true"}}, {}, True),
        ({"Null": {"s3:if-none-match": True}}, {"s3:if-none-match": "*"}, False),
        ({"NumericLessThan": {"s3:TlsVersion": 1.2}}, {"s3:tlsversion": "1.1"}, True),
        ({"NumericLessThan": {"s3:TlsVersion": "1.2"}}, {"s3:tlsversion": "1.2"}, False),
        ({"NumericGreaterThanEquals": {"a": "2"}}, {"a": "10"}, True),
        ({"ForAllValues:StringEquals": {"a": ["x", "y"]}}, {"a": ["x", "z"]}, False),
        ({"ForAllValues:StringEquals": {"a": ["x", "y"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"a": ["x", "y"]}}, {"a": ["x", "z"]}, True),
        ({"ForAnyValue:StringEquals": {"a": ["x"]}}, {}, False),
        ({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "a#*"}}, {"dynamodb:leadingkeys": ["a#1", "b#1"]}, False),
        ({"StringEquals": {"a": "x"}, "Bool": {"b": "true"}}, {"a": "x", "b": "false"}, False),
    ],
)
def test_conditions(block, context, expected):
    assert hold(block, context) is expected


@pytest.mark.parametrize(
    "block",
    [
        {"StringEqualz": {"a": "x"}},
        {"DateLessThan": {"a": "2026-01-01"}},
        {"ForSomeValues:StringEquals": {"a": "x"}},
        {"StringEquals": {"other": "never"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        {"Bool": {"a": "yes"}},
        {"Null": {"a": "perhaps"}},
        {"StringEquals": "a"},
        {"StringEquals": {"several": "x"}},
    ],
)
def test_what_is_not_understood_is_an_error_and_never_passed_over(block):
    with pytest.raises(PolicyNotUnderstood):
        hold(block, {"a": "x", "several": ["x"]})


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Conditions": {}},
        {"Effect": "Perhaps", "Action": "*", "Resource": "*"},
        {"Effect": "Allow", "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"},
    ],
)
def test_a_statement_of_an_unknown_form_is_an_error(statement):
    with pytest.raises(PolicyNotUnderstood):
        Statement(statement, "here")


def test_nothing_is_allowed_that_nobody_allows():
    assert not allowed()


def test_a_role_may_what_its_policy_allows():
    assert allowed([said("Allow", ["s3:List*", "S3:getobject"])])
    assert not allowed([said("Allow", "s3:PutObject")])
    assert not allowed([said("Allow", resource="arn:aws:s3:::other/*")])


def test_what_is_excepted_is_not_allowed():
    assert allowed([Statement({"Effect": "Allow", "NotAction": "s3:Delete*", "Resource": "*"}, "")])
    assert not allowed([Statement({"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}, "")])
    assert not allowed([Statement({"Effect": "Allow", "Action": "*", "NotResource": f"{BUCKET}/a/*"}, "")])


def test_an_exception_for_a_variable_without_a_value_is_an_error():
    excepting = Statement({"Effect": "Deny", "Action": "*", "NotResource": f"{BUCKET}/${{aws:username}}/*"}, "")
    assert not allowed([said("Allow"), excepting], context={"aws:username": "b"})
    assert allowed([said("Allow"), excepting], context={"aws:username": "a"})
    with pytest.raises(PolicyNotUnderstood):
        allowed([said("Allow"), excepting])


def test_a_denial_wins_wherever_it_stands():
    everything = said("Allow", "*", "*")
    assert not allowed([everything, said("Deny")])
    assert not allowed([everything], [said("Deny", Principal="*")])
    assert allowed([everything], [said("Deny", Principal={"AWS": STRANGER.arn})])
    assert not allowed([everything], [said("Deny", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})])
    assert not allowed([everything], [said("Deny", NotPrincipal={"AWS": STRANGER.arn})])
    assert allowed([everything], [said("Deny", NotPrincipal={"AWS": ROLE.arn})])


def test_a_resource_may_let_in_a_service_or_everybody():
    cloudfront = Principal(service="cloudfront.amazonaws.com")
    assert allowed([], [said("Allow", Principal={"Service": "cloudfront.amazonaws.com"})], who=cloudfront)
    assert not allowed([], [said("Allow", Principal={"Service": "cloudfront.amazonaws.com"})], who=ANONYMOUS)
    assert allowed([], [said("Allow", Principal="*")], who=ANONYMOUS)
    assert not allowed([], [said("Allow", Principal={"CanonicalUser": "abc"})], who=ANONYMOUS)


def test_another_account_needs_both_policies():
    lets_account_in = said("Allow", Principal={"AWS": STRANGER.account})
    assert not allowed([said("Allow")], who=STRANGER)
    assert not allowed([], [lets_account_in], who=STRANGER)
    assert allowed([said("Allow")], [lets_account_in], who=STRANGER)


def test_a_resource_that_names_its_own_account_leaves_it_to_the_roles():
    names_account = said("Allow", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    assert not allowed([], [names_account])
    assert allowed([], [said("Allow", Principal={"AWS": ROLE.arn})])


@given(st.lists(st.sampled_from([said("Allow"), said("Deny", "s3:Put*"), said("Allow", "*", "*")]), max_size=4))
def test_a_further_denial_never_gives_and_a_further_permission_never_takes(own):
    assert not allowed([*own, said("Deny", "*", "*")])
    assert allowed([*own, said("Allow")]) >= allowed(own)


TEMPLATE: dict[str, Any] = {
    "Parameters": {"Version": {"Default": "7"}, "Asked": {}},
    "Resources": {
        "Clips": {"Type": "AWS::S3::Bucket"},
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": {"Fn::Join": ["-", ["a", "b"]]}}},
        "Alerts": {"Type": "AWS::SNS::Topic"},
        "Waiting": {"Type": "AWS::SQS::Queue"},
        "Odd": {"Type": "AWS::Odd::Thing"},
    },
    "Outputs": {"Out": {"Value": {"Ref": "Clips"}, "Export": {"Name": "Store:Clips"}}},
}


@pytest.mark.parametrize(
    "value, expected",
    [
        ({"Ref": "Clips"}, "clips"),
        ({"Fn::GetAtt": ["Clips", "Arn"]}, "arn:aws:s3:::clips"),
        ({"Fn::GetAtt": "Table.Arn"}, f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/a-b"),
        ({"Ref": "Alerts"}, f"arn:aws:sns:us-east-1:{ACCOUNT}:alerts"),
        ({"Ref": "Waiting"}, f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/waiting"),
        ({"Ref": "Version"}, "7"),
        ({"Fn::GetAtt": ["Clips", "DomainName"]}, "clips.domainname"),
        ({"Fn::Sub": "${Clips}/${!iot:ClientId}/${AWS::Region}/${Table.Arn}"}, None),
        ({"Fn::Sub": ["${a}/x", {"a": {"Ref": "Clips"}}]}, "clips/x"),
        ({"Fn::Select": [1, {"Fn::Split": ["-", {"Ref": "Table"}]}]}, "b"),
        ({"Fn::ImportValue": "Store:Clips"}, "clips"),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
    ],
)
def test_intrinsics_have_made_up_values(value, expected):
    table = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/a-b"
    wanted = expected if expected is not None else f"clips/${{iot:ClientId}}/us-east-1/{table}"
    assert Values(TEMPLATE, {"Store": TEMPLATE}).of(value) == wanted


@pytest.mark.parametrize(
    "value",
    [
        {"Fn::FindInMap": ["a", "b", "c"]},
        {"Ref": "Nothing"},
        {"Ref": "Asked"},
        {"Fn::GetAtt": ["Odd", "Arn"]},
        {"Fn::ImportValue": "Other:Clips"},
    ],
)
def test_a_value_that_cannot_be_made_up_is_an_error(value):
    with pytest.raises(PolicyNotUnderstood):
        Values(TEMPLATE, {"Store": TEMPLATE}).of(value)


def role(*policies: dict[str, Any], **more: Any) -> dict[str, Any]:
    trusts = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trusts]},
            "Policies": [{"PolicyName": "p", "PolicyDocument": each} for each in policies],
            **more,
        },
    }


def test_the_account_knows_whose_policies_stand_where():
    document = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Fn::Sub": "${Clips.Arn}/*"}},
    }
    policy = {
        "Type": "AWS::IAM::Policy",
        "Properties": {"PolicyName": "p", "PolicyDocument": document, "Roles": [{"Ref": "Reader"}]},
    }
    permission = {
        "Type": "AWS::Lambda::Permission",
        "Properties": {
            "Action": "lambda:InvokeFunction",
            "FunctionName": "f",
            "Principal": "iot.amazonaws.com",
            "SourceAccount": ACCOUNT,
        },
    }
    resources = {**TEMPLATE["Resources"], "Reader": role(), "P": policy, "Lets": permission}
    account = CloudAccount({"Main": {**TEMPLATE, "Resources": resources}})
    reader = Principal(arn=account.place("AWS::IAM::Role").arn)
    assert account.may(Request(reader, "s3:GetObject", "arn:aws:s3:::clips/a")).allowed
    assert not account.may(Request(reader, "s3:PutObject", "arn:aws:s3:::clips/a")).allowed
    assert account.may_become(reader.arn, Principal(service="lambda.amazonaws.com"), {}).allowed
    assert not account.may_become(reader.arn, Principal(service="iot.amazonaws.com"), {}).allowed
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
    iot = Principal(service="iot.amazonaws.com")
    invoked = Request(iot, "lambda:InvokeFunction", function, {"aws:sourceaccount": ACCOUNT})
    assert account.may(invoked).allowed
    assert not account.may(Request(iot, "lambda:InvokeFunction", function, {"aws:sourceaccount": "9"})).allowed


@pytest.mark.parametrize(
    "more",
    [
        {"ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]},
        {"PermissionsBoundary": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
    ],
)
def test_a_managed_policy_that_nobody_has_read_is_an_error(more):
    with pytest.raises(PolicyNotUnderstood):
        CloudAccount({"Main": {"Resources": {"Reader": role(**more)}}})


def test_a_policy_without_the_version_that_knows_variables_is_an_error():
    with pytest.raises(PolicyNotUnderstood):
        CloudAccount({"Main": {"Resources": {"Reader": role({"Version": "2008-10-17", "Statement": []})}}})
