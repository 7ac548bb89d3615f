"""What each function may do: the rows of `docs/reference/aws.md`, as statements of policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import Stack
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns

from infra_cdk.database import Database
from infra_cdk.media import Media
from infra_cdk.permissions import READ_PEOPLE, allow, allow_everywhere

READ_THINGS = ("iot:DescribeThing",)
REMOVE_THINGS = ("iot:DeleteThing", "iot:DeleteThingShadow", "iot:ListThingGroupsForThing")
GROUPING = ("iot:RemoveThingFromThingGroup",)
REMOVE_CERTIFICATES = ("iot:DeleteCertificate", "iot:DetachPolicy", "iot:ListAttachedPolicies", "iot:UpdateCertificate")
JOBS = (
    "iot:CancelJob",
    "iot:CancelJobExecution",
    "iot:CreateJob",
    "iot:DeleteJob",
    "iot:DeleteJobExecution",
    "iot:DescribeJob",
    "iot:DescribeJobExecution",
    "iot:ListJobExecutionsForJob",
)
JOBS_OF_THINGS = (
    "iot:CancelJobExecution",
    "iot:CreateJob",
    "iot:DeleteJobExecution",
    "iot:DescribeJobExecution",
    "iot:ListJobExecutionsForThing",
)
UNTIE_THINGS = (
    "iot:DetachThingPrincipal",
    "iot:ListPrincipalThings",
    "iot:ListThingGroups",
    "iot:ListThingPrincipals",
)
CHANGE_PEOPLE = (
    "cognito-idp:AdminAddUserToGroup",
    "cognito-idp:AdminCreateUser",
    "cognito-idp:AdminDeleteUser",
    "cognito-idp:AdminRemoveUserFromGroup",
    "cognito-idp:AdminUserGlobalSignOut",
)
HANDLE_RECORDINGS = (
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:GetObjectTagging",
    "s3:PutObjectTagging",
)

# Partitions of the table, as the records name them; `#*` where there is one for each camera, person or connection.
_EVERYBODY = ("camera", "group", "group-of#*", "home", "person")
"""Who sees which camera, and the secret of the home."""
_TELLING = ("connection", "connection-of#*", "push", "session#*")
_ALERTING = ("cool-down#*", "sns-destination", "subscription")
_CLIPS = ("clip", "clip#*", "clip-camera", "clip-of#*", "clip-removed", "event#*")
_LABELS = ("recognition", "recognition#*")
_HEALTH = ("condition#*", "health", "health#*", "motion#*")

ROWS: Mapping[str, Sequence[str]] = {
    "http": (
        *_EVERYBODY,
        *_TELLING,
        *_ALERTING,
        *_CLIPS,
        *_HEALTH,
        "attempts#*",
        "camera-of#*",
        "job",
        "registration",
        "registration-of",
        "removal",
        "share",
        "sign-in#*",
        "stream-token#*",
        "tag",
        "ticket",
    ),
    "socket": (*_EVERYBODY, *_TELLING, "attempts#*", "sign-in#*", "ticket"),
    "device_event": (*_EVERYBODY, *_TELLING, *_ALERTING, *_CLIPS, *_LABELS, *_HEALTH, "heard#*"),
    "presence": (*_EVERYBODY, *_TELLING, "condition#*"),
    "job_execution": (*_EVERYBODY, *_TELLING, *_ALERTING, "job", "job-heard#*"),
    "media": (*_EVERYBODY, *_TELLING, *_ALERTING, *_CLIPS, *_LABELS),
    "schedule": (
        *_EVERYBODY,
        *_TELLING,
        *_ALERTING,
        *_CLIPS,
        *_LABELS,
        *_HEALTH,
        "camera-of#*",
        "chore",
        "removal",
        "stream-token#*",
    ),
}
"""The partitions of each handler; `pre_sign_up` has `person` alone, and `conversion` none."""


@dataclass(frozen=True)
class Access:
    """The statements of a home's functions. `for_handler` has those of each."""

    stack: Stack
    database: Database
    media: Media
    pool: cognito.IUserPool
    alerts: sns.ITopic
    socket_stage: str
    """ARN of the stage of the WebSocket API."""
    conversion: str
    """ARN of the function of `conversion`."""
    labels: bool

    def for_handler(self, handler: str) -> list[iam.PolicyStatement]:
        """What the function of a handler may do. Raises KeyError for one that is none of the planes."""
        rows = self.database.rows(ROWS[handler])
        statements = {
            "http": self._http,
            "socket": list,
            "device_event": lambda: [
                allow("iot:DescribeThing", "iot:GetThingShadow", on=[self._iot("thing")]),
                *self._clips(),
                self._alerting(),
            ],
            "presence": lambda: [allow(*READ_THINGS, on=[self._iot("thing")])],
            "job_execution": lambda: [
                allow("iot:DescribeJobExecution", on=[self._iot("job"), self._iot("thing")]),
                self._alerting(),
            ],
            "media": lambda: [allow(*READ_THINGS, on=[self._iot("thing")]), *self._clips(), self._alerting()],
            "schedule": self._schedule,
        }[handler]()
        people = () if handler == "http" else (allow(*READ_PEOPLE, on=[self.pool.user_pool_arn]),)
        return [rows, *people, self._sockets(), self._commands(), *statements]

    def for_conversion(self) -> list[iam.PolicyStatement]:
        """Clips are made of streams, beside them."""
        return [
            allow("s3:GetObject", "s3:GetObjectTagging", "s3:PutObject", "s3:PutObjectTagging", on=self.media.videos()),
            self._bucket(),
        ]

    def _http(self) -> list[iam.PolicyStatement]:
        return [
            allow(*READ_PEOPLE, *CHANGE_PEOPLE, on=[self.pool.user_pool_arn]),
            allow(
                *READ_THINGS,
                *REMOVE_THINGS,
                *GROUPING,
                *JOBS_OF_THINGS,
                "iot:AddThingToThingGroup",
                "iot:CreateThing",
                "iot:GetThingShadow",
                "iot:UpdateThingShadow",
                on=[self._iot("thing")],
            ),
            allow(*JOBS, on=[self._iot("job")]),
            allow(*GROUPING, "iot:AddThingToThingGroup", "iot:ListThingsInThingGroup", on=[self._iot("thinggroup")]),
            allow(*REMOVE_CERTIFICATES, "iot:AttachPolicy", on=[self._iot("cert")]),
            allow_everywhere(
                *UNTIE_THINGS,
                "cloudwatch:GetMetricStatistics",
                "iot:AttachThingPrincipal",
                "iot:CreateCertificateFromCsr",
                "iot:DescribeEndpoint",
                "sns:Unsubscribe",
            ),
            allow(*HANDLE_RECORDINGS, on=self.media.recordings()),
            allow("s3:GetObject", on=self.media.releases()),
            self._bucket(),
            allow("sns:Subscribe", on=[self.alerts.topic_arn]),
        ]

    def _schedule(self) -> list[iam.PolicyStatement]:
        return [
            allow(*READ_THINGS, *REMOVE_THINGS, *GROUPING, "iot:GetThingShadow", on=[self._iot("thing")]),
            allow(*GROUPING, "iot:ListThingsInThingGroup", on=[self._iot("thinggroup")]),
            allow(*REMOVE_CERTIFICATES, on=[self._iot("cert")]),
            allow_everywhere(*UNTIE_THINGS),
            *self._clips(),
            self._alerting(),
        ]

    def _clips(self) -> list[iam.PolicyStatement]:
        """Taking recordings in, and what becomes of them."""
        looking = [allow_everywhere("rekognition:DetectLabels")] if self.labels else []
        return [
            allow(*HANDLE_RECORDINGS, on=self.media.recordings()),
            self._bucket(),
            allow("lambda:InvokeFunction", on=[self.conversion]),
            *looking,
        ]

    def _bucket(self) -> iam.PolicyStatement:
        """Without it S3 answers that something is forbidden where it is not there."""
        return allow("s3:ListBucket", on=[self.media.bucket.bucket_arn])

    def _sockets(self) -> iam.PolicyStatement:
        methods = ("POST", "DELETE")
        return allow(
            "execute-api:ManageConnections", on=[f"{self.socket_stage}/{each}/@connections/*" for each in methods]
        )

    def _commands(self) -> iam.PolicyStatement:
        return allow("iot:Publish", on=[self._arn("iot", "topic/pinthesky/events/*/input")])

    def _alerting(self) -> iam.PolicyStatement:
        return allow("sns:Publish", on=[self.alerts.topic_arn])

    def _iot(self, kind: str) -> str:
        """Everything of a kind: names of things are people's own, those of certificates are random."""
        return self._arn("iot", f"{kind}/*")

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:{self.stack.partition}:{service}:{self.stack.region}:{self.stack.account}:{resource}"
