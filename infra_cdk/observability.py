"""What an owner sees of the home as a whole: the month's bill, and, where they are wished for, alarms and a dashboard.

A silent camera is not among the things that need an alarm here: the planes tell of it themselves, to whom the rules of
the console name.
"""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra_cdk.control_plane import ControlPlane
from infra_cdk.data_plane import DataPlane
from infra_cdk.dead_letters import DeadLetters
from infra_cdk.functions import PlanesFunction
from infra_cdk.media import Media
from infra_cdk.permissions import served_by
from infra_cdk.settings import Settings

SPENT_PERCENT = 80
QUARTER, HOUR = Duration.minutes(15), Duration.hours(1)
QUIET_HOURS = 3
"""Cameras report their health once an hour: a fleet of which nothing was heard for so long is cut off."""


class Observability(Construct):
    """The budget costs nothing. Alarms and the dashboard cost each month: see `Settings`."""

    def __init__(self, scope: Construct, name: str, *, settings: Settings) -> None:
        super().__init__(scope, name)
        self._stack = Stack.of(self)
        self._email = settings.alert_email
        self._operations: sns.Topic | None = None
        self._budget(settings.monthly_budget_usd)

    def watch_dead_letters(self, dead_letters: DeadLetters) -> None:
        """The one alarm that everything ends in that could not be taken."""
        self._alarm(
            "DeadLetters",
            dead_letters.queue.metric_approximate_number_of_messages_visible(period=QUARTER, statistic="Maximum"),
            "Something could not be taken, and waits with the dead letters",
        )

    def watch(self, *, control_plane: ControlPlane, camera_events: iot.CfnTopicRule) -> None:
        """Further alarms: errors and throttles of functions, errors of the API, and a fleet that is silent."""
        for name, description in (
            ("Errors", "A function of this account fails"),
            ("Throttles", "A function of this account is called more often than it may"),
        ):
            metric = cloudwatch.Metric(namespace="AWS/Lambda", metric_name=name, period=QUARTER, statistic="Sum")
            self._alarm(name, metric, description)
        self._alarm(
            "Answers",
            control_plane.api.metric_server_error(period=QUARTER, statistic="Sum"),
            "The control plane answers with errors of its own",
        )
        silent = cloudwatch.Alarm(
            self,
            "Silence",
            metric=_messages_of(camera_events, period=HOUR),
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            evaluation_periods=QUIET_HOURS,
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
            alarm_description="Nothing was heard of any camera for hours",
        )
        silent.add_alarm_action(self._told())
        silent.add_ok_action(self._told())

    def draw(
        self,
        *,
        functions: Mapping[str, PlanesFunction],
        control_plane: ControlPlane,
        data_plane: DataPlane,
        dead_letters: DeadLetters,
        media: Media,
        camera_events: iot.CfnTopicRule,
    ) -> None:
        """The fleet on one page."""
        called = [each.function.metric_invocations(period=HOUR, label=name) for name, each in functions.items()]
        failed = [each.function.metric_errors(period=HOUR, label=name) for name, each in functions.items()]
        slow = [
            each.function.metric_duration(period=HOUR, statistic="p95", label=name) for name, each in functions.items()
        ]
        api = control_plane.api
        sockets = cloudwatch.Metric(
            namespace="AWS/ApiGateway",
            metric_name="ConnectCount",
            dimensions_map={"ApiId": data_plane.api.api_id},
            period=HOUR,
            statistic="Sum",
        )
        stored = cloudwatch.Metric(
            namespace="AWS/S3",
            metric_name="BucketSizeBytes",
            dimensions_map={"BucketName": media.bucket.bucket_name, "StorageType": "StandardStorage"},
            period=Duration.days(1),
            statistic="Average",
        )
        waiting = dead_letters.queue.metric_approximate_number_of_messages_visible(period=HOUR, statistic="Maximum")
        rows = (
            (_graph("Events of cameras", _messages_of(camera_events, period=HOUR)), _graph("Sockets opened", sockets)),
            (_graph("Calls of functions", *called), _graph("Errors of functions", *failed)),
            (_graph("Time of functions (p95)", *slow), _graph("Dead letters", waiting)),
            (
                _graph("Answers", api.metric_count(period=HOUR), api.metric_server_error(period=HOUR)),
                _graph("Bytes stored", stored),
            ),
        )
        dashboard = cloudwatch.Dashboard(self, "Fleet", dashboard_name="PinTheSky", default_interval=Duration.days(7))
        for row in rows:
            dashboard.add_widgets(*row)

    def _budget(self, limit_usd: float) -> None:
        """The account's month. Somebody is told at 80 % of it, and when the forecast goes beyond it."""
        told = [budgets.CfnBudget.SubscriberProperty(subscription_type="EMAIL", address=self._email or "")]
        notifications = [
            budgets.CfnBudget.NotificationWithSubscribersProperty(
                notification=budgets.CfnBudget.NotificationProperty(
                    notification_type=kind,
                    comparison_operator="GREATER_THAN",
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=told,
            )
            for kind, percent in (("ACTUAL", SPENT_PERCENT), ("FORECASTED", 100))
        ]
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=limit_usd, unit="USD"),
            ),
            notifications_with_subscribers=notifications if self._email else None,
        )

    def _alarm(self, name: str, metric: cloudwatch.IMetric, description: str) -> None:
        """Tell as soon as there is one."""
        cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=0,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=description,
        ).add_alarm_action(self._told())

    def _told(self) -> actions.SnsAction:
        """The topic of those who look after it all, made with the first alarm."""
        if self._operations is None:
            self._operations = self._make_topic()
        return actions.SnsAction(self._operations)

    def _make_topic(self) -> sns.Topic:
        topic = sns.Topic(self, "Operations", display_name="Pi In The Sky", enforce_ssl=True)
        alarms = f"arn:{self._stack.partition}:cloudwatch:{self._stack.region}:{self._stack.account}:alarm:*"
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Alarms",
                principals=[served_by("cloudwatch.amazonaws.com", account=self._stack.account, source=alarms)],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
            )
        )
        if self._email:
            topic.add_subscription(subscriptions.EmailSubscription(self._email))
        return topic


def _messages_of(rule: iot.CfnTopicRule, *, period: Duration) -> cloudwatch.Metric:
    """How many messages a rule of IoT has taken."""
    return cloudwatch.Metric(
        namespace="AWS/IoT",
        metric_name="TopicMatch",
        dimensions_map={"RuleName": rule.ref},
        period=period,
        statistic="Sum",
    )


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=12)
