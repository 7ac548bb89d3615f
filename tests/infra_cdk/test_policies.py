"""Who may do what, by the meaning of the synthesised policies: the combinations of a table, and what holds for all."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomllib

from tests.support.cloud_template import Cloud
from tests.support.policies.asking import KEYS, Asking, Case, cases_of
from tests.support.policies.cloud_account import CloudAccount
from tests.support.policies.conditions import hold
from tests.support.policies.template_values import ACCOUNT

TABLE = Path(__file__).parent / "who_may_do_what.toml"
CASES = list(cases_of(TABLE))
REASONS = list(dict.fromkeys(case.why for case in CASES))
EVERYWHERE: Mapping[str, str] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["everywhere"]

IOT_POLICY_MAX = 2048
"""Most characters of an IoT policy, spaces left out."""
ROLE_POLICIES_MAX = 10_240
"""Most characters of all policies that stand in one role."""
RESOURCE_POLICY_MAX = 20 * 1024
"""Most bytes of the policy of a bucket or a function."""

TRUSTED_AS_THEY_ARE = {
    "lambda.amazonaws.com": "a function takes a role that somebody of this account has passed to it",
    "credentials.iot.amazonaws.com": "an alias takes a role that somebody of this account has passed to it",
}
"""Services that become a role without naming for whom: only who may pass the role in this account can make them."""


@pytest.fixture(scope="module")
def asking(cloud: Cloud) -> Asking:
    return Asking(CloudAccount(cloud.templates))


@pytest.fixture(scope="module")
def asking_full(full_cloud: Cloud) -> Asking:
    return Asking(CloudAccount(full_cloud.templates))


@pytest.fixture(scope="module", params=["as deployed", "with everything switched on"])
def account(request: pytest.FixtureRequest) -> CloudAccount:
    fixture = "asking" if request.param == "as deployed" else "asking_full"
    found: Asking = request.getfixturevalue(fixture)
    return found.account


def wrong(asking: Asking, cases: list[Case]) -> list[str]:
    """The combinations that the policies decide otherwise than the table."""
    return [
        f"{case.who} {'may' if verdict.allowed else 'may not'} {case.does} on {case.on}: {case.why} {verdict.by}"
        for case in cases
        if (verdict := asking.decide(case)).allowed is not case.may
    ]


@pytest.mark.parametrize("why", REASONS, ids=lambda why: why[:60])
def test_who_may_do_what(asking, asking_full, why):
    mine = [case for case in CASES if case.why == why]
    assert wrong(asking, [case for case in mine if not case.only_full]) == []
    assert wrong(asking_full, mine) == []


def test_every_role_and_every_function_is_asked_about(asking, asking_full):
    asked = {asking_full.principal(case.who)[0].arn for case in CASES if case.who not in KEYS} | {
        asking_full.role(case.on.removeprefix("role:")) for case in CASES if case.on.startswith("role:")
    }
    assert set(asking.account.roles) | set(asking_full.account.roles) <= asked


def allowing(account: CloudAccount) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every statement of a role that gives something, and where it stands."""
    for statements in account.roles.values():
        yield from ((each.place, each.said) for each in statements if not each.denies)
    yield from ((each.place, each.said) for each in account.cameras if not each.denies)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_no_action_is_allowed_by_a_wildcard(account):
    assert [
        (place, action) for place, said in allowing(account) for action in listed(said["Action"]) if "*" in action
    ] == []


def test_everything_is_allowed_on_everything_only_where_aws_knows_nothing_narrower(account):
    wide = {
        action
        for _, said in allowing(account)
        for resource in listed(said["Resource"])
        if resource.split(":", 5)[-1] == "*"
        for action in listed(said["Action"])
    }
    assert wide <= set(EVERYWHERE)


def test_nothing_is_allowed_by_what_it_is_not(account):
    assert [place for place, said in allowing(account) if "NotAction" in said or "NotResource" in said] == []


def test_nobody_passes_roles_or_manages_rights(account):
    actions = {action.partition(":")[0] for _, said in allowing(account) for action in listed(said["Action"])}
    assert actions.isdisjoint({"iam", "sts", "organizations", "kms"})


def test_every_condition_is_understood(account):
    for _, document in account.documents:
        for statement in listed(document["Statement"]):
            assert hold(statement.get("Condition", {}), {}) in (True, False)


def names_somebody(said: Mapping[str, Any], service: str) -> bool:
    """Tell whether a statement says for whom the service acts."""
    if service in TRUSTED_AS_THEY_ARE:
        return True
    block = json.dumps(said.get("Condition", {})).lower()
    return ACCOUNT in block and ("aws:sourcearn" in block or "aws:sourceaccount" in block)


def test_a_service_is_let_in_for_this_account_alone(account):
    let_in = [
        (each.place, service)
        for statements in (*account.resources.values(), *account.trusts.values())
        for each in statements
        if not each.denies
        for service in listed(each.said["Principal"].get("Service", []))
        if not names_somebody(each.said, service)
    ]
    assert let_in == []


def test_no_resource_lets_people_in_by_its_own_policy(account):
    open_to = [
        each.place
        for statements in account.resources.values()
        for each in statements
        if not each.denies and set(each.said["Principal"]) != {"Service"}
    ]
    assert open_to == []


def test_policies_are_as_short_as_aws_wants_them(account):
    def length(document: Any) -> int:
        return len("".join(json.dumps(document, separators=(",", ":")).split()))

    (camera,) = [document for place, document in account.documents if "IoT" in place or "DeviceLinkPolicy" in place]
    assert length(camera) <= IOT_POLICY_MAX
    for role, statements in account.roles.items():
        assert sum(length(dict(each.said)) for each in statements) <= ROLE_POLICIES_MAX * 0.8, role
    for resource, statements in account.resources.items():
        assert sum(length(dict(each.said)) + 60 for each in statements) <= RESOURCE_POLICY_MAX * 0.8, resource


def test_a_policy_of_cameras_is_short_enough_with_the_longest_names(cloud):
    (policy,) = cloud.raw("AWS::IoT::Policy")
    text = json.dumps(policy["Properties"]["PolicyDocument"])
    assert text.count("AWS::Region") == text.count("AWS::AccountId") > 0
    document = json.dumps(cloud.only("AWS::IoT::Policy")["PolicyDocument"], separators=(",", ":"))
    longest = document.replace("us-east-1", "ap-southeast-1").replace("arn:aws:", "arn:aws-us-gov:")
    assert len(longest) <= IOT_POLICY_MAX


def test_buckets_are_closed_to_the_public(cloud, full_cloud):
    for each in (cloud, full_cloud):
        for logical, bucket in each.every("AWS::S3::Bucket").items():
            assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, logical
            assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}], logical


def test_no_function_has_an_address_of_its_own_and_nothing_polls(cloud, full_cloud):
    for each in (cloud, full_cloud):
        assert each.every("AWS::Lambda::Url", "AWS::Lambda::EventSourceMapping") == {}


def test_the_console_signs_in_by_code_alone_without_a_secret_and_for_a_day_at_most(full_cloud):
    client = full_cloud.only("AWS::Cognito::UserPoolClient")
    assert client["AllowedOAuthFlows"] == ["code"]
    assert client.get("GenerateSecret", False) is False
    assert client["EnableTokenRevocation"] is True
    assert client["RefreshTokenRotation"]["Feature"] == "ENABLED"
    minutes = {"seconds": 1 / 60, "minutes": 1, "hours": 60, "days": 1440}
    units = client["TokenValidityUnits"]
    assert client["RefreshTokenValidity"] * minutes[units["RefreshToken"]] <= 1440
    assert client["AccessTokenValidity"] * minutes[units["AccessToken"]] <= 60


def test_every_route_asks_who_it_is_but_those_that_are_meant_to_be_open(cloud):
    account = CloudAccount(cloud.templates)
    apis = {each.name: each.properties["ProtocolType"] for each in account.places("AWS::ApiGatewayV2::Api")}
    routes = [each for each in cloud.every("AWS::ApiGatewayV2::Route").values() if apis[each["ApiId"]] == "HTTP"]
    assert {each["RouteKey"] for each in routes if each.get("AuthorizationType", "NONE") != "JWT"} == {
        "GET /openapi.json",
        "GET /share/{token}",
        "POST /registrations",
        "POST /registrations/token",
    }
    authorizer = cloud.only("AWS::ApiGatewayV2::Authorizer")["JwtConfiguration"]
    client = account.place("AWS::Cognito::UserPoolClient").name
    assert authorizer["Audience"] == [client]
    assert authorizer["Issuer"].startswith("https://cognito-idp.us-east-1.amazonaws.com/")


def without_attachment(templates: dict[str, Any]) -> None:
    """Cameras connect as whatever they call themselves."""
    del the_only(templates, "AWS::IoT::Policy")["PolicyDocument"]["Statement"][0]["Condition"]


def with_the_shared_topic(templates: dict[str, Any]) -> None:
    """Every camera may speak on the topic of all."""
    document = the_only(templates, "AWS::IoT::Policy")["PolicyDocument"]
    document["Statement"].append(
        {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/pinthesky/events/*"}
    )


def without_the_promise_to_change_nothing(templates: dict[str, Any]) -> None:
    """What is stored may be written over."""
    for policy in every(templates, "AWS::S3::BucketPolicy"):
        said = policy["PolicyDocument"]["Statement"]
        policy["PolicyDocument"]["Statement"] = [each for each in said if each.get("Sid") != "NothingIsWrittenOver"]


def without_tls(templates: dict[str, Any]) -> None:
    """Nothing is said about TLS."""
    for policy in every(templates, "AWS::S3::BucketPolicy"):
        said = policy["PolicyDocument"]["Statement"]
        policy["PolicyDocument"]["Statement"] = [each for each in said if "Bool" not in each.get("Condition", {})]


def without_the_own_folder(templates: dict[str, Any]) -> None:
    """A camera stores wherever it likes."""
    replace_text(templates, "${credentials-iot:ThingName}/*", "*")


def without_the_own_stream(templates: dict[str, Any]) -> None:
    """A camera writes every stream of the log."""
    replace_text(templates, "@${credentials-iot:ThingName}", "*")


def without_the_distribution(templates: dict[str, Any]) -> None:
    """Any distribution of CloudFront reads the console's bucket."""
    for policy in every(templates, "AWS::S3::BucketPolicy"):
        for each in policy["PolicyDocument"]["Statement"]:
            if each["Principal"] == {"Service": "cloudfront.amazonaws.com"}:
                del each["Condition"]


def without_the_source_of_a_rule(templates: dict[str, Any]) -> None:
    """Rules of any account call the functions."""
    for permission in every(templates, "AWS::Lambda::Permission"):
        permission.pop("SourceArn", None)
        permission.pop("SourceAccount", None)


def without_rows(templates: dict[str, Any]) -> None:
    """Every function reads every row."""
    for policy in every(templates, "AWS::IAM::Policy"):
        for each in policy["PolicyDocument"]["Statement"]:
            if "dynamodb:LeadingKeys" in json.dumps(each.get("Condition", {})):
                del each["Condition"]


def with_trust_in_everybody(templates: dict[str, Any]) -> None:
    """Another account may become the role of cameras."""
    for role in every(templates, "AWS::IAM::Role"):
        role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] = {"AWS": "*"}


def every(templates: Mapping[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    """The properties of all resources of a type, as they stand there."""
    for template in templates.values():
        yield from (each["Properties"] for each in template["Resources"].values() if each["Type"] == kind)


def the_only(templates: Mapping[str, Any], kind: str) -> dict[str, Any]:
    (found,) = every(templates, kind)
    return found


def replace_text(templates: dict[str, Any], old: str, new: str) -> None:
    for name, template in templates.items():
        templates[name] = json.loads(json.dumps(template).replace(old, new))


@pytest.mark.parametrize(
    "mistake",
    [
        without_attachment,
        with_the_shared_topic,
        without_the_promise_to_change_nothing,
        without_tls,
        without_the_own_folder,
        without_the_own_stream,
        without_the_distribution,
        without_the_source_of_a_rule,
        without_rows,
        with_trust_in_everybody,
    ],
    ids=lambda mistake: mistake.__name__,
)
def test_a_mistake_in_the_templates_would_be_seen(cloud, mistake):
    templates = copy.deepcopy(cloud.templates)
    mistake(templates)
    assert templates != cloud.templates
    asking = Asking(CloudAccount(templates))
    assert any(asking.decide(case).allowed is not case.may for case in CASES if not case.only_full)
