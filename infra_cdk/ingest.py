"""What arrives: what cameras say, who connects, jobs that end, objects that are stored."""

from __future__ import annotations

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from aws_cdk import custom_resources as custom
from constructs import Construct

from infra_cdk.dead_letters import DeadLetters
from infra_cdk.functions import PlanesFunction
from infra_cdk.log_groups import log_group
from infra_cdk.media import Media
from infra_cdk.names import IMAGE_PREFIX, VIDEO_PREFIX
from infra_cdk.permissions import allow, allow_everywhere, served_by
from infra_cdk.settings import Settings

SQL_VERSION = "2016-03-23"
CAMERA_EVENT = "SELECT encode(*, 'base64') AS payload, topic() AS topic, clientid() AS client FROM '{topic}'"
CAMERA_TOPIC = "pinthesky/events/+/output"
"""The thing is that of the topic; the policy of cameras lets each publish on its own alone."""
LEGACY_TOPIC = "pinthesky/events/output"
"""The one of all devices of the predecessor: the thing is the client that has signed in at the broker."""
PRESENCE = "SELECT * FROM '$aws/events/presence/+/+'"
JOB_EXECUTION = "SELECT * FROM '$aws/events/jobExecution/+/+'"


class Ingest(Construct):
    """Rules of IoT and of EventBridge, which call functions. What a rule cannot hand over is a dead letter.

    A function is called without waiting for it: Lambda calls again twice what has failed, then it is a dead letter
    too. There is no queue before the function of `media`: asking an empty queue for messages day and night costs more
    than everything else that stands still, and what is lost for good is found by the daily comparison.
    """

    def __init__(self, scope: Construct, name: str, *, dead_letters: DeadLetters, settings: Settings) -> None:
        super().__init__(scope, name)
        self._stack = Stack.of(self)
        self._dead_letters = dead_letters
        self._complaints = iam.Role(
            self,
            "Complaints",
            description="IoT, when a rule cannot hand over",
            assumed_by=served_by(
                "iot.amazonaws.com",
                account=self._stack.account,
                source=f"arn:{self._stack.partition}:iot:{self._stack.region}:{self._stack.account}:rule/*",
            ),
        )
        self._complaints.add_to_policy(dead_letters.sending())
        self._report_job_executions(settings.log_days)

    def take_events(self, function: PlanesFunction, *, legacy: bool) -> iot.CfnTopicRule:
        """Hand what cameras say to a function; with `legacy` what devices of the predecessor say, too."""
        rule = self._rule("CameraEvents", CAMERA_EVENT.format(topic=CAMERA_TOPIC), function)
        if legacy:
            self._rule("LegacyEvents", CAMERA_EVENT.format(topic=LEGACY_TOPIC), function)
        return rule

    def take_presence(self, function: PlanesFunction) -> None:
        """Hand connections and losses to a function."""
        self._rule("Presence", PRESENCE, function)

    def take_job_executions(self, function: PlanesFunction) -> None:
        """Hand ends of jobs at cameras to a function."""
        self._rule("JobExecutions", JOB_EXECUTION, function)

    def take_media(self, function: PlanesFunction, *, media: Media) -> None:
        """Hand news of the bucket to a function."""
        rule = events.Rule(
            self,
            "MediaRule",
            description="Recordings that were stored or removed",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created", "Object Deleted"],
                detail={
                    "bucket": {"name": [media.bucket.bucket_name]},
                    "object": {"key": [{"prefix": f"{prefix}/"} for prefix in (VIDEO_PREFIX, IMAGE_PREFIX)]},
                },
            ),
        )
        rule.add_target(
            targets.LambdaFunction(function.function, dead_letter_queue=self._dead_letters.queue, retry_attempts=20)
        )

    def _rule(self, name: str, sql: str, function: PlanesFunction) -> iot.CfnTopicRule:
        rule = iot.CfnTopicRule(
            self,
            f"{name}Rule",
            topic_rule_payload=iot.CfnTopicRule.TopicRulePayloadProperty(
                sql=sql,
                aws_iot_sql_version=SQL_VERSION,
                rule_disabled=False,
                actions=[
                    iot.CfnTopicRule.ActionProperty(
                        lambda_=iot.CfnTopicRule.LambdaActionProperty(function_arn=function.function.function_arn)
                    )
                ],
                error_action=iot.CfnTopicRule.ActionProperty(
                    sqs=iot.CfnTopicRule.SqsActionProperty(
                        queue_url=self._dead_letters.queue.queue_url,
                        role_arn=self._complaints.role_arn,
                        use_base64=False,
                    )
                ),
            ),
        )
        function.call_by(f"By{name}", service="iot.amazonaws.com", source=rule.attr_arn)
        return rule

    def _report_job_executions(self, log_days: int) -> None:
        """Have IoT say when a job ends at a camera: a switch of the account, which CloudFormation does not know.

        It stays on when the stack goes: others may rely on it.
        """
        switch = custom.AwsSdkCall(
            service="Iot",
            action="updateEventConfigurations",
            parameters={"eventConfigurations": {"JOB_EXECUTION": {"Enabled": True}}},
            physical_resource_id=custom.PhysicalResourceId.of("job-execution-events"),
        )
        role = iam.Role(
            self,
            "Switch",
            description="Switches on events of job executions, when the stack is deployed",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        log = log_group(self, "SwitchLog", group="/aws/lambda/PinTheSky-switch", days=log_days)
        role.add_to_policy(allow("logs:CreateLogStream", "logs:PutLogEvents", on=[log.log_group_arn]))
        role.add_to_policy(allow_everywhere("iot:UpdateEventConfigurations"))
        custom.AwsCustomResource(
            self,
            "JobExecutionEvents",
            resource_type="Custom::IotEventConfiguration",
            role=role,
            log_group=log,
            install_latest_aws_sdk=False,
            removal_policy=RemovalPolicy.RETAIN,
            on_update=switch,
        )
