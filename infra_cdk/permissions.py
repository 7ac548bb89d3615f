"""Statements of policies, and the few that name everything because AWS knows nothing narrower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_iam as iam

EVERYTHING = "*"
READ_PEOPLE = ("cognito-idp:AdminGetUser", "cognito-idp:AdminListGroupsForUser", "cognito-idp:ListUsers")

ACTIONS_WITHOUT_RESOURCES: Mapping[str, str] = {
    "cloudwatch:GetMetricStatistics": "CloudWatch grants its figures as a whole",
    "iot:AttachThingPrincipal": "IoT knows no resource for the tie between a thing and a certificate",
    "iot:DetachThingPrincipal": "the same",
    "iot:ListThingPrincipals": "the same",
    "iot:ListPrincipalThings": "the same",
    "iot:CreateCertificateFromCsr": "a certificate has no name before it is made",
    "iot:DescribeEndpoint": "the address belongs to the account",
    "iot:ListThingGroups": "a list of the account",
    "iot:UpdateEventConfigurations": "the switch belongs to the account",
    "rekognition:DetectLabels": "what is looked at is an image; which one is limited by the right to read it",
    "sns:Unsubscribe": "SNS knows no resource for it; the planes hand over ARNs of their own topic's subscriptions",
}
"""Every action that is allowed on `*`, and why AWS forces it (its service authorization reference)."""


def allow(
    *actions: str, on: Sequence[str], when: Mapping[str, Any] | None = None, sid: str | None = None
) -> iam.PolicyStatement:
    """Allow actions on resources, under conditions."""
    return iam.PolicyStatement(sid=sid, actions=list(actions), resources=list(on), conditions=dict(when or {}))


def allow_everywhere(*actions: str) -> iam.PolicyStatement:
    """Allow actions for which nothing narrower than `*` can be said. Raises KeyError where no reason is kept."""
    for action in actions:
        ACTIONS_WITHOUT_RESOURCES[action]
    return allow(*actions, on=[EVERYTHING])


def served_by(service: str, *, account: str, source: str) -> iam.ServicePrincipal:
    """A service that acts for this account, and for `source` (an ARN, which may hold `*`) in it."""
    return iam.ServicePrincipal(
        service,
        conditions={"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": source}},
    )
