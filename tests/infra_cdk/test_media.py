"""The bucket of clips and stills, as CloudFormation gets it."""

from __future__ import annotations

from typing import Any

import pytest

from pinthesky.model.recording import KEPT_TAG, RETENTION_TAG
from tests.support.cloud_template import Cloud


def bucket_of(cloud: Cloud) -> dict[str, Any]:
    (found,) = [each for logical, each in cloud.every("AWS::S3::Bucket").items() if logical.startswith("Media")]
    return found


def statements_of(cloud: Cloud) -> list[dict[str, Any]]:
    (found,) = [each for logical, each in cloud.every("AWS::S3::BucketPolicy").items() if logical.startswith("Media")]
    statements: list[dict[str, Any]] = found["PolicyDocument"]["Statement"]
    return statements


def rules_of(cloud: Cloud) -> dict[str, dict[str, Any]]:
    return {rule["Id"]: rule for rule in bucket_of(cloud)["LifecycleConfiguration"]["Rules"]}


def test_it_is_private_encrypted_and_versioned(cloud: Cloud):
    bucket = bucket_of(cloud)
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    encryption = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert [each["ServerSideEncryptionByDefault"]["SSEAlgorithm"] for each in encryption] == ["AES256"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


@pytest.mark.parametrize(
    "condition", [{"Bool": {"aws:SecureTransport": "false"}}, {"NumericLessThan": {"s3:TlsVersion": 1.2}}]
)
def test_nobody_comes_without_tls_1_2(cloud: Cloud, condition: dict[str, Any]):
    (found,) = [each for each in statements_of(cloud) if each["Condition"] == condition]
    assert (found["Effect"], found["Action"], found["Principal"]) == ("Deny", "s3:*", {"AWS": "*"})


def test_cameras_write_over_nothing_but_their_latest_still_and_cannot_have_expire_what_is_kept(cloud: Cloud):
    (role,) = [
        values.arn(logical)
        for values in cloud.values.values()
        for logical in values.resources("AWS::IAM::Role")
        if logical.startswith("DeviceLink")
    ]
    of_cameras = [each for each in statements_of(cloud) if each["Principal"] == {"AWS": role}]
    (found,) = [each for each in of_cameras if each["Action"] == "s3:PutObject"]
    (tagging,) = [each for each in of_cameras if each["Action"] == "s3:PutObjectTagging"]
    assert tagging["Effect"] == "Deny"
    assert tagging["Resource"].endswith("/*")
    assert tagging["Condition"] == {"StringEquals": {f"s3:ExistingObjectTag/{KEPT_TAG[0]}": KEPT_TAG[1]}}
    assert found["Effect"] == "Deny"
    assert found["Action"] == "s3:PutObject"
    assert found["Condition"] == {"Null": {"s3:if-none-match": "true"}}
    assert found["NotResource"].endswith("/capture_images/*/thumbnail_latest.jpg")


def test_nobody_is_allowed_anything_by_the_bucket_itself(cloud: Cloud):
    assert {each["Effect"] for each in statements_of(cloud)} == {"Deny"}


def test_only_what_has_the_tag_expires_and_a_day_after_its_record(cloud: Cloud):
    expiring = {name: rule for name, rule in rules_of(cloud).items() if "ExpirationInDays" in rule}
    assert {rule["Prefix"]: rule["ExpirationInDays"] for rule in expiring.values()} == {
        "motion_videos/": 31,
        "motion_videos_converted_images/": 31,
        "capture_images/": 31,
    }
    tag = {"Key": RETENTION_TAG[0], "Value": RETENTION_TAG[1]}
    assert all(rule["TagFilters"] == [tag] for rule in expiring.values())


def test_the_days_of_the_bucket_are_those_of_the_records(full_cloud: Cloud):
    expiring = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules_of(full_cloud).values() if "Prefix" in rule}
    environment = full_cloud.every("AWS::Lambda::Function")
    (http,) = [each for each in environment.values() if each.get("FunctionName") == "PinTheSky-http"]
    told = http["Environment"]["Variables"]
    assert expiring["motion_videos/"] == int(told["PITS_CLIPS_DAYS"]) + 1 == 61
    assert expiring["capture_images/"] == int(told["PITS_STILLS_DAYS"]) + 1 == 15


def test_what_was_removed_can_be_brought_back_for_a_week(cloud: Cloud):
    removed = rules_of(cloud)["removed"]
    assert removed["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}
    assert removed["ExpiredObjectDeleteMarker"] is True
    assert "TagFilters" not in removed


def test_unfinished_uploads_do_not_stay(cloud: Cloud):
    assert rules_of(cloud)["unfinished"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_the_bucket_tells_eventbridge_without_a_function_between(cloud: Cloud):
    told = bucket_of(cloud)["NotificationConfiguration"]
    assert told == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    assert not cloud.every("Custom::S3BucketNotifications")


def test_the_bucket_has_a_name_that_links_can_use(cloud: Cloud):
    """A name with dots has no certificate; CloudFormation makes one without them."""
    assert "BucketName" not in bucket_of(cloud)
