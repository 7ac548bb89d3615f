"""What cameras hold on to: their IoT policy, their role, and the alias by which they take it on."""

from __future__ import annotations

import json

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra_cdk.log_groups import retention_of
from infra_cdk.names import CAMERA_GROUP, CAMERA_LOG_GROUP, CAMERA_POLICY, ROLE_ALIAS
from infra_cdk.permissions import allow
from infra_cdk.settings import Settings
from pinthesky.model.camera_policy import LOG_STREAMS, iot_policy

POLICY_MAX = 2048
"""Most characters of an IoT policy, spaces left out."""
CREDENTIALS_S = 3600


class DeviceLink(Construct):
    """One policy and one role serve every camera: variables stand for the one that asks.

    A thing connects only as itself and while its certificate is attached to it. Registration attaches each certificate
    exclusively, so one certificate is one thing.
    """

    def __init__(self, scope: Construct, name: str, *, settings: Settings) -> None:
        super().__init__(scope, name)
        self._stack = Stack.of(self)
        self.log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=CAMERA_LOG_GROUP,
            retention=retention_of(settings.log_days),
            removal_policy=RemovalPolicy.RETAIN,
        )
        self.role = iam.Role(
            self,
            "Role",
            description="Cameras of Pi In The Sky, each with what is its own",
            assumed_by=iam.ServicePrincipal("credentials.iot.amazonaws.com"),
        )
        self.role.apply_removal_policy(RemovalPolicy.RETAIN)
        self.role.add_to_policy(self._logging())
        self.alias = iot.CfnRoleAlias(
            self,
            "RoleAlias",
            role_alias=ROLE_ALIAS,
            role_arn=self.role.role_arn,
            credential_duration_seconds=CREDENTIALS_S,
        )
        start = f"arn:{self._stack.partition}:iot:{self._stack.region}:{self._stack.account}:"
        self.policy = iot.CfnPolicy(
            self, "Policy", policy_name=CAMERA_POLICY, policy_document=iot_policy(start, self.alias.attr_role_alias_arn)
        )
        self.group = iot.CfnThingGroup(self, "Cameras", thing_group_name=CAMERA_GROUP)
        for kept in (self.alias, self.policy, self.group):
            kept.apply_removal_policy(RemovalPolicy.RETAIN)

    def allow(self, *statements: iam.PolicyStatement) -> None:
        """Let cameras do more."""
        for statement in statements:
            self.role.add_to_policy(statement)

    def answer_sockets(self, scope: Construct, stage_arn: str) -> None:
        """Let cameras answer to open sockets of a stage, by a policy in the stack of `scope`: the role survives it."""
        iam.Policy(
            scope,
            "CamerasAnswer",
            roles=[self.role],
            statements=[allow("execute-api:ManageConnections", on=[f"{stage_arn}/POST/@connections/*"])],
        )

    def _logging(self) -> iam.PolicyStatement:
        group = self._stack.format_arn(
            service="logs",
            resource="log-group",
            resource_name=CAMERA_LOG_GROUP,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        return allow("logs:CreateLogStream", "logs:PutLogEvents", on=[f"{group}:{LOG_STREAMS}"])


def length_of(document: object) -> int:
    """How many characters IoT counts of a policy."""
    return len("".join(json.dumps(document, separators=(",", ":")).split()))
