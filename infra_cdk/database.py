"""The single table of the records."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra_cdk.permissions import allow

INDEX = "time"
READING = ("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query")
WRITING = ("dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem")


class Database(Construct):
    """On demand, encrypted, protected from deletion; every moment of the last 35 days can be had back."""

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        text = dynamodb.AttributeType.STRING
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="PK", type=text),
            sort_key=dynamodb.Attribute(name="SK", type=text),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.DEFAULT,
            time_to_live_attribute="expiresIn",
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        self.table.add_global_secondary_index(
            index_name=INDEX,
            partition_key=dynamodb.Attribute(name="GS1-PK", type=text),
            sort_key=dynamodb.Attribute(name="GS1-SK", type=text),
            projection_type=dynamodb.ProjectionType.ALL,
        )

    def rows(self, partitions: Sequence[str], *actions: str) -> iam.PolicyStatement:
        """Allow actions on the rows of some partitions (`clip#*`), in the table and in its index.

        The condition holds for partition keys of the index too. A scan names none and would pass it, so no action
        that scans is ever granted.
        """
        return allow(
            *(actions or (*READING, *WRITING)),
            on=[self.table.table_arn, f"{self.table.table_arn}/index/{INDEX}"],
            when={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": sorted(partitions)}},
        )
