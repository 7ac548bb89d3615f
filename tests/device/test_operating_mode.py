"""What the camera is to do, at every hour, in every zone."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device.operating_mode import Watching, watching
from pinthesky.model.settings import CameraSettings, DeviceSettings, ModeSettings

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc).timestamp()

# Daylight saving of an hour and of half an hour, in both hemispheres, at midnight, never, offsets off the hour, and
# far from Greenwich on both sides.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "America/Santiago",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
]


def settings(mode: Any = "armed", window: str | None = None, zone: str | None = "UTC", until: int | None = None):
    return DeviceSettings(
        camera=CameraSettings(recording_window=window), mode=ModeSettings(mode=mode, time_zone=zone, until=until)
    )


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def records(window: str, text: str, zone: str = "UTC", fold: int = 0) -> bool:
    return watching(settings(window=window, zone=zone), at(text, zone, fold)).record_motion


# Modes


@pytest.mark.parametrize(
    "mode, expected",
    [
        ("armed", Watching(True, True, "armed", None)),
        ("away", Watching(True, True, "away", None)),
        ("home", Watching(False, True, "home", None)),
        ("privacy", Watching(False, False, "privacy", None)),
    ],
)
@pytest.mark.parametrize("wall_s", [NOON, None])
def test_each_mode_does_what_it_says(mode, expected, wall_s):
    assert watching(settings(mode), wall_s) == expected


@pytest.mark.parametrize("mode", ["home", "away", "privacy"])
def test_a_mode_with_an_end_is_armed_after_it_and_says_when_that_is(mode):
    ending = settings(mode, until=int(NOON) + 100)
    assert watching(ending, NOON).reason == mode
    assert watching(ending, NOON).changes_in_s == 100
    assert watching(ending, NOON + 99.5).changes_in_s == pytest.approx(0.5)
    assert watching(ending, NOON + 100) == Watching(True, True, "armed", None)


def test_privacy_stays_while_the_time_is_not_known():
    assert watching(settings("privacy", until=1), None) == Watching(False, False, "privacy", None)


def test_the_window_counts_as_open_while_the_time_is_not_known():
    assert watching(settings(window="3-4"), None) == Watching(True, True, "armed", None)


def test_outside_the_window_the_camera_stays_open():
    assert watching(settings(window="14-16"), NOON) == Watching(False, True, "outside_window", 7200)


def test_the_nearer_of_two_changes_is_told():
    assert watching(settings("away", window="8-13", until=int(NOON) + 60), NOON).changes_in_s == 60
    assert watching(settings("away", window="8-13", until=int(NOON) + 86_400), NOON).changes_in_s == 3600


def test_an_end_changes_nothing_for_a_camera_that_is_armed():
    assert watching(settings("armed", until=int(NOON) + 60), NOON).changes_in_s is None


# Windows


@pytest.mark.parametrize(
    "window, open_hours",
    [
        ("8-17", set(range(8, 17))),
        ("22-6", {22, 23, 0, 1, 2, 3, 4, 5}),
        ("22-24", {22, 23}),
        ("22-0", {22, 23}),
        ("24-6", set(range(6))),
        ("0-6", set(range(6))),
        ("23-1", {23, 0}),
        ("0-24", set(range(24))),
    ],
)
def test_a_window_holds_its_hours(window, open_hours):
    found = {hour for hour in range(24) if records(window, f"2026-11-21 {hour:02}:59:59")}
    assert found == open_hours


@given(st.integers(0, 24), st.integers(0, 24), st.integers(0, 86_399))
def test_a_window_and_its_complement_are_open_in_turn(first, end, second):
    if first % 24 == end % 24:
        return
    one = watching(settings(window=f"{first}-{end}"), NOON + second)
    other = watching(settings(window=f"{end}-{first}"), NOON + second)
    assert one.record_motion != other.record_motion
    assert one.changes_in_s == other.changes_in_s


def test_the_window_is_read_in_the_zone_of_the_settings():
    assert records("8-9", "2026-07-01 08:30", "Asia/Kathmandu")
    assert not watching(settings(window="8-9", zone="UTC"), at("2026-07-01 08:30", "Asia/Kathmandu")).record_motion


def test_without_a_zone_the_system_s_own_is_used(monkeypatch):
    monkeypatch.setenv("TZ", "XYZ-05:30")
    try:
        own = settings(window="17-18", zone=None)
        assert watching(own, NOON).record_motion
        assert watching(own, NOON).changes_in_s == 1800
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_hour_that_daylight_saving_skips_is_missing():
    # Berlin 2026-03-29: 02:00 becomes 03:00.
    before = at("2026-03-29 01:59:30", "Europe/Berlin")
    skipped = watching(settings(window="2-3", zone="Europe/Berlin"), before)
    assert not skipped.record_motion
    assert skipped.changes_in_s is not None
    next_day = datetime.fromtimestamp(before + skipped.changes_in_s, ZoneInfo("Europe/Berlin"))
    assert (next_day.day, next_day.hour, next_day.minute) == (30, 2, 0)
    assert watching(settings(window="22-2", zone="Europe/Berlin"), before) == Watching(True, True, "armed", 30)


def test_an_hour_that_comes_twice_counts_twice():
    # Berlin 2026-10-25: 03:00 becomes 02:00.
    assert records("2-3", "2026-10-25 02:30", "Europe/Berlin", fold=0)
    assert records("2-3", "2026-10-25 02:30", "Europe/Berlin", fold=1)
    opening = at("2026-10-25 02:00", "Europe/Berlin")
    assert watching(settings(window="2-3", zone="Europe/Berlin"), opening).changes_in_s == 7200


days = st.integers(0, 3 * 365).map(lambda day: datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(days=day))


@st.composite
def instants(draw) -> tuple[str, float]:
    """A zone and an epoch second, half of them within a day of a change of the zone's offset."""
    zone = draw(st.sampled_from(ZONES))
    day = draw(days)
    info = ZoneInfo(zone)
    if draw(st.booleans()):
        for ahead in range(370):
            later = day + timedelta(days=ahead)
            if later.astimezone(info).utcoffset() != (later + timedelta(days=1)).astimezone(info).utcoffset():
                day = later
                break
    return zone, day.timestamp() + draw(st.integers(0, 86_399))


@given(instants(), st.integers(0, 24), st.integers(0, 24))
def test_a_window_is_open_exactly_while_the_local_clock_shows_its_hours(instant, first, end):
    if first % 24 == end % 24:
        return
    zone, wall_s = instant
    hours = set()
    hour = first % 24
    while hour != end % 24:
        hours.add(hour)
        hour = (hour + 1) % 24
    shown = datetime.fromtimestamp(wall_s, ZoneInfo(zone)).hour
    assert watching(settings(window=f"{first}-{end}", zone=zone), wall_s).record_motion == (shown in hours)


@given(instants(), st.integers(0, 24), st.integers(0, 24))
def test_the_next_change_is_the_first_and_is_exact(instant, first, end):
    if first % 24 == end % 24:
        return
    zone, wall_s = instant
    device = settings(window=f"{first}-{end}", zone=zone)
    now = watching(device, wall_s)
    assert now.changes_in_s is not None
    assert 0 < now.changes_in_s <= 49 * 3600
    assert watching(device, wall_s + now.changes_in_s).record_motion != now.record_motion
    assert watching(device, wall_s + now.changes_in_s - 1).record_motion == now.record_motion
    for part in range(1, 20):
        assert watching(device, wall_s + now.changes_in_s * part / 20).record_motion == now.record_motion
