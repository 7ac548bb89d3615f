"""What waits for the camera thread: order, bounds, sessions, requests."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from pinthesky.device import camera_inbox
from pinthesky.device.camera_inbox import WAITING_SCENES_MAX, Arrived, CameraInbox, Request
from pinthesky.device.fakes import FakeClock
from pinthesky.device.ports import CameraLost, FootageEnded, Labels, LumaFrame, MotionVectors, Packet
from pinthesky.errors import Unavailable
from tests.support.packets import plain_packet


def scene(timestamp_us: int) -> LumaFrame:
    return LumaFrame(np.zeros((2, 2), np.uint8), timestamp_us)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(monotonic=50.0)


@pytest.fixture
def inbox(clock: FakeClock) -> CameraInbox:
    return CameraInbox(clock.monotonic)


def served(inbox: CameraInbox) -> list[object]:
    found: list[object] = []
    while True:
        item = inbox.get(0)
        if item is None:
            return found
        found.append(item.frame if isinstance(item, Arrived) else item)


def test_frames_come_in_order_with_the_time_of_their_arrival(inbox: CameraInbox, clock: FakeClock):
    sink = inbox.new_sink()
    sink(plain_packet(0))
    clock.advance(1)
    sink(scene(7))
    first, second = inbox.get(0), inbox.get(0)
    assert first == (plain_packet(0), 50.0)
    assert isinstance(second, Arrived)
    assert second.at_s == 51.0
    assert inbox.packet_arrived_s == 50.0


def test_frames_and_requests_share_one_order(inbox: CameraInbox):
    sink = inbox.new_sink()
    sink(plain_packet(0))
    inbox.request(lambda: None)
    sink(FootageEnded())
    assert [type(item) for item in served(inbox)] == [Packet, Request, FootageEnded]


def test_scenes_beyond_the_bound_leave_oldest_first_and_packets_stay(inbox: CameraInbox):
    sink = inbox.new_sink()
    for number in range(10):
        sink(plain_packet(number))
        sink(scene(number) if number % 2 else MotionVectors(np.zeros((1, 1)), number))
    found = served(inbox)
    assert [item for item in found if isinstance(item, Packet)] == [plain_packet(number) for number in range(10)]
    scenes = [item.timestamp_us for item in found if isinstance(item, (LumaFrame, MotionVectors))]
    assert scenes == list(range(10 - WAITING_SCENES_MAX, 10))


def test_labels_are_bounded_as_scenes_are(inbox: CameraInbox):
    sink = inbox.new_sink()
    sink(plain_packet(0))
    for number in range(10):
        sink(Labels((), number))
    found = served(inbox)
    assert found[0] == plain_packet(0)
    assert [frame.timestamp_us for frame in found[1:] if isinstance(frame, Labels)] == list(range(6, 10))


def test_scenes_that_were_served_make_room_for_others(inbox: CameraInbox):
    sink = inbox.new_sink()
    for number in range(20):
        sink(scene(number))
        assert len(served(inbox)) == 1


def test_packets_beyond_the_bound_are_dropped_as_a_whole_and_it_is_said(
    inbox: CameraInbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(camera_inbox, "WAITING_BYTES_MAX", 10_000)
    sink = inbox.new_sink()
    request = inbox.request(lambda: None)
    for number in range(100):
        sink(plain_packet(number, size=1_000))
    sink(CameraLost("and unplugged"))
    found = served(inbox)
    assert [type(item) for item in found] == [Request, CameraLost]
    assert found[1] == CameraLost("the disk is too slow for the recording")
    assert not request.done()


def test_after_an_overflow_the_next_session_begins_empty(inbox: CameraInbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(camera_inbox, "WAITING_BYTES_MAX", 10_000)
    sink = inbox.new_sink()
    for number in range(100):
        sink(plain_packet(number, size=1_000))
    inbox.forget_frames()
    inbox.new_sink()(plain_packet(1))
    assert served(inbox) == [plain_packet(1)]


def test_packets_that_are_served_in_time_never_overflow(inbox: CameraInbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(camera_inbox, "WAITING_BYTES_MAX", 3_000)
    sink = inbox.new_sink()
    for number in range(100):
        sink(plain_packet(number, size=1_000))
        assert served(inbox) == [plain_packet(number, size=1_000)]


def test_the_frames_of_a_session_that_is_over_are_dropped_now_and_later(inbox: CameraInbox):
    late = inbox.new_sink()
    late(plain_packet(0))
    request = inbox.request(lambda: None)
    inbox.forget_frames()
    late(plain_packet(1))
    assert [type(item) for item in served(inbox)] == [Request]
    assert inbox.packet_arrived_s is None
    assert not request.done()


def test_the_packets_that_wait_can_be_taken_at_once(inbox: CameraInbox):
    sink = inbox.new_sink()
    sink(plain_packet(0))
    sink(scene(0))
    sink(plain_packet(1))
    inbox.request(lambda: None)
    assert inbox.take_packets() == [(plain_packet(0), 50.0), (plain_packet(1), 50.0)]
    assert [type(item) for item in served(inbox)] == [Request]


def test_waiting_ends_with_a_frame(inbox: CameraInbox):
    sink = inbox.new_sink()
    threading.Timer(0.01, lambda: sink(plain_packet(0))).start()
    assert inbox.get(10) is not None


def test_waiting_ends_with_a_wake(inbox: CameraInbox):
    threading.Timer(0.01, inbox.wake).start()
    began = time.monotonic()
    assert inbox.get(10) is None
    assert time.monotonic() - began < 5


def test_a_wake_is_not_lost_when_nobody_waits_yet(inbox: CameraInbox):
    inbox.wake()
    began = time.monotonic()
    assert inbox.get(10) is None
    assert time.monotonic() - began < 5


def test_requests_are_refused_at_once_when_nobody_serves_them_any_more(inbox: CameraInbox):
    waiting, cancelled = inbox.request(lambda: 1), inbox.request(lambda: 2)
    cancelled.cancel()
    sink = inbox.new_sink()
    sink(plain_packet(0))
    inbox.refuse_requests(Unavailable("stopped"))
    late = inbox.request(lambda: 3)
    assert [str(future.exception(timeout=0)) for future in (waiting, late)] == ["stopped", "stopped"]
    assert cancelled.cancelled()
    assert served(inbox) == [plain_packet(0)]
