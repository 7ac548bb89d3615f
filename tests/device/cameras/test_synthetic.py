"""SyntheticCamera: what is its own beside the contract (tests/contracts/test_cameras.py)."""

from __future__ import annotations

import threading
import time

import pytest

from tests.contracts.camera_contract import Catcher, running, settings
from tests.support.picture_numbers import numbers_in_packets

pytest.importorskip("av", reason="needs PyAV, which is not installed here")
pytestmark = pytest.mark.needs_av

from pinthesky.device.cameras.synthetic import SyntheticCamera  # noqa: E402 - needs PyAV


def test_a_script_that_does_not_loop_ends_after_its_last_picture():
    with running(SyntheticCamera("synthetic:?script=quiet:1&loop=0&speed=10")) as run:
        assert run.caught.wait_for(lambda: run.caught.ended)
    assert numbers_in_packets(run.caught.packets) == list(range(20))
    assert [packet.timestamp_us for packet in run.caught.packets] == [number * 50_000 for number in range(20)]


def test_numbers_go_on_while_the_camera_is_closed():
    camera = SyntheticCamera("synthetic:?speed=4")
    times: list[list[int]] = []
    for _ in range(2):
        with running(camera) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= 5)
        times.append([packet.timestamp_us for packet in run.caught.packets])
        assert numbers_in_packets(run.caught.packets) == [time_us // 50_000 for time_us in times[-1]]
    assert times[1][0] > times[0][-1]


def test_cameras_that_share_an_epoch_number_the_same_moment_alike():
    epoch_s = time.monotonic() - 50.0
    for _ in range(2):
        with running(SyntheticCamera(f"synthetic:?epoch={epoch_s:.3f}")) as run:
            assert run.caught.wait_for(lambda: run.caught.packets)
            now_s = time.monotonic() - epoch_s
        first = run.caught.packets[0]
        assert first.timestamp_us == pytest.approx(now_s * 1_000_000, abs=500_000)
        assert numbers_in_packets([first]) == [first.timestamp_us // 50_000]


class BentTime:
    """A clock that stands still but for waiting, and that a test can push on."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waits: list[float] = []
        self.sleeps_at: dict[int, float] = {}

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_s += seconds + self.sleeps_at.pop(len(self.waits), 0.0)
        return event.is_set()


def numbers_with(bent: BentTime, *, script: str) -> list[int]:
    caught = Catcher()
    address = f"synthetic:?script={script}&loop=0"
    camera = SyntheticCamera(address, monotonic=bent.monotonic, wait=bent.wait)
    camera.open(settings(), [])
    camera.start(caught)
    assert caught.wait_for(lambda: caught.ended)
    assert camera.close(5.0)
    return [packet.timestamp_us // 50_000 for packet in caught.packets]


def test_what_came_late_is_caught_up_and_no_picture_is_left_out():
    bent = BentTime()
    bent.sleeps_at = {10: 0.4}
    assert numbers_with(bent, script="quiet:2") == list(range(40))
    assert bent.waits[10:17] == [0.0] * 7


def test_after_a_long_sleep_pictures_are_left_out_as_a_camera_would():
    bent = BentTime()
    bent.sleeps_at = {10: 60.0}
    numbers = numbers_with(bent, script="quiet:80")
    assert numbers[:9] == list(range(9))
    assert numbers[9] == pytest.approx(1009, abs=2)
    assert numbers[-1] == 1599


def test_a_stall_leaves_a_gap_of_its_length():
    numbers = numbers_with(BentTime(), script="quiet:1,stall:3,quiet:1")
    assert numbers == [*range(20), *range(80, 100)]


def test_a_hang_keeps_close_from_ending_until_it_is_released():
    camera, caught = SyntheticCamera("synthetic:?script=quiet:0.3,hang:600"), Catcher()
    camera.open(settings(), [])
    camera.start(caught)
    assert caught.wait_for(lambda: len(caught.packets) >= 6)
    assert not caught.wait_for(lambda: len(caught.packets) > 6, 0.3)
    assert not camera.close(0.05)
    camera.release()
    assert camera.close(5.0)
