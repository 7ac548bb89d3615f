"""The density of motion that the timeline shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device.fakes import FakeClock
from pinthesky.device.motion_activity import EVERY_S, ActivityLog
from pinthesky.device.timekeeping import TimeKeeper

MINUTE = 30_000_000  # an epoch minute
ZERO_S = MINUTE * 60.0
DAY_S = 86_400.0


class Scene:
    """An activity log whose clock shows the beginning of MINUTE at monotonic second 0."""

    def __init__(self, state: Path, *, wall: float = ZERO_S) -> None:
        self.clock = FakeClock(wall, monotonic=0.0, synchronised=True)
        self.log = ActivityLog(TimeKeeper(self.clock, state), thing_name="garden")

    def move(self, start_s: float, end_s: float) -> None:
        self.log.began(start_s)
        self.log.ended(end_s)

    def told_at(self, monotonic_s: float) -> dict[int, int]:
        """Minutes since MINUTE and their percent."""
        self.clock.advance(monotonic_s - self.clock.monotonic())
        event = self.log.collect()
        return {} if event is None else {minute - MINUTE: percent for minute, percent in event.minutes}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "time.json")


def test_each_minute_tells_its_share_of_motion(scene):
    scene.move(0, 30)
    scene.move(45, 60)
    scene.move(90, 150)
    assert scene.told_at(300) == {0: 75, 1: 50, 2: 50}


def test_the_event_says_who_and_when(scene):
    scene.move(0, 6)
    scene.clock.advance(300)
    event = scene.log.collect()
    assert event is not None
    assert (event.thing_name, event.timestamp, event.minutes) == ("garden", ZERO_S + 300, [[MINUTE, 10]])


def test_a_minute_is_told_once_and_only_when_it_has_ended(scene):
    scene.move(50, 70)
    assert scene.told_at(75) == {0: 17}
    scene.move(80, 90)
    assert scene.told_at(119) == {}
    assert scene.told_at(120) == {1: 33}
    assert scene.told_at(500) == {}


def test_motion_that_goes_on_is_told_as_far_as_it_is(scene):
    scene.log.began(30)
    assert scene.told_at(130) == {0: 50, 1: 100}
    scene.log.ended(150)
    assert scene.told_at(240) == {2: 50}


def test_the_shortest_motion_is_seen(scene):
    scene.move(10, 10.1)
    assert scene.told_at(60) == {0: 1}


@pytest.mark.parametrize("calls", [["ended"], ["began", "began", "ended"], ["began", "ended", "ended"]])
def test_a_repeated_or_unpaired_call_does_no_harm(scene, calls):
    for number, name in enumerate(calls):
        getattr(scene.log, name)(float(number))
    assert set(scene.told_at(60)) <= {0}


def test_it_is_due_every_five_minutes(scene):
    assert scene.log.due_in() == EVERY_S
    scene.clock.advance(EVERY_S + 10)
    assert scene.log.due_in() == 0
    scene.log.collect()
    assert scene.log.due_in() == EVERY_S


def test_minutes_wait_until_the_time_is_known(tmp_path):
    scene = Scene(tmp_path / "time.json", wall=5.0)
    scene.move(0, 30)
    assert scene.told_at(300) == {}
    scene.clock.set_wall(ZERO_S + 300)
    assert scene.told_at(310) == {0: 50}


def test_what_waited_for_more_than_a_day_is_forgotten(tmp_path):
    scene = Scene(tmp_path / "time.json", wall=5.0)
    scene.move(0, 30)
    scene.log.began(60)
    assert scene.told_at(DAY_S + 90) == {}
    scene.clock.set_wall(ZERO_S + DAY_S + 90)
    told = scene.told_at(DAY_S + 120)
    assert min(told) == 2
    assert len(told) == 1440


def test_a_day_of_flickering_stays_small(tmp_path):
    scene = Scene(tmp_path / "time.json", wall=5.0)
    for second in range(0, int(DAY_S), 2):
        scene.move(second, second + 1)
    assert len(scene.log._past) <= 4096


@given(
    st.lists(st.tuples(st.floats(0.05, 200), st.floats(0.05, 200)), max_size=12),
    st.lists(st.floats(1, 400), max_size=8),
    st.floats(0, 59.9),
)
def test_all_motion_is_told_whenever_it_is_asked_for(tmp_path_factory, spans, asks, offset_s):
    """However often it is collected, the minutes add up to the seconds that were in motion."""
    scene = Scene(tmp_path_factory.mktemp("activity") / "time.json", wall=ZERO_S + offset_s)
    edges = []
    at_s = 0.0
    for pause_s, motion_s in spans:
        edges += [(at_s + pause_s, "began"), (at_s + pause_s + motion_s, "ended")]
        at_s += pause_s + motion_s
    ask_s = 0.0
    for wait_s in asks:
        ask_s += wait_s
        edges.append((ask_s, "ask"))
    told: dict[int, int] = {}
    for when_s, what in [*sorted(edges), (max(at_s, ask_s) + 120, "ask")]:
        if what == "ask":
            for minute, percent in scene.told_at(when_s).items():
                assert minute not in told
                told[minute] = percent
        else:
            scene.clock.advance(when_s - scene.clock.monotonic())
            getattr(scene.log, what)(when_s)
    in_motion_s = sum(motion_s for _, motion_s in spans)
    assert sum(told.values()) * 0.6 == pytest.approx(in_motion_s, abs=0.61 * max(1, len(told)))
    assert all(1 <= percent <= 100 for percent in told.values())
