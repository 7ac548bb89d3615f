"""The single table, as CloudFormation gets it."""

from __future__ import annotations

from infra_cdk.database import INDEX
from pinthesky.aws import records
from tests.support.cloud_template import Cloud


def test_the_table_has_the_keys_that_the_records_use(cloud: Cloud):
    table = cloud.only("AWS::DynamoDB::Table")
    assert table["KeySchema"] == [
        {"AttributeName": "PK", "KeyType": "HASH"},
        {"AttributeName": "SK", "KeyType": "RANGE"},
    ]
    (index,) = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == INDEX == records.INDEX
    assert [each["AttributeName"] for each in index["KeySchema"]] == ["GS1-PK", "GS1-SK"]
    assert index["Projection"] == {"ProjectionType": "ALL"}
    assert {each["AttributeType"] for each in table["AttributeDefinitions"]} == {"S"}


def test_nothing_is_paid_for_that_is_not_used(cloud: Cloud):
    table = cloud.only("AWS::DynamoDB::Table")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert "ProvisionedThroughput" not in table


def test_records_expire_by_themselves_and_the_table_does_not_go_by_mistake(cloud: Cloud):
    table = cloud.only("AWS::DynamoDB::Table")
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiresIn", "Enabled": True}
    assert table["DeletionProtectionEnabled"] is True
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
