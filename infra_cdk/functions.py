"""The functions of the planes: one for each way in, each with a role of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra_cdk.log_groups import log_group
from infra_cdk.names import function_name
from infra_cdk.permissions import allow

HANDLERS = "pinthesky.aws.lambda_handlers"
RUNTIME = lambda_.Runtime.PYTHON_3_13
ARCHITECTURE = lambda_.Architecture.ARM_64
MEMORY_MB = 512
"""A start takes less than a second then; twice the memory is twice the processor at twice the price of a moment."""


class Archives(NamedTuple):
    """What `tools/lambda_archives.py` has built: the planes, and the same with PyAV."""

    planes: Path
    media: Path


class PlanesFunction(Construct):
    """A function with its role and its log. It may write its own log, and what it is allowed with `allow`."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        handler: str,
        archive: Path,
        timeout: Duration,
        description: str,
        log_days: int,
        memory_mb: int = MEMORY_MB,
        environment: Mapping[str, str] | None = None,
        dead_letters: sqs.IQueue | None = None,
    ) -> None:
        """`handler` is one of `pinthesky.aws.lambda_handlers`; `dead_letters` takes events that were given up."""
        super().__init__(scope, name)
        self.name = function_name(handler)
        log = log_group(self, "Log", group=f"/aws/lambda/{self.name}", days=log_days)
        self.role = iam.Role(
            self,
            "Role",
            description=f"{self.name}: {description}",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        self.allow(allow("logs:CreateLogStream", "logs:PutLogEvents", on=[log.log_group_arn]))
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=self.name,
            description=description,
            runtime=RUNTIME,
            architecture=ARCHITECTURE,
            code=lambda_.Code.from_asset(str(archive)),
            handler=f"{HANDLERS}.{handler}",
            role=self.role,
            memory_size=memory_mb,
            timeout=timeout,
            environment=dict(environment or {}),
            log_group=log,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.WARN,
            on_failure=None if dead_letters is None else destinations.SqsDestination(dead_letters),
            retry_attempts=None if dead_letters is None else 2,
        )

    def allow(self, *statements: iam.PolicyStatement) -> None:
        """Let the function do more."""
        for statement in statements:
            self.role.add_to_policy(statement)

    def call_by(self, name: str, *, service: str, source: str) -> None:
        """Let a service call the function, on behalf of `source` (an ARN) in this account."""
        self.function.add_permission(
            name,
            principal=iam.ServicePrincipal(service),
            source_arn=source,
            source_account=Stack.of(self).account,
        )
