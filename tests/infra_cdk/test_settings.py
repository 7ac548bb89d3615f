"""What somebody who deploys may choose, and what they are told when it is not right."""

from __future__ import annotations

import msgspec
import pytest

from infra_cdk.log_groups import retention_of
from infra_cdk.settings import Settings, read, settings_of
from pinthesky.errors import InvalidInput
from tests.support.house.source import ROOT

CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012"


def test_nothing_has_to_be_said():
    assert settings_of({}) == Settings()


def test_the_defaults_cost_nothing_that_stands_still():
    found = Settings()
    assert {found.alarms, found.dashboard, found.label_detection, found.legacy_devices} == {False}


def test_texts_of_the_command_line_become_what_is_meant():
    found = settings_of({"retentionDays": "14", "monthlyBudgetUsd": "2.5", "labelDetection": "true"})
    assert (found.retention_days, found.monthly_budget_usd, found.label_detection) == (14, 2.5, True)


def test_a_context_is_asked_for_the_known_keys_alone():
    asked: list[str] = []
    context = {"retentionDays": 7, "alertEmail": ""}

    def look_up(key: str) -> object:
        asked.append(key)
        return context.get(key)

    found = read(look_up)
    assert found == Settings(retention_days=7)
    assert set(context) < set(asked)
    assert not [key for key in asked if "_" in key]


@pytest.mark.parametrize(
    "key, value, bound",
    [
        ("retentionDays", -1, ">= 0"),
        ("retentionDays", "a month", "`int`"),
        ("healthDays", 4000, "<= 3650"),
        ("logDays", 0, ">= 1"),
        ("monthlyBudgetUsd", 0, "> 0"),
        ("labelImagesPerMonth", 2_000_000, "<= 1000000"),
        ("labelDetection", "perhaps", "`bool`"),
        ("alertEmail", "nobody", "matching regex"),
        ("domainName", "https://cameras.example.com", "matching regex"),
        ("hostedZoneId", "cameras.example.com", "matching regex"),
        ("certificateArn", CERTIFICATE.replace("us-east-1", "eu-central-1"), "us-east-1"),
        ("googleSecretParameter", "arn:aws:ssm:1", "matching regex"),
    ],
)
def test_what_is_out_of_bounds_is_named_with_its_bound(key: str, value: object, bound: str):
    with pytest.raises(InvalidInput) as caught:
        settings_of({key: value})
    assert caught.value.field == key
    assert bound in caught.value.reason


def test_a_setting_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(InvalidInput, match="retentionDays") as caught:
        settings_of({"retention": 30})
    assert caught.value.field == "retention"


@pytest.mark.parametrize(
    "given, missing",
    [
        ({"domainName": "cameras.example.com"}, "certificateArn"),
        ({"certificateArn": CERTIFICATE}, "domainName"),
        ({"hostedZoneId": "Z0123456789ABC"}, "domainName"),
    ],
)
def test_settings_that_need_one_another_say_so(given: dict[str, str], missing: str):
    with pytest.raises(InvalidInput) as caught:
        settings_of(given)
    assert caught.value.field == missing


@pytest.mark.parametrize("days, kept", [(1, 1), (8, 14), (30, 30), (400, 731), (3653, 3653)])
def test_logs_are_kept_at_least_as_long_as_asked(days: int, kept: int):
    names = {1: "ONE_DAY", 14: "TWO_WEEKS", 30: "ONE_MONTH", 731: "TWO_YEARS", 3653: "TEN_YEARS"}
    assert retention_of(days).name == names[kept]


def test_the_guide_names_every_setting():
    guide = (ROOT / "docs" / "guide" / "aws.md").read_text(encoding="utf-8")
    names = {field.encode_name for field in msgspec.structs.fields(Settings)}
    assert {name for name in names if f"`{name}`" not in guide} == set()
