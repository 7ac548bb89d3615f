"""Where everything ends that could not be taken, and is kept until somebody looks."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra_cdk.permissions import allow


class DeadLetters(Construct):
    """One queue for events of cameras, news of the bucket and chores alike: what is in it says where it came from."""

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )

    def sending(self) -> iam.PolicyStatement:
        """Allow putting something into the queue."""
        return allow("sqs:SendMessage", on=[self.queue.queue_arn])
