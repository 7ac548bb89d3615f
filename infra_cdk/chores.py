"""What is due by the clock: who is silent, which sockets have to end, what has to go, what has to be put right."""

from __future__ import annotations

import json

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infra_cdk.dead_letters import DeadLetters
from infra_cdk.functions import PlanesFunction
from infra_cdk.permissions import allow, served_by

RATES = {
    # Every two minutes: each call of the scheduler and of the function costs, and a camera counts as silent after two.
    "silence": "rate(2 minutes)",
    "sockets": "rate(2 minutes)",
    # Each turn lists the stills of every camera, and a list costs as much as an upload.
    "sweep": "rate(6 hours)",
    "reconcile": "rate(1 hour)",
}


class Chores(Construct):
    """One schedule for each chore. What the function does not take ends with the dead letters."""

    def __init__(self, scope: Construct, name: str, *, function: PlanesFunction, dead_letters: DeadLetters) -> None:
        super().__init__(scope, name)
        stack = Stack.of(self)
        group = scheduler.CfnScheduleGroup(self, "Group", name="PinTheSky")
        role = iam.Role(
            self,
            "Role",
            description="The clock of Pi In The Sky",
            assumed_by=served_by(
                "scheduler.amazonaws.com",
                account=stack.account,
                source=f"arn:{stack.partition}:scheduler:{stack.region}:{stack.account}:schedule-group/PinTheSky",
            ),
        )
        role.add_to_policy(allow("lambda:InvokeFunction", on=[function.function.function_arn]))
        role.add_to_policy(dead_letters.sending())
        for chore, rate in RATES.items():
            scheduler.CfnSchedule(
                self,
                chore.capitalize(),
                group_name=group.ref,
                schedule_expression=rate,
                flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
                target=scheduler.CfnSchedule.TargetProperty(
                    arn=function.function.function_arn,
                    role_arn=role.role_arn,
                    input=json.dumps({"chore": chore}),
                    dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=dead_letters.queue.queue_arn),
                    # The next turn comes by itself, and does what this one has not.
                    retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=60, maximum_retry_attempts=1
                    ),
                ),
            )
