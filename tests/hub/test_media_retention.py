"""What has to go, and what stays."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.hub.media_folder import NoRoom
from pinthesky.hub.media_record import Address
from pinthesky.hub.media_retention import DAY_S, MediaRetention, RetentionLimits, free_bytes
from tests.support.aws_servers import wait_until
from tests.support.hub_media import MediaBench, clip_address

MB = 1024 * 1024
LATEST = Address("capture_images", "garden", "thumbnail_latest.jpg")


def clip(number: int) -> Address:
    return clip_address(number=number)


class Keeper:
    """A folder whose disk has as much left as a test says."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        self.bench = MediaBench(folder)
        self.disk = 10**12
        values = {"max_age_days": None, "min_free_bytes": 0, **limits}
        self.retention = MediaRetention(
            self.bench.folder,
            RetentionLimits(**values),
            clock=self.bench.clock,
            free=lambda _: self.disk - self.bench.index.usage().size,
            every_s=0.01,
        )

    def fill(self, *numbers: int, size: int = MB, **more: Any) -> None:
        for number in numbers:
            self.bench.store(clip(number), bytes(size), **more)
            self.bench.clock.ahead_s += 1

    def admit(self, size: int) -> None:
        self.retention.admit(size).discard()

    def kept(self) -> list[int]:
        return sorted(int(record.address.name.split("-")[1][:32], 16) for record in self.bench.index.page().records)


def test_the_oldest_make_room_within_maxspace(tmp_path: Path):
    keeper = Keeper(tmp_path, max_bytes=4 * MB)
    keeper.fill(1, 2, 3, 4)
    keeper.admit(1)
    assert keeper.kept() == [2, 3, 4]
    keeper.admit(2 * MB)
    assert keeper.kept() == [3, 4]
    assert (keeper.retention.removed_objects, keeper.retention.removed_bytes) == (2, 2 * MB)


def test_what_fits_removes_nothing(tmp_path: Path):
    keeper = Keeper(tmp_path, max_bytes=4 * MB)
    keeper.fill(1, 2)
    keeper.admit(2 * MB)
    assert keeper.kept() == [1, 2]


def test_what_is_on_its_way_counts(tmp_path: Path):
    keeper = Keeper(tmp_path, max_bytes=4 * MB)
    keeper.fill(1, 2)
    first, second = keeper.retention.admit(2 * MB), keeper.retention.admit(MB)
    assert keeper.kept() == [2]
    first.discard()
    second.discard()


def test_the_disk_keeps_its_minimum_free(tmp_path: Path):
    keeper = Keeper(tmp_path, min_free_bytes=10 * MB)
    keeper.fill(1, 2, 3)
    keeper.disk = 12 * MB
    keeper.admit(MB)
    assert keeper.kept() == [3]


def test_the_starred_stay(tmp_path: Path):
    keeper = Keeper(tmp_path, max_bytes=3 * MB)
    keeper.fill(1, tags={})
    keeper.fill(2, 3)
    keeper.admit(2 * MB)
    assert keeper.kept() == [1]


def test_the_latest_still_stays(tmp_path: Path):
    keeper = Keeper(tmp_path, max_age_days=1)
    keeper.bench.store(LATEST, b"picture")
    keeper.bench.clock.ahead_s = 400 * DAY_S
    keeper.retention.sweep()
    assert keeper.bench.content(LATEST) == b"picture"


def test_where_only_starred_are_left_nothing_is_removed_and_the_newcomer_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    keeper = Keeper(tmp_path, max_bytes=3 * MB)
    keeper.fill(1, 2, tags={})
    keeper.fill(3)
    for _ in range(2):
        with pytest.raises(NoRoom):
            keeper.admit(2 * MB)
    assert keeper.kept() == [1, 2, 3]
    assert sum("No room" in line for line in caplog.messages) == 1
    keeper.bench.folder.star(clip(1).key, starred=False)
    keeper.admit(MB)
    assert keeper.kept() == [2, 3]
    assert sum("room again" in line for line in caplog.messages) == 1


def test_what_is_too_old_goes_by_its_arrival(tmp_path: Path):
    keeper = Keeper(tmp_path, max_age_days=30)
    keeper.fill(1)
    keeper.fill(2, tags={})
    keeper.bench.clock.ahead_s = 29 * DAY_S
    keeper.fill(3)
    assert keeper.retention.sweep() == 0
    keeper.bench.clock.ahead_s = 30 * DAY_S + 60
    assert keeper.retention.sweep() == 1
    assert keeper.kept() == [2, 3]


def test_hundreds_that_are_too_old_go_in_one_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    keeper = Keeper(tmp_path, max_age_days=1)
    oldest = keeper.bench.index.oldest
    monkeypatch.setattr(keeper.bench.index, "oldest", lambda **named: oldest(**{**named, "limit": 2}))
    keeper.fill(*range(5), size=1)
    keeper.bench.clock.ahead_s = 3 * DAY_S
    assert keeper.retention.sweep() == 5


def test_a_limit_that_was_lowered_is_held_at_the_next_sweep(tmp_path: Path):
    keeper = Keeper(tmp_path, max_bytes=2 * MB)
    keeper.fill(1, 2, 3, 4)
    assert keeper.retention.sweep() == 2
    assert keeper.kept() == [3, 4]


def test_starred_over_the_limit_do_not_hold_a_sweep_up(tmp_path: Path):
    keeper = Keeper(tmp_path, max_bytes=MB)
    keeper.fill(1, 2, tags={})
    assert keeper.retention.sweep() == 0


def test_removals_are_news_and_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    keeper = Keeper(tmp_path, max_bytes=MB)
    keeper.fill(1)
    keeper.admit(1)
    assert [news.kind for news in keeper.bench.index.news()] == ["stored", "removed"]
    assert any("Removed 1 objects (1.0 MB) to make room" in line for line in caplog.messages)


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=8), st.integers(1, 4))
@settings(max_examples=6)
def test_whatever_was_stored_the_limit_holds_or_nothing_is_touched(
    tmp_path_factory: pytest.TempPathFactory, clips: list[tuple[int, bool]], wanted_mb: int
):
    keeper = Keeper(tmp_path_factory.mktemp("any"), max_bytes=6 * MB)
    for number, (size_mb, starred) in enumerate(clips):
        keeper.fill(number, size=size_mb * MB, tags={} if starred else {"retention": "standard"})
    before, stars = keeper.kept(), [number for number, (_, star) in enumerate(clips) if star]
    try:
        keeper.admit(wanted_mb * MB)
    except NoRoom:
        assert keeper.kept() == before
    else:
        assert keeper.bench.index.usage().size + wanted_mb * MB <= 6 * MB
        removed = set(before) - set(keeper.kept())
        plain = [number for number in before if number not in stars]
        assert removed == set(plain[: len(removed)])


def test_the_thread_sweeps_and_tells_trouble_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    keeper = Keeper(tmp_path, max_bytes=MB)
    keeper.fill(1, 2, 3)
    sweep, calls = keeper.retention.sweep, []

    def in_trouble() -> int:
        calls.append(1)
        if len(calls) in (1, 2):
            raise Unavailable("no disk")
        return sweep()

    keeper.retention.sweep = in_trouble  # type: ignore[method-assign] # the test's own trouble
    keeper.retention.start()
    wait_until(lambda: keeper.kept() == [3])
    assert keeper.retention.stop()
    assert sum("no disk" in line for line in caplog.messages) == 1


def test_a_retention_that_never_began_can_be_stopped(tmp_path: Path):
    assert Keeper(tmp_path).retention.stop()


def test_a_disk_that_cannot_be_asked_takes_nothing(tmp_path: Path):
    keeper = Keeper(tmp_path)
    keeper.retention._free = lambda path: free_bytes(path / "gone")
    with pytest.raises(NoRoom):
        keeper.admit(1)


def test_a_disk_says_what_it_has_left(tmp_path: Path):
    assert 0 < free_bytes(tmp_path) < 2**60


@pytest.mark.parametrize(
    "limits, field",
    [
        ({"max_age_days": 0}, "media.retention_days"),
        ({"max_bytes": 1000}, "media.maxspace"),
        ({"min_free_bytes": -1}, "media.min_free"),
    ],
)
def test_limits_out_of_bounds_are_refused(limits: dict[str, int], field: str):
    with pytest.raises(InvalidInput, match=field):
        RetentionLimits(**limits)
