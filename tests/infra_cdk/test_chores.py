"""What is due by the clock."""

from __future__ import annotations

import json
import re

from tests.support.cloud_template import Cloud
from tests.support.house.source import ROOT

MINUTES = {"minute": 1, "minutes": 1, "hour": 60, "hours": 60}


def minutes_of(rate: str) -> int:
    found = re.fullmatch(r"rate\((\d+) (\w+)\)", rate)
    assert found is not None
    return int(found[1]) * MINUTES[found[2]]


def test_every_chore_that_the_function_knows_is_due(cloud: Cloud):
    source = (ROOT / "pinthesky" / "aws" / "lambda_handlers.py").read_text(encoding="utf-8")
    known = set(re.findall(r'chore == "(\w+)"', source))
    due = {json.loads(each["Target"]["Input"])["chore"] for each in cloud.every("AWS::Scheduler::Schedule").values()}
    assert due == known


def test_the_clock_calls_seldom_enough_to_cost_little(cloud: Cloud):
    """A call of the scheduler and one of the function cost 1.2 $ for a million, from the first one on."""
    calls = [
        30 * 24 * 60 / minutes_of(each["ScheduleExpression"])
        for each in cloud.every("AWS::Scheduler::Schedule").values()
    ]
    assert sum(calls) * 1.2e-6 < 0.06


def test_a_camera_counts_as_silent_soon(cloud: Cloud):
    rates = {
        json.loads(each["Target"]["Input"])["chore"]: minutes_of(each["ScheduleExpression"])
        for each in cloud.every("AWS::Scheduler::Schedule").values()
    }
    assert rates["silence"] <= 2
    assert rates["sweep"] < 24 * 60


def test_a_turn_that_fails_is_kept_and_the_next_one_comes(cloud: Cloud):
    for each in cloud.every("AWS::Scheduler::Schedule").values():
        assert each["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert ":sqs:" in each["Target"]["DeadLetterConfig"]["Arn"]
        assert each["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 1


def test_the_clock_calls_one_function_and_complains_to_one_queue(cloud: Cloud):
    (logical,) = [
        logical
        for logical, each in cloud.every("AWS::IAM::Role").items()
        if each["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "scheduler.amazonaws.com"}
    ]
    statements = [
        statement
        for each in cloud.every("AWS::IAM::Policy").values()
        if logical.lower() in each["Roles"]
        for statement in each["PolicyDocument"]["Statement"]
    ]
    assert {each["Action"]: each["Resource"].rpartition(":")[2][:18] for each in statements} == {
        "lambda:InvokeFunction": "PinTheSky-schedule",
        "sqs:SendMessage": "deadlettersqueue63",
    }
    trust = cloud.every("AWS::IAM::Role")[logical]["AssumeRolePolicyDocument"]["Statement"][0]
    assert trust["Condition"]["ArnLike"]["aws:SourceArn"].endswith(":schedule-group/PinTheSky")
