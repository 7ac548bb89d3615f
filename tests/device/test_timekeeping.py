"""What the time keeper believes of a clock, and what time it gives to what was recorded."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device import timekeeping
from pinthesky.device.fakes import FakeClock
from pinthesky.device.timekeeping import TimeKeeper
from pinthesky.model.recording import Moment

T0 = 1_800_000_000.0
HOUR = 3600.0
THE_70S = 12.0


def a_boot(name: str, *, wall: float = T0, uptime: float = 20.0, synchronised: bool = False) -> FakeClock:
    clock = FakeClock(wall, monotonic=uptime, synchronised=synchronised)
    clock.boot_id = name
    return clock


def lived_until(state: Path, wall: float) -> None:
    """Let a synchronised boot save its time and end."""
    TimeKeeper(a_boot("before", wall=wall, synchronised=True), state).tick()


def seen(state: Path) -> float | None:
    return json.loads(state.read_text())["seen_s"]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "time.json"


# Trust


def test_a_synchronised_clock_is_trusted_even_if_it_is_earlier_than_what_was_seen(state):
    lived_until(state, T0 + HOUR)
    assert TimeKeeper(a_boot("now", wall=T0, synchronised=True), state).now().wall_s == T0


def test_the_first_start_trusts_a_plausible_clock(state):
    assert TimeKeeper(a_boot("first"), state).trusted


@pytest.mark.parametrize("wall", [THE_70S, timekeeping.EARLIEST_S - 1, timekeeping.LATEST_S + 1])
def test_an_implausible_clock_is_not_trusted_whoever_vouches_for_it(state, wall):
    assert not TimeKeeper(a_boot("first", wall=wall, synchronised=True), state).trusted


def test_a_clock_that_ran_on_while_the_power_was_off_is_trusted(state):
    lived_until(state, T0)
    assert TimeKeeper(a_boot("now", wall=T0 + HOUR), state).trusted


def test_a_clock_that_went_on_from_where_it_was_saved_is_not_trusted(state):
    lived_until(state, T0)
    clock = a_boot("now", wall=T0 + 50, uptime=20)
    keeper = TimeKeeper(clock, state)
    clock.advance(300)
    assert keeper.now().wall_s is None


def test_a_clock_becomes_right_when_the_network_sets_it(state):
    lived_until(state, T0)
    clock = a_boot("now", wall=THE_70S)
    keeper = TimeKeeper(clock, state)
    assert keeper.now().wall_s is None
    clock.set_wall(T0 + 10 * HOUR)
    clock.is_synchronised = True
    assert keeper.now().wall_s == T0 + 10 * HOUR


def test_trust_survives_a_restart_of_the_daemon_without_any_network(state):
    clock = a_boot("one", synchronised=True)
    TimeKeeper(clock, state).tick()
    clock.advance(5)
    clock.is_synchronised = False
    assert TimeKeeper(clock, state).now().wall_s == T0 + 5


def test_a_past_reading_of_the_monotonic_clock_has_its_moment(state):
    keeper = TimeKeeper(a_boot("one", synchronised=True), state)
    assert keeper.at(15.0) == Moment(boot_id="one", monotonic_s=15.0, wall_s=T0 - 5)
    assert keeper.synchronised


def test_trust_is_said_once(state, caplog):
    caplog.set_level(logging.INFO)
    clock = a_boot("now", wall=THE_70S)
    keeper = TimeKeeper(clock, state)
    clock.set_wall(T0)
    for _ in range(3):
        keeper.tick()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


# Steps of the clock


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_time_server_that_corrects_the_clock_is_followed_at_once(state, step):
    clock = a_boot("one", synchronised=True)
    keeper = TimeKeeper(clock, state)
    clock.set_wall(T0 + step)
    assert keeper.now().wall_s == T0 + step


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_person_who_sets_the_clock_is_followed_after_a_minute(state, step):
    clock = a_boot("one")
    keeper = TimeKeeper(clock, state)
    clock.set_wall(T0 + step)
    assert keeper.now().wall_s == pytest.approx(T0)
    clock.advance(59)
    assert keeper.now().wall_s == pytest.approx(T0 + 59)
    clock.advance(2)
    assert keeper.now().wall_s == pytest.approx(T0 + step + 61)


def test_a_clock_that_is_set_again_and_again_must_stand_first(state):
    clock = a_boot("one")
    keeper = TimeKeeper(clock, state)
    for minutes in range(1, 4):
        clock.set_wall(T0 + minutes * HOUR)
        keeper.tick()
        clock.advance(40)
    assert keeper.now().wall_s == pytest.approx(T0 + 120)


def test_a_clock_that_falls_back_to_the_seventies_changes_nothing(state):
    clock = a_boot("one", synchronised=True)
    keeper = TimeKeeper(clock, state)
    clock.set_wall(THE_70S)
    clock.advance(HOUR)
    assert keeper.now().wall_s == T0 + HOUR


def test_a_moment_keeps_its_wall_time_when_the_clock_is_set_back(state):
    clock = a_boot("one", synchronised=True)
    keeper = TimeKeeper(clock, state)
    start = keeper.now()
    clock.advance(30)
    clock.set_wall(T0 - HOUR)
    resolved = keeper.resolve(start.later(30))
    assert resolved is not None
    assert resolved.moment.wall_s == T0 + 30


def test_a_thread_that_is_suspended_between_two_readings_makes_no_step(state):
    class Suspended(FakeClock):
        pauses = 0

        def wall(self) -> float:
            found = super().wall()
            if self.pauses:
                self.pauses -= 1
                self.advance(3)
            return found

    clock = Suspended(T0, monotonic=20.0)
    keeper = TimeKeeper(clock, state)
    clock.pauses = 2
    assert keeper.now().wall_s == pytest.approx(T0 + 6)


# What is on the disk


def test_an_untrusted_clock_never_moves_the_last_time_seen(state):
    lived_until(state, T0)
    clock = a_boot("now", wall=T0 + 30)
    keeper = TimeKeeper(clock, state)
    for _ in range(20):
        clock.advance(60)
        keeper.tick()
    assert seen(state) == T0


def test_a_synchronised_clock_takes_back_a_time_seen_that_was_too_late(state):
    lived_until(state, T0 + 1000 * HOUR)
    keeper = TimeKeeper(a_boot("now", synchronised=True), state)
    keeper.tick()
    assert seen(state) == T0


def test_the_disk_is_written_once_a_minute(state):
    clock = a_boot("one")
    keeper = TimeKeeper(clock, state)
    keeper.tick()
    first = state.stat().st_ino
    clock.advance(59)
    keeper.tick()
    assert seen(state) == T0
    clock.advance(1)
    keeper.tick()
    assert seen(state) == T0 + 60
    assert state.stat().st_ino != first


def test_a_clock_that_became_right_is_written_at_once(state):
    clock = a_boot("now", wall=THE_70S)
    keeper = TimeKeeper(clock, state)
    keeper.tick()
    clock.set_wall(T0)
    keeper.tick()
    assert seen(state) == T0


@pytest.mark.parametrize("content", [b"", b"{", b'{"seen_s": "x"}', b'{"seen_s": 5}', b"\xff", b'{"boots": [{}]}'])
def test_a_state_file_that_cannot_be_read_still_says_by_its_date_what_has_been(state, content):
    state.write_bytes(content)
    os.utime(state, (T0, T0))
    assert not TimeKeeper(a_boot("now", wall=T0 - HOUR), state).trusted
    assert TimeKeeper(a_boot("now", wall=T0 + HOUR), state).trusted


def test_a_state_file_that_is_a_folder_leaves_trust_to_the_kernel(state):
    state.mkdir()
    os.utime(state, (T0, T0))
    assert not TimeKeeper(a_boot("now", wall=T0 - HOUR), state).trusted


def test_a_disk_that_refuses_is_told_once_and_once_when_it_takes_again(tmp_path, caplog):
    caplog.set_level(logging.INFO, "pinthesky.device.timekeeping")
    clock = a_boot("one")
    keeper = TimeKeeper(clock, tmp_path / "missing" / "time.json")
    keeper.save()
    keeper.save()
    (tmp_path / "missing").mkdir()
    keeper.save()
    keeper.save()
    texts = [record.getMessage() for record in caplog.records if "save" in record.getMessage()]
    assert len(texts) == 2
    assert "Cannot save" in texts[0]
    assert "again" in texts[1]


def test_boots_are_remembered_to_a_bound(state):
    for number in range(40):
        TimeKeeper(a_boot(f"boot {number}"), state).save()
    boots = json.loads(state.read_text())["boots"]
    assert [boot["boot_id"] for boot in boots] == [f"boot {number}" for number in range(24, 40)]


# Resolving


def test_what_was_recorded_before_the_time_was_known_gets_it_exactly(state):
    clock = a_boot("one", wall=THE_70S)
    keeper = TimeKeeper(clock, state)
    moment = keeper.now()
    assert keeper.resolve(moment) is None
    clock.advance(90)
    clock.set_wall(T0)
    assert keeper.resolve(moment) == (Moment(boot_id="one", monotonic_s=20.0, wall_s=T0 - 90), False)


def test_a_boot_that_learned_the_time_later_gives_it_to_what_it_left(state):
    clock = a_boot("one", wall=THE_70S)
    keeper = TimeKeeper(clock, state)
    moment = keeper.now()
    clock.advance(90)
    clock.set_wall(T0)
    keeper.save()
    following = TimeKeeper(a_boot("two", wall=THE_70S), state)
    assert following.resolve(moment) == (Moment(boot_id="one", monotonic_s=20.0, wall_s=T0 - 90), False)


def test_a_boot_that_never_learned_the_time_is_taken_to_end_where_the_next_began(state):
    lived_until(state, T0 - 100 * HOUR)
    for name in ("dark", "darker"):
        clock = a_boot(name, wall=THE_70S, uptime=0)
        keeper = TimeKeeper(clock, state)
        clock.advance(600)
        keeper.save()
    keeper = TimeKeeper(a_boot("light", uptime=20, synchronised=True), state)
    in_dark = keeper.resolve(Moment(boot_id="dark", monotonic_s=500))
    in_darker = keeper.resolve(Moment(boot_id="darker", monotonic_s=500))
    assert in_dark == (Moment(boot_id="dark", monotonic_s=500, wall_s=T0 - 20 - 600 - 100), True)
    assert in_darker == (Moment(boot_id="darker", monotonic_s=500, wall_s=T0 - 20 - 100), True)


def test_a_boot_of_known_time_bounds_the_dark_one_before_it(state):
    clock = a_boot("dark", wall=THE_70S, uptime=0)
    keeper = TimeKeeper(clock, state)
    clock.advance(600)
    keeper.save()
    TimeKeeper(a_boot("light", wall=T0, uptime=50, synchronised=True), state).save()
    keeper = TimeKeeper(a_boot("now", wall=T0 + 500 * HOUR, synchronised=True), state)
    resolved = keeper.resolve(Moment(boot_id="dark", monotonic_s=600))
    assert resolved is not None
    assert resolved.moment.wall_s == T0 - 50


def test_moments_of_a_boot_nobody_remembers_keep_their_order(state):
    keeper = TimeKeeper(a_boot("now", synchronised=True), state)
    walls = []
    for seconds in (10, 11, 4000):
        resolved = keeper.resolve(Moment(boot_id="lost", monotonic_s=seconds))
        assert resolved is not None
        assert resolved.uncertain
        assert resolved.moment.wall_s is not None
        walls.append(resolved.moment.wall_s)
    assert walls[1] - walls[0] == 1
    assert walls[2] - walls[0] == 3990
    assert walls[2] < T0


def test_a_clock_that_nothing_ever_confirms_is_used_after_ten_minutes_and_marked(state):
    lived_until(state, T0)
    clock = a_boot("now", wall=T0 + 40, uptime=20)
    keeper = TimeKeeper(clock, state)
    moment = keeper.now()
    clock.advance(570)
    assert keeper.resolve(moment) is None
    clock.advance(20)
    assert keeper.resolve(moment) == (Moment(boot_id="now", monotonic_s=20.0, wall_s=T0 + 40), True)
    assert keeper.now().wall_s is None


def test_a_clock_in_the_seventies_is_never_used(state):
    clock = a_boot("now", wall=THE_70S)
    keeper = TimeKeeper(clock, state)
    clock.advance(100 * HOUR)
    assert keeper.resolve(Moment(boot_id="now", monotonic_s=30)) is None
    assert keeper.resolve(Moment(boot_id="lost", monotonic_s=30)) is None


@given(
    st.lists(
        st.tuples(
            st.floats(0, 2 * HOUR),
            st.sampled_from([None, HOUR, -HOUR, 0.1, -0.1, 5e8, -1.9e9]),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_whatever_the_clock_does_an_event_keeps_its_order_and_trust_is_never_lost(steps):
    """Each step lets time pass, sets the clock or not, and has it synchronised or not."""
    with tempfile.TemporaryDirectory() as folder:
        clock = a_boot("one", synchronised=True)
        keeper = TimeKeeper(clock, Path(folder) / "time.json")
        start = keeper.now()
        parts = [start]
        for passes, step, synchronised in steps:
            clock.advance(passes)
            if step is not None:
                clock.set_wall(clock.wall() + step)
            clock.is_synchronised = synchronised
            keeper.tick()
            now = keeper.now()
            assert now.wall_s is not None
            assert now.wall_s >= timekeeping.EARLIEST_S
            resolved = keeper.resolve(start.later(now.monotonic_s - start.monotonic_s))
            assert resolved is not None
            parts.append(resolved.moment)
            if synchronised and timekeeping.EARLIEST_S <= clock.wall() <= timekeeping.LATEST_S:
                assert abs(now.wall_s - clock.wall()) < 0.3
    walls = [part.wall_s for part in parts]
    assert all(
        earlier is not None and later is not None and earlier <= later for earlier, later in zip(walls, walls[1:])
    )


@given(st.lists(st.tuples(st.floats(0, HOUR), st.sampled_from([None, THE_70S, T0 - HOUR, T0 + 1])), max_size=20))
def test_no_untrusted_clock_moves_what_was_seen(steps):
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "time.json"
        lived_until(state, T0 + 1000 * HOUR)
        clock = a_boot("dark", wall=T0)
        keeper = TimeKeeper(clock, state)
        for passes, wall in steps:
            clock.advance(passes)
            if wall is not None:
                clock.set_wall(wall)
            keeper.tick()
        keeper.save()
        assert seen(state) == T0 + 1000 * HOUR
