"""The timeline: density of motion, clips, and gaps with their causes."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies

from pinthesky.planes.control_plane.timeline import TimelineQuery, buckets
from pinthesky.planes.ingest import presence_events, settings_events
from tests.planes.fakes import START_S
from tests.planes.home import GARDEN, GUEST, OWNER, VIEWER, StagedHome, ask_for, problem_of
from tests.planes.recordings import add_clip, event_id, say, say_motion

HOUR_S = 3600
MS = 1000
FROM, TO = round(START_S - 2 * HOUR_S) * MS, round(START_S) * MS


@pytest.fixture
def watched(home: StagedHome) -> StagedHome:
    """A camera of three hours."""
    home.clock.now_s = START_S - 3 * HOUR_S
    home.things.registered[GARDEN] = ""
    ask_for(home, OWNER, "POST", "/cameras", {"thingName": "garden"})
    presence_events.changed(home, GARDEN, True, at_s=home.clock(), now_s=home.clock())
    home.clock.now_s = START_S
    return home


def timeline(home: StagedHome, person=VIEWER, **query):
    asked = {"startTime": FROM, "endTime": TO, "bucketSeconds": 600, **query}
    return ask_for(home, person, "GET", "/cameras/garden/timeline", **asked)


def gaps(home: StagedHome, **query):
    found = timeline(home, **query)["gaps"]
    return [(each["cause"], (each["startTime"] - FROM) // MS, (each["endTime"] - FROM) // MS) for each in found]


def test_minutes_that_the_camera_told_make_the_density(watched):
    first = FROM // 60_000
    say(watched, GARDEN, "motion_activity", minutes=[[first, 50], [first + 9, 100], [first + 10, 10], [first - 1, 100]])
    assert timeline(watched)["motion"] == [
        {"startTime": FROM, "motion": 15.0, "events": 0},
        {"startTime": FROM + 600_000, "motion": 1.0, "events": 0},
    ]
    fine = timeline(watched, bucketSeconds=30, endTime=FROM + 60_000)["motion"]
    assert [each["motion"] for each in fine] == [50.0, 50.0]


def test_of_minutes_that_nobody_told_clips_and_events_let_us_know(watched):
    start_s = START_S - 2 * HOUR_S + 60
    add_clip(watched, GARDEN, start_s + 30, event_id(1), duration="60.000")
    say_motion(watched, GARDEN, event_id(1), timestamp=start_s + 40)
    say_motion(watched, GARDEN, event_id(2), timestamp=start_s + 1800)
    add_clip(watched, GARDEN, start_s + 2500, event_id(3), trigger="manual")
    assert timeline(watched)["motion"] == [
        {"startTime": FROM, "motion": 10.0, "events": 1},
        {"startTime": FROM + 1_800_000, "motion": 0.17, "events": 1},
    ]


def test_clips_are_listed_in_order_with_what_a_timeline_shows(watched):
    later = add_clip(watched, GARDEN, START_S - 600, event_id(1), labels="cat=0.9")
    add_clip(watched, GARDEN, START_S - 3 * HOUR_S, event_id(2))
    sooner = add_clip(watched, GARDEN, START_S - 1200, event_id(3))
    found = timeline(watched)
    assert [each["video"] for each in found["clips"]] == [sooner, later]
    assert found["clips"][1] == {
        "video": later,
        "startedAt": round(START_S - 600) * MS,
        "durationSeconds": 30.0,
        "trigger": "motion",
        "starred": False,
        "labels": {"cat": 0.9},
    }
    assert found["isComplete"] is True


def test_more_clips_and_events_than_fit_are_said_to_be_missing(watched, monkeypatch):
    from pinthesky.planes.control_plane import timeline as module

    monkeypatch.setattr(module, "CLIPS_MAX", 100)
    monkeypatch.setattr(module, "EVENTS_MAX", 100)
    for number in range(101):
        add_clip(watched, GARDEN, START_S - HOUR_S + number, event_id(number))
    found = timeline(watched)
    assert (len(found["clips"]), found["isComplete"]) == (100, False)


def test_a_camera_that_was_lost_leaves_a_gap_until_it_is_back(watched):
    for connected, second in ((False, 600), (True, 1200), (False, 3000)):
        presence_events.changed(watched, GARDEN, connected, at_s=FROM / MS + second, now_s=watched.clock())
    assert gaps(watched) == [("offline", 600, 1200), ("offline", 3000, 7200)]
    assert gaps(watched, startTime=FROM + 900_000, endTime=FROM + 1_000_000) == [("offline", 900, 1000)]


def test_gaps_are_the_same_in_whatever_order_a_broker_tells_of_them(watched):
    for connected, second in ((False, 600), (False, 3000), (True, 1200), (False, 600)):
        presence_events.changed(watched, GARDEN, connected, at_s=FROM / MS + second, now_s=watched.clock())
    assert gaps(watched) == [("offline", 600, 1200), ("offline", 3000, 7200)]


def test_a_gap_ends_now_since_nobody_knows_what_comes(watched):
    presence_events.changed(watched, GARDEN, False, at_s=START_S - 60, now_s=START_S)
    assert gaps(watched, endTime=TO + HOUR_S * MS) == [("offline", 7140, 7200)]
    assert timeline(watched, startTime=TO + 1, endTime=TO + 2000)["gaps"] == []


def test_before_a_camera_was_known_nothing_is(watched):
    assert gaps(watched, startTime=FROM - 2 * HOUR_S * MS) == [("unknown", -7200, -3600)]


def test_the_more_telling_cause_is_told_where_several_hold(watched):
    presence_events.changed(watched, GARDEN, False, at_s=FROM / MS + 1000, now_s=watched.clock())
    say(watched, GARDEN, "camera_fault", reason="no frames", timestamp=FROM / MS + 900)
    say(watched, GARDEN, "camera_fault", reason="", recovered=True, timestamp=FROM / MS + 1100)
    presence_events.changed(watched, GARDEN, True, at_s=FROM / MS + 1300, now_s=watched.clock())
    assert gaps(watched) == [("fault", 900, 1100), ("offline", 1100, 1300)]


def test_privacy_ends_when_it_was_to_end_or_is_ended(watched):
    def report(second: int, **mode: object) -> None:
        settings_events.reported(watched, GARDEN, {"mode": mode}, at_ms=FROM + second * MS, now_s=FROM / MS + second)

    report(100, mode="privacy", until=FROM // MS + 400)
    report(150, mode="privacy", until=FROM // MS + 400)
    report(1000, mode="privacy", until=None)
    report(1500, mode="home")
    report(2000, mode="privacy", until=FROM // MS + 9000)
    report(2200, mode="privacy")
    report(2300, mode="armed")
    assert gaps(watched) == [("privacy", 100, 400), ("privacy", 1000, 1500), ("privacy", 2000, 2300)]


def test_privacy_is_noted_when_the_camera_applies_the_mode_that_was_desired(watched):
    watched.clock.now_s = FROM / MS + 100
    watched.shadows.desire(GARDEN, {"mode": {"mode": "privacy"}})
    say(watched, GARDEN, "settings_applied", fingerprint="f1", applied=["mode"], rejected={})
    watched.clock.now_s = FROM / MS + 200
    watched.shadows.desire(GARDEN, {"mode": {"mode": "armed"}})
    say(watched, GARDEN, "settings_applied", fingerprint="f2", applied=["camera"], rejected={"mode.until": "past"})
    watched.clock.now_s = FROM / MS + 300
    say(watched, GARDEN, "settings_applied", fingerprint="f3", applied=["mode"], rejected={})
    watched.clock.now_s = START_S
    assert gaps(watched) == [("privacy", 100, 300)]


def test_privacy_of_which_no_news_came_is_seen_with_the_next_health_report(watched):
    watched.clock.now_s = FROM / MS + 500
    watched.shadows.report(GARDEN, {"mode": {"mode": "privacy"}})
    say(watched, GARDEN, "health_end", version="1")
    watched.clock.now_s = START_S
    assert gaps(watched) == [("privacy", 500, 7200)]


@pytest.mark.parametrize(
    "query, field",
    [
        ({"endTime": FROM}, "endTime"),
        ({"endTime": FROM + 32 * 86_400_000}, "endTime"),
        ({"bucketSeconds": 1}, "bucketSeconds"),
        ({"bucketSeconds": 0}, "bucketSeconds"),
        ({"startTime": -1}, "startTime"),
    ],
)
def test_a_range_that_cannot_be_drawn_is_refused_with_its_field(watched, query, field):
    asked = {"startTime": FROM, "endTime": TO, "bucketSeconds": 600, **query}
    assert problem_of(watched, OWNER, "GET", "/cameras/garden/timeline", **asked) == (400, field)


def test_a_camera_that_is_not_seen_has_no_timeline(watched):
    assert problem_of(watched, GUEST, "GET", "/cameras/garden/timeline", startTime=1, endTime=2)[0] == 404
    assert problem_of(watched, OWNER, "GET", "/cameras/nothing/timeline", startTime=1, endTime=2)[0] == 404


@hypothesis.given(
    width=strategies.integers(1, 700),
    length=strategies.integers(1, 5_000_000),
    cuts=strategies.lists(strategies.integers(-1000, 6_000_000), min_size=2, max_size=12, unique=True),
)
def test_buckets_hold_all_motion_and_no_more(width, length, cuts):
    query = TimelineQuery(start_time=1000, end_time=1000 + length, bucket_seconds=width)
    edges = sorted(cuts)
    moving = [(float(one), float(other), 1.0) for one, other in zip(edges[::2], edges[1::2], strict=False)]
    found = buckets(query, moving, [])
    expected = sum(max(0.0, min(other, 1000 + length) - max(one, 1000)) for one, other, _ in moving)
    total = sum(
        bucket.motion / 100 * (min(bucket.start_time + width * 1000, query.end_time) - bucket.start_time)
        for bucket in found
    )
    assert total == pytest.approx(expected, abs=length * 1e-4 + 1)
    assert all(0 <= bucket.motion <= 100 for bucket in found)
