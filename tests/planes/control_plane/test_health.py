"""Health reports: what cameras send, and what people are shown of it."""

from __future__ import annotations

import itertools
import json

import pytest

from pinthesky.errors import Conflict, Unavailable
from pinthesky.planes.records import health
from pinthesky.planes.table import Key
from tests.planes.home import (
    GARDEN,
    GATE,
    GUEST,
    HALL,
    MEMBER,
    OWNER,
    VIEWER,
    StagedHome,
    ask,
    ask_for,
    list_all,
    problem_of,
)

DAY_S = 86_400


def send(home: StagedHome, thing=GARDEN, *, age_s: float | None = 0, **fields: object) -> int:
    """What a camera sends; returns the time of it."""
    timestamp = None if age_s is None else home.clock() - age_s
    document = {"name": "health_end", "thing_name": thing, "timestamp": timestamp, **fields}
    return home.health.report(thing, json.loads(json.dumps(document)), home.clock.now_ms).timestamp


def times(items: list[dict[str, int]]) -> list[int]:
    return [item["timestamp"] for item in items]


def test_the_latest_report_of_every_camera_is_listed(fleet: StagedHome):
    send(fleet, HALL, age_s=5, version="1.0")
    send(fleet, GARDEN, age_s=60, version="1.0")
    send(fleet, GARDEN, age_s=10, version="1.1", disk_free=7)
    latest = list_all(fleet, VIEWER, "/stats", limit=1)
    assert [(item["thingName"], item["report"]) for item in latest] == [
        (GARDEN, {"version": "1.1", "disk_free": 7}),
        (HALL, {"version": "1.0"}),
    ]
    assert latest[0]["timestamp"] == fleet.clock.now_ms - 10_000


def test_a_viewer_of_a_group_is_told_of_its_cameras_alone(fleet: StagedHome):
    for thing in (GARDEN, GATE, HALL):
        send(fleet, thing)
    assert [item["thingName"] for item in list_all(fleet, GUEST, "/stats", limit=1)] == [GARDEN, GATE]


def test_a_report_that_arrives_late_is_not_the_latest(fleet: StagedHome):
    send(fleet, age_s=10, version="new")
    late = send(fleet, age_s=60, version="old")
    (latest,) = ask_for(fleet, OWNER, "GET", "/stats")["items"]
    assert latest["report"] == {"version": "new"}
    assert ask_for(fleet, OWNER, "GET", f"/cameras/garden/stats/{late}")["report"] == {"version": "old"}


def test_a_report_that_is_heard_twice_is_one(fleet: StagedHome):
    send(fleet, age_s=10, version="1.0")
    send(fleet, age_s=10, version="1.0")
    assert len(ask_for(fleet, OWNER, "GET", "/cameras/garden/stats")["items"]) == 1


@pytest.mark.parametrize("age_s", [None, -61, -1e12])
def test_a_report_without_a_right_time_was_made_when_it_arrived(fleet: StagedHome, age_s):
    assert send(fleet, age_s=age_s) == fleet.clock.now_ms


@pytest.mark.parametrize("timestamp", [True, "soon", -5, [1], 1e300])
def test_a_time_that_is_none_is_that_of_the_arrival(fleet: StagedHome, timestamp):
    stored = fleet.health.report(GARDEN, {"timestamp": timestamp}, fleet.clock.now_ms)
    assert stored.timestamp == fleet.clock.now_ms


def test_a_clock_that_is_slightly_ahead_is_believed(fleet: StagedHome):
    assert send(fleet, age_s=-30) == fleet.clock.now_ms + 30_000


def test_what_is_no_field_of_a_report_is_left_out_and_the_rest_is_kept(fleet: StagedHome):
    send(
        fleet,
        version="1.0",
        cpu_used=101,
        disk_free=-1,
        cpu_temp="hot",
        mem_free=10**400,
        ip_addr="x" * 1000,
        battery_percent=None,
        camera_capabilities={"controls": "AwbMode"},
        hologram={"a": 1},
    )
    (report,) = ask_for(fleet, OWNER, "GET", "/stats")["items"]
    assert report["report"] == {"version": "1.0", "camera_capabilities": {"controls": "AwbMode"}}


def test_reports_are_listed_the_latest_first_or_the_other_way_round(fleet: StagedHome):
    sent = [send(fleet, age_s=age) for age in (40, 30, 20, 10)]
    assert times(list_all(fleet, GUEST, "/cameras/garden/stats", limit=3)) == sent[::-1]
    assert times(list_all(fleet, GUEST, "/cameras/garden/stats", limit=3, sortOrder="ascending")) == sent
    within = {"startTime": sent[1], "endTime": sent[2]}
    assert times(list_all(fleet, GUEST, "/cameras/garden/stats", limit=1, **within)) == sent[2:0:-1]
    assert times(list_all(fleet, GUEST, "/cameras/garden/stats", startTime=sent[3])) == sent[3:]


@pytest.mark.parametrize(
    "query, field",
    [
        ({"startTime": 2, "endTime": 1}, "endTime"),
        ({"startTime": -1}, "startTime"),
        ({"endTime": 10**13}, "endTime"),
        ({"sortOrder": "up"}, "sortOrder"),
        ({"limit": 101}, "limit"),
        ({"nextToken": "forged"}, "nextToken"),
    ],
)
def test_a_list_of_reports_names_the_parameter_that_is_wrong(fleet: StagedHome, query, field):
    assert problem_of(fleet, OWNER, "GET", "/cameras/garden/stats", **query) == (400, field)


def test_a_token_holds_good_for_its_own_range_and_order(fleet: StagedHome):
    for age in (30, 20, 10):
        send(fleet, age_s=age)
    token = ask_for(fleet, OWNER, "GET", "/cameras/garden/stats", limit=1)["nextToken"]
    for query in ({"sortOrder": "ascending"}, {"startTime": 1}):
        status = problem_of(fleet, OWNER, "GET", "/cameras/garden/stats", nextToken=token, **query)
        assert status == (400, "nextToken")


@pytest.mark.parametrize("timestamp, status", [("1799999999999", 404), ("now", 400), ("1" * 14, 400)])
def test_a_report_that_is_not_there_is_not_found(fleet: StagedHome, timestamp, status):
    assert problem_of(fleet, OWNER, "GET", f"/cameras/garden/stats/{timestamp}")[0] == status


def test_a_camera_is_asked_for_a_report(fleet: StagedHome):
    status, answer = ask(fleet, MEMBER, "POST", "/cameras/garden/stats")
    assert (status, answer) == (202, {"requestedAt": fleet.clock.now_ms, "online": False})
    assert fleet.commands.sent == [(GARDEN, {"name": "health", "context": {}})]
    assert problem_of(fleet, GUEST, "POST", "/cameras/garden/stats")[0] == 403


def test_reports_go_with_time_and_the_latest_stays(fleet: StagedHome):
    send(fleet, age_s=DAY_S)
    sent = send(fleet, version="1.0")
    fleet.clock.now_s += 90 * DAY_S - 1
    assert times(ask_for(fleet, OWNER, "GET", "/cameras/garden/stats")["items"]) == [sent]
    fleet.clock.now_s += 1
    assert ask_for(fleet, OWNER, "GET", "/cameras/garden/stats")["items"] == []
    assert times(ask_for(fleet, OWNER, "GET", "/stats")["items"]) == [sent]


def test_reports_are_kept_for_ever_where_that_is_wanted(fleet: StagedHome):
    kept = health.HealthReports(fleet.table, None)
    kept.report(GARDEN, {"version": "1.0"}, fleet.clock.now_ms)
    fleet.clock.now_s += 10_000 * DAY_S
    assert len(kept.page(GARDEN, limit=10).rows) == 1


def test_of_two_reports_at_once_the_later_one_is_the_latest(fleet: StagedHome, monkeypatch):
    write = fleet.table.write

    def overtaken(*changes):
        monkeypatch.undo()
        send(fleet, age_s=5, version="new")
        return write(*changes)

    monkeypatch.setattr(fleet.table, "write", overtaken)
    send(fleet, age_s=10, version="old")
    (latest,) = ask_for(fleet, OWNER, "GET", "/stats")["items"]
    assert latest["report"] == {"version": "new"}
    assert len(ask_for(fleet, OWNER, "GET", "/cameras/garden/stats")["items"]) == 2


def test_reports_that_never_come_to_rest_are_an_error(fleet: StagedHome, monkeypatch):
    def overtaken(*_):
        raise Conflict("version")

    monkeypatch.setattr(fleet.table, "write", overtaken)
    with pytest.raises(Unavailable):
        send(fleet)


def test_reports_are_forgotten_until_a_time_and_so_many_at_once(fleet: StagedHome, monkeypatch):
    monkeypatch.setattr(health, "FORGET_MAX", 200)
    times_ms = [fleet.clock.now_ms + number for number in range(250)]
    for start in range(0, 250, 50):
        batch = itertools.islice(times_ms, start, start + 50)
        for at_ms in batch:
            fleet.health.add(GARDEN, at_ms, {}, expires_at_s=None)
    assert fleet.health.forget_camera(GARDEN, times_ms[-2]) is False
    assert fleet.health.forget_camera(GARDEN, times_ms[-2]) is True
    assert [row.timestamp for row in fleet.health.page(GARDEN, limit=10).rows] == [times_ms[-1]]
    assert fleet.table.get(Key("health", "garden")) is not None
    assert fleet.health.forget_camera(GARDEN, times_ms[-1]) is True
    assert fleet.health.latest([GARDEN]) == []
    assert fleet.health.forget_camera(GATE, times_ms[-1]) is True
