"""Alerts: which rules ask for what, cool-downs, and clocks of locations."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from zoneinfo import ZoneInfo

import hypothesis
import pytest
from hypothesis import strategies

from pinthesky.errors import Unavailable
from pinthesky.model.identifiers import GroupName
from pinthesky.model.people import Role
from pinthesky.planes import alerts
from pinthesky.planes.alerts import Occasion, passes
from pinthesky.planes.records.groups import Group
from pinthesky.planes.records.subscriptions import Filter
from pinthesky.planes.table import Delete
from tests.planes.fakes import START_S, out_of_reach
from tests.planes.home import GARDEN, GUEST, HALL, OWNER, VIEWER, StagedHome, ask, ask_for


def subscribe(home: StagedHome, person=OWNER, **fields) -> str:
    body = {"protocol": "webpush", "endpoint": f"browser of {person.id}", "coolDownSeconds": 0, **fields}
    return str(ask_for(home, person, "POST", "/subscriptions", body)["id"])


def occasion(**fields) -> Occasion:
    return Occasion(
        **{"alert_type": "motion", "thing": GARDEN, "at_s": START_S, "title": "Motion at {camera}", **fields}
    )


def tell(home: StagedHome, **fields) -> int:
    return alerts.tell(home, occasion(**fields), home.clock())


@pytest.mark.parametrize(
    "asked, passed",
    [
        ({}, True),
        ({"alert_type": ["motion", "camera_fault"]}, True),
        ({"alert_type": ["camera_fault"]}, False),
        ({"scope": ["camera"]}, True),
        ({"scope": ["fleet"]}, False),
        ({"group": [GroupName("outside")]}, True),
        ({"group": [GroupName("inside")]}, False),
        ({"camera": [GARDEN]}, True),
        ({"camera": [HALL]}, False),
        ({"day_of_week": ["fri"]}, True),
        ({"day_of_week": ["sat", "sun"]}, False),
        ({"hour": [8]}, True),
        ({"hour": [9]}, False),
        ({"label": ["cat"]}, False),
        ({"camera": [GARDEN], "hour": [9]}, False),
    ],
)
def test_an_alert_has_to_be_in_every_list_that_says_something(asked, passed):
    at = datetime.fromtimestamp(START_S, ZoneInfo("UTC"))
    assert passes(Filter(**asked), occasion(), groups=frozenset({GroupName("outside")}), at=at) is passed


def test_an_alert_says_all_that_can_be_filtered_by(fleet):
    subscribe(fleet)
    assert tell(fleet) == 1
    ((alert, destinations),) = fleet.notifier.delivered
    assert (alert.alert_type, alert.scope, alert.group, alert.camera, alert.day_of_week, alert.hour) == (
        "motion",
        "camera",
        "outside",
        "garden",
        "fri",
        8,
    )
    assert (alert.title, alert.text, alert.link) == (
        "Motion at Garden",
        "2027-01-15 08:00:00 UTC",
        "/cameras/garden",
    )
    assert [each.endpoint for each in destinations] == ["browser of olga"]


@pytest.mark.parametrize(
    "zone, day, hour",
    [("America/Los_Angeles", "fri", 0), ("Pacific/Kiritimati", "fri", 22), ("Europe/Berlin", "fri", 9)],
)
def test_day_and_hour_are_those_of_the_cameras_location(fleet, zone, day, hour):
    fleet.groups.add(Group(name=GroupName("house"), created_at=1, type="location", time_zone=zone))
    fleet.groups.join(GARDEN, GroupName("house"))
    subscribe(fleet, filter={"Hour": [hour], "DayOfWeek": [day]})
    subscribe(fleet, filter={"Hour": [(hour + 1) % 24]})
    assert tell(fleet) == 1
    assert fleet.notifier.delivered[0][0].group == "house"


def test_a_location_whose_zone_this_machine_does_not_know_counts_as_utc(fleet):
    fleet.groups.add(Group(name=GroupName("moon"), created_at=1, type="location", time_zone="Moon/Base"))
    fleet.groups.join(GARDEN, GroupName("moon"))
    subscribe(fleet, filter={"Hour": [8]})
    assert tell(fleet) == 1


def test_a_group_that_goes_at_the_same_moment_is_no_location(fleet):
    fleet.groups.join(GARDEN, GroupName("inside"))
    fleet.table.write(*[Delete(record.key) for record in fleet.table.query("group").records])
    subscribe(fleet)
    assert tell(fleet) == 1


def test_nobody_is_alerted_of_a_camera_that_they_may_not_see(fleet):
    subscribe(fleet, GUEST)
    subscribe(fleet, VIEWER)
    assert tell(fleet, thing=HALL) == 1
    assert tell(fleet, thing=GARDEN) == 2


def test_what_only_owners_may_know_only_owners_are_told(fleet):
    for person in (OWNER, VIEWER):
        subscribe(fleet, person)
    assert tell(fleet, alert_type="job_failed") == 1


def test_somebody_who_was_removed_is_told_nothing(fleet):
    subscribe(fleet, VIEWER)
    subscribe(fleet, GUEST)
    fleet.people.remove(VIEWER.id)
    fleet.people.change(GUEST.id, Role.VIEWER, frozenset({"inside"}))
    assert tell(fleet) == 0


def test_the_subscriptions_of_somebody_who_was_removed_end(fleet):
    subscribe(fleet, VIEWER)
    kept = subscribe(fleet, OWNER)
    assert ask(fleet, OWNER, "DELETE", f"/people/{VIEWER.id}")[0] == 204
    assert [each.id for each in fleet.subscriptions.everything()] == list(fleet.notifier.enlisted) == [kept]


def test_a_rule_tells_once_in_its_cool_down_and_then_how_much_it_held_back(fleet):
    subscribe(fleet, coolDownSeconds=300)
    for wait_s, told in ((0, 1), (10, 0), (289, 0), (1, 1), (299, 0), (301, 1), (100_000, 1)):
        fleet.clock.now_s += wait_s
        assert tell(fleet) == told, wait_s
    assert [alert.merged for alert, _ in fleet.notifier.delivered] == [0, 2, 1, 0]


def test_each_camera_each_kind_and_each_rule_has_its_own_cool_down(fleet):
    subscribe(fleet, coolDownSeconds=300)
    slower = subscribe(fleet, coolDownSeconds=600)
    for thing in (GARDEN, HALL):
        assert tell(fleet, thing=thing) == 2
        assert tell(fleet, thing=thing, alert_type="camera_fault") == 2
    fleet.clock.now_s += 400
    assert tell(fleet) == 1
    fleet.clock.now_s += 201
    assert tell(fleet) == 1
    last, destinations = fleet.notifier.delivered[-1]
    assert (last.merged, [each.subscription_id for each in destinations]) == (1, [slower])


def test_one_alert_goes_to_all_who_have_missed_the_same(fleet):
    subscribe(fleet, coolDownSeconds=300)
    subscribe(fleet, VIEWER, coolDownSeconds=300)
    tell(fleet)
    assert [len(destinations) for _, destinations in fleet.notifier.delivered] == [2]


def test_a_camera_that_is_lost_or_back_is_always_told(fleet):
    subscribe(fleet, coolDownSeconds=86_400)
    for alert_type in ("camera_offline", "camera_online", "camera_offline"):
        assert tell(fleet, alert_type=alert_type) == 1


def test_a_camera_that_is_no_more_is_called_by_its_thing(fleet):
    subscribe(fleet)
    fleet.cameras.remove(GARDEN)
    tell(fleet)
    assert fleet.notifier.delivered[0][0].title == "Motion at garden"


def test_rules_that_cannot_be_read_are_said_so(fleet, monkeypatch):
    monkeypatch.setattr(fleet.table, "query", out_of_reach)
    with pytest.raises(Unavailable):
        tell(fleet)


@hypothesis.given(
    strategies.lists(
        strategies.tuples(strategies.integers(0, 400), strategies.sampled_from([GARDEN, HALL])), max_size=25
    )
)
@hypothesis.settings(max_examples=25, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_every_occasion_is_either_told_or_counted(home, waits):
    for record in (*home.table.query("subscription").records,):
        home.subscriptions.remove(record.key.sort)
    home.notifier.delivered.clear()
    subscribe(home, coolDownSeconds=300)
    told_at: dict[str, list[float]] = {}
    happened: Counter[str] = Counter()
    for wait_s, thing in waits:
        home.clock.now_s += wait_s
        happened[thing] += 1
        if tell(home, thing=thing):
            told_at.setdefault(thing, []).append(home.clock.now_s)
    for times in told_at.values():
        assert all(later - sooner >= 300 for sooner, later in zip(times, times[1:], strict=False))
    home.clock.now_s += 301
    for thing, count in happened.items():
        assert tell(home, thing=thing) == 1
        delivered = [alert for alert, _ in home.notifier.delivered if alert.camera == thing]
        assert sum(1 + alert.merged for alert in delivered) == count + 1
