"""Budget, alarms, dashboard, and what stands still without costing anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cloud_template import Cloud

FIXED_PRICES = {
    # Types that cost each month while nothing happens (us-east-1, beyond what is free for ever).
    "AWS::CloudWatch::Alarm": 0.10,
    "AWS::CloudWatch::Dashboard": 3.00,
    "AWS::SecretsManager::Secret": 0.40,
    "AWS::KMS::Key": 1.00,
    "AWS::WAFv2::WebACL": 5.00,
    "AWS::EC2::NatGateway": 32.0,
    "AWS::Route53::HostedZone": 0.50,
    "AWS::CloudTrail::Trail": 2.0,
    "AWS::Lambda::EventSourceMapping": 0.26,
}


def kinds_of(cloud: Cloud) -> list[str]:
    return [each["Type"] for template in cloud.templates.values() for each in template["Resources"].values()]


def alarms_of(cloud: Cloud) -> dict[str, dict[str, Any]]:
    return {each["MetricName"]: each for each in cloud.every("AWS::CloudWatch::Alarm").values()}


def test_nothing_by_default_costs_while_nothing_happens(cloud: Cloud):
    assert [kind for kind in kinds_of(cloud) if kind in FIXED_PRICES] == []


def test_alarms_and_dashboard_are_all_that_costs_when_they_are_wished_for(full_cloud: Cloud):
    standing = [kind for kind in kinds_of(full_cloud) if kind in FIXED_PRICES]
    assert sorted(standing) == ["AWS::CloudWatch::Alarm"] * 5 + ["AWS::CloudWatch::Dashboard"]


def test_the_month_has_a_budget_and_somebody_is_told(full_cloud: Cloud):
    budget = full_cloud.only("AWS::Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 7, "Unit": "USD"}
    assert budget["Budget"]["TimeUnit"] == "MONTHLY"
    told = {
        (each["Notification"]["NotificationType"], each["Notification"]["Threshold"]): each["Subscribers"]
        for each in budget["NotificationsWithSubscribers"]
    }
    owner = [{"SubscriptionType": "EMAIL", "Address": "owner@example.com"}]
    assert told == {("ACTUAL", 80): owner, ("FORECASTED", 100): owner}


def test_without_an_address_the_budget_is_there_to_be_looked_at(cloud: Cloud):
    budget = cloud.only("AWS::Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"]["Amount"] == 5
    assert "NotificationsWithSubscribers" not in budget


def test_alarms_tell_of_dead_letters_errors_throttles_and_a_silent_fleet(full_cloud: Cloud):
    assert set(alarms_of(full_cloud)) == {
        "ApproximateNumberOfMessagesVisible",
        "Errors",
        "Throttles",
        "5xx",
        "TopicMatch",
    }
    assert all(len(each["AlarmActions"]) == 1 for each in alarms_of(full_cloud).values())


def test_a_fleet_of_which_nothing_is_heard_is_silent_too(full_cloud: Cloud):
    silence = alarms_of(full_cloud)["TopicMatch"]
    assert silence["TreatMissingData"] == "breaching"
    assert silence["Period"] * silence["EvaluationPeriods"] == 3 * 3600
    assert {each["TreatMissingData"] for name, each in alarms_of(full_cloud).items() if name != "TopicMatch"} == {
        "notBreaching"
    }


def test_each_alarm_is_of_one_metric_since_each_metric_is_paid_for(full_cloud: Cloud):
    assert not [each for each in full_cloud.every("AWS::CloudWatch::Alarm").values() if "Metrics" in each]


def test_alarms_reach_the_owner_by_mail_over_tls(full_cloud: Cloud):
    subscription = full_cloud.only("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "owner@example.com")
    policies = full_cloud.every("AWS::SNS::TopicPolicy")
    (operations,) = [each for logical, each in policies.items() if "Operations" in logical]
    effects = {statement["Effect"]: statement for statement in operations["PolicyDocument"]["Statement"]}
    assert effects["Deny"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert effects["Allow"]["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert effects["Allow"]["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}


def test_the_dashboard_shows_the_fleet(full_cloud: Cloud):
    body = json.loads(full_cloud.only("AWS::CloudWatch::Dashboard")["DashboardBody"])
    titles = {each["properties"]["title"] for each in body["widgets"]}
    assert {"Events of cameras", "Errors of functions", "Dead letters", "Bytes stored"} <= titles


def test_messages_of_alerts_travel_over_tls_alone(cloud: Cloud):
    policy = cloud.only("AWS::SNS::TopicPolicy")
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@pytest.mark.soak
def test_whoever_gives_an_address_is_told_of_dead_letters(clouds: Callable[..., Cloud]):
    """A third synthesis, so it is not among the quick tests."""
    cloud = clouds(alertEmail="owner@example.com")
    assert set(alarms_of(cloud)) == {"ApproximateNumberOfMessagesVisible"}
    assert cloud.only("AWS::SNS::Subscription")["Endpoint"] == "owner@example.com"
    assert cloud.only("AWS::Budgets::Budget")["NotificationsWithSubscribers"]
