"""What the cloud home costs: the page is that of the templates, everything has a price, and the aims are held."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.cloud_template import Cloud
from tests.support.counted_home import figures
from tools import cost_table
from tools.cost_kinds import KINDS
from tools.cost_model import CostUnknown, Line, Month, Price, prices, usage, usd

AIM_USD = 2.0
STANDING_USD = 0.10


@pytest.fixture(scope="module")
def known() -> dict[str, Price]:
    return prices()


def month(cloud: Cloud, *, mbps: float = 2, relayed: float = 1.0) -> list[Line]:
    return Month(cloud.templates, usage(), mbps=mbps, relayed=relayed).lines()


def total(lines: list[Line], known: dict[str, Price], **more: bool) -> float:
    return sum(usd(lines, known, **more))


def with_resource(cloud: Cloud, kind: str, **properties: Any) -> dict[str, Any]:
    """The templates, and one resource more."""
    templates = copy.deepcopy(cloud.templates)
    next(iter(templates.values()))["Resources"]["Another"] = {"Type": kind, "Properties": properties}
    return templates


def test_the_page_of_costs_is_that_of_the_templates(cloud):
    assert cost_table.PAGE.read_text(encoding="utf-8") == cost_table.page(cloud.templates), (
        "python -m tools.cost_table writes it"
    )


def test_everything_that_can_be_switched_on_has_a_price(full_cloud, known):
    assert total(month(full_cloud), known) > 3.5


def test_a_resource_without_a_price_is_not_passed_over(cloud):
    templates = with_resource(cloud, "AWS::EC2::NatGateway")
    with pytest.raises(CostUnknown, match="AWS::EC2::NatGateway"):
        Month(templates, usage(), mbps=2, relayed=0).lines()


def test_a_resource_whose_price_no_line_has_is_not_passed_over(cloud, monkeypatch):
    monkeypatch.setitem(KINDS, "AWS::SNS::Topic", type(KINDS["AWS::SNS::Topic"])(("rekognition",)))
    with pytest.raises(CostUnknown, match="AWS::SNS::Topic"):
        month(cloud)


@pytest.mark.parametrize("expression", ["cron(0 12 * * ? *)", "rate(soon)"])
def test_a_schedule_of_another_form_is_not_passed_over(cloud, expression):
    rule = {"ScheduleExpression": expression, "Targets": [{"Input": '{"chore": "sweep"}'}]}
    with pytest.raises(CostUnknown, match="how often"):
        Month(with_resource(cloud, "AWS::Events::Rule", **rule), usage(), mbps=2, relayed=0).lines()


def test_two_dollars_are_enough_where_live_view_goes_by_webrtc(cloud, known):
    assert total(month(cloud, relayed=0), known) <= AIM_USD


def test_two_dollars_are_enough_with_the_free_allowances_whatever_live_view_goes_by(cloud, known):
    assert total(month(cloud), known, free_tier=True) <= AIM_USD


def test_live_view_by_relay_alone_costs_no_more_than_is_said(cloud, known):
    assert total(month(cloud), known) <= AIM_USD + 0.5


def test_what_runs_when_nothing_happens_stays_below_ten_cents_in_all(cloud, known):
    lines = month(cloud)
    standing = [cost for line, cost in zip(lines, usd(lines, known), strict=True) if line.standing]
    assert sum(standing) <= STANDING_USD


def test_the_bit_rate_makes_the_bill(cloud, known):
    assert total(month(cloud, mbps=17), known) > 2 * total(month(cloud), known)


def test_a_queue_that_is_asked_day_and_night_would_be_seen(cloud, known):
    templates = with_resource(cloud, "AWS::Lambda::EventSourceMapping")
    lines = Month(templates, usage(), mbps=2, relayed=1.0).lines()
    assert 0.2 < total(lines, known) - total(month(cloud), known) < 0.3


def test_alarms_and_dashboards_are_counted_where_they_are(cloud, full_cloud):
    assert not [line for line in month(cloud) if line.price in ("alarms", "dashboards")]
    found = {line.price: line.amount for line in month(full_cloud) if line.price in ("alarms", "dashboards")}
    assert found == {"alarms": 5, "dashboards": 1}


def test_what_is_free_is_taken_off_once(known):
    twice = [Line("a", "b", "transfer-out", 60), Line("a", "c", "transfer-out", 60)]
    assert usd(twice, known, free_tier=True) == [0, pytest.approx(20 * known["transfer-out"].usd)]


def test_every_price_has_a_page_and_says_what_it_is_for(known):
    for price in known.values():
        assert price.source.startswith("https://aws.amazon.com/")
        assert price.usd > 0
        assert price.noun


def test_every_kind_is_paid_by_prices_of_the_list_or_has_a_reason(known):
    for kind, said in KINDS.items():
        assert set(said.prices) <= set(known), kind
        assert bool(said.prices) is not bool(said.free), kind


def test_no_call_asks_for_more_than_the_profile_counts():
    counted, said = figures(), usage()["calls"]
    assert set(counted) == set(said)
    more = {
        f"{name}: {what} {number}, and {said[name].get(what, 0)} in infra_cdk/usage.toml"
        for name, of in counted.items()
        for what, number in of.items()
        if number > said[name].get(what, 0)
    }
    assert more == set(), "python -m tests.support.counted_home prints the lines anew; then python -m tools.cost_table"
