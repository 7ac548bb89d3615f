"""For how long logs are kept."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct

_OFFERED: tuple[tuple[int, logs.RetentionDays], ...] = (
    (1, logs.RetentionDays.ONE_DAY),
    (3, logs.RetentionDays.THREE_DAYS),
    (5, logs.RetentionDays.FIVE_DAYS),
    (7, logs.RetentionDays.ONE_WEEK),
    (14, logs.RetentionDays.TWO_WEEKS),
    (30, logs.RetentionDays.ONE_MONTH),
    (60, logs.RetentionDays.TWO_MONTHS),
    (90, logs.RetentionDays.THREE_MONTHS),
    (180, logs.RetentionDays.SIX_MONTHS),
    (365, logs.RetentionDays.ONE_YEAR),
    (731, logs.RetentionDays.TWO_YEARS),
    (1827, logs.RetentionDays.FIVE_YEARS),
    (3653, logs.RetentionDays.TEN_YEARS),
)


def retention_of(days: int) -> logs.RetentionDays:
    """The shortest of the times that CloudWatch offers which is not under `days` (1 to 3653)."""
    return next(offered for limit, offered in _OFFERED if days <= limit)


def log_group(scope: Construct, name: str, *, group: str, days: int) -> logs.LogGroup:
    """A log group that ends with its stack."""
    return logs.LogGroup(
        scope, name, log_group_name=group, retention=retention_of(days), removal_policy=RemovalPolicy.DESTROY
    )
