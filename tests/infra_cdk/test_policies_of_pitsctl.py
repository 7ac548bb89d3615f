"""What `pitsctl` gives cameras in an account without a deployment: held against the same table as the templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pinthesky.model import camera_policy
from pitsctl import aws_policies
from tests.support.policies.asking import IOT, KEYS, Asking, Case, cases_of
from tests.support.policies.cloud_account import CloudAccount
from tests.support.policies.template_values import ACCOUNT, REGION

BUCKET, ALIAS = "media", f"{IOT}rolealias/PinTheSkyCamera"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/camera"
LOG_GROUP = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/pinthesky/device"
NOT_MADE = ("socket:", "function:", "role:", "table", "pool", "alerts", "queue", "console:")
"""Where there is no deployment there are none of these."""


def resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}


@pytest.fixture(scope="module")
def asking() -> Asking:
    permissions = aws_policies.role_permissions(BUCKET, ("motion_videos", "capture_images"), LOG_GROUP)
    trust = aws_policies.role_trust(ACCOUNT, ALIAS)
    made = {
        "Camera": resource(
            "AWS::IAM::Role",
            RoleName="camera",
            AssumeRolePolicyDocument=trust,
            Policies=[{"PolicyName": "camera", "PolicyDocument": permissions}],
        ),
        "Alias": resource("AWS::IoT::RoleAlias", RoleAlias="PinTheSkyCamera", RoleArn=ROLE),
        "Policy": resource("AWS::IoT::Policy", PolicyDocument=camera_policy.iot_policy(IOT, ALIAS)),
        "Media": resource("AWS::S3::Bucket", BucketName=BUCKET),
        "MediaPolicy": resource(
            "AWS::S3::BucketPolicy",
            Bucket=BUCKET,
            PolicyDocument=aws_policies.bucket_policy(BUCKET, ROLE, "capture_images"),
        ),
        # There is none, but the table names them.
        "Console": resource("AWS::S3::Bucket", BucketName="there-is-none"),
        "Distribution": resource("AWS::CloudFront::Distribution"),
    }
    return Asking(CloudAccount({"pitsctl": {"Resources": made}}))


# AWS's own endpoints refuse it since 2024; `infra_cdk` says so once more.
OLD_TLS = ("s3:TlsVersion", "1.1")

CASES = [
    case
    for case in cases_of(Path(__file__).parent / "who_may_do_what.toml")
    if (case.who in KEYS or case.who.startswith("camera:") or case.who == "nobody")
    and not case.on.startswith(NOT_MADE)
    and OLD_TLS not in case.when
]


@pytest.mark.parametrize("why", list(dict.fromkeys(case.why for case in CASES)), ids=lambda why: why[:60])
def test_a_camera_that_pitsctl_has_set_up_may_what_the_table_says(asking, why):
    wrong = [
        f"{case.who} {case.does} {case.on} {case.when}"
        for case in CASES
        if case.why == why and asking.decide(case).allowed is not case.may
    ]
    assert wrong == []


def test_what_pitsctl_makes_is_asked_about_in_many_ways():
    assert len(CASES) > 150
    assert {case.may for case in CASES} == {True, False}
    assert isinstance(CASES[0], Case)
