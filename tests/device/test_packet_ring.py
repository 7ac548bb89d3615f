from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device import packet_ring
from pinthesky.device.packet_ring import PacketRing
from pinthesky.device.ports import Packet
from tests.support.packets import plain_packet, plain_packets

_S = 1_000_000


def filled(ring: PacketRing, packets: list[Packet]) -> PacketRing:
    for packet in packets:
        ring.append(packet)
    return ring


def test_holds_at_least_the_seconds_before_the_newest_and_at_most_one_gop_more():
    ring = PacketRing(seconds=5)
    for packet in plain_packets(600, gop=15, fps=20):
        ring.append(packet)
        if packet.timestamp_us - 1_000_000 >= 5 * _S:
            assert 5.0 <= ring.span_s <= 5.0 + 15 / 20
    assert ring.shortfall_s == 0.0


def test_take_hands_over_whole_gops_oldest_first_and_leaves_the_ring_empty():
    packets = plain_packets(100, gop=10, fps=10)
    ring = filled(PacketRing(seconds=3), packets)
    taken = ring.take()
    assert taken == packets[-len(taken) :]
    assert taken[0].is_keyframe
    assert (ring.take(), ring.size_bytes, ring.span_s) == ([], 0, 0.0)


def test_nothing_is_doubled_or_lost_between_two_takes():
    ring = PacketRing(seconds=60)
    packets = plain_packets(50, gop=10)
    taken = filled(ring, packets[:30]).take() + filled(ring, packets[30:]).take()
    assert taken == packets


def test_zero_seconds_keep_only_the_gop_that_the_picture_needs():
    packets = plain_packets(37, gop=10)
    assert filled(PacketRing(seconds=0), packets).take() == packets[30:]


def test_max_bytes_win_over_seconds_and_the_shortfall_says_by_how_much():
    ring = filled(PacketRing(seconds=10, max_bytes=50 * 40), plain_packets(400, gop=10, fps=10))
    assert ring.size_bytes == 50 * 40
    assert ring.shortfall_s == 10.0 - 4.9
    assert ring.take()[0].is_keyframe


def test_there_is_no_shortfall_while_the_ring_has_not_run_long_enough():
    ring = filled(PacketRing(seconds=10), plain_packets(99, gop=10, fps=10))
    assert ring.span_s < 10
    assert ring.shortfall_s == 0.0


def test_a_gop_in_progress_above_max_bytes_is_kept_because_nothing_could_be_shown_without_it():
    packets = plain_packets(30, gop=20, size=1000)
    ring = filled(PacketRing(seconds=10, max_bytes=2500), packets)
    assert ring.take() == packets[20:]


def test_a_camera_that_never_sends_another_keyframe_cannot_fill_the_memory(monkeypatch):
    monkeypatch.setattr(packet_ring, "UNBROKEN_GOP_MAX_BYTES", 10_000)
    ring = PacketRing(seconds=10, max_bytes=2_500)
    most = 0
    for packet in plain_packets(200, gop=1_000_000, size=1000):
        ring.append(packet)
        most = max(most, ring.size_bytes)
    assert most == 10_000
    assert ring.awaits_keyframe


def test_a_gop_that_lasts_for_minutes_is_dropped_and_the_next_keyframe_begins_anew():
    slow = [plain_packet(number, gop=140, fps=1) for number in range(142)]
    ring = filled(PacketRing(seconds=10), slow[:140])
    assert ring.awaits_keyframe
    assert ring.shortfall_s == 10.0
    assert filled(ring, slow[140:]).take() == slow[140:]


def test_packets_before_the_first_keyframe_are_not_kept():
    packets = plain_packets(25, first=3, gop=10)
    assert filled(PacketRing(seconds=60), packets).take() == packets[7:]


def test_a_clock_that_begins_anew_throws_away_what_was_before():
    ring = filled(PacketRing(seconds=60), plain_packets(30, first=100))
    reopened = plain_packets(5)
    assert filled(ring, reopened).take() == reopened


def test_after_clear_the_ring_has_to_run_again_before_anything_is_missing():
    ring = filled(PacketRing(seconds=5), plain_packets(300, gop=10))
    ring.clear()
    filled(ring, plain_packets(20, first=300, gop=10))
    assert (ring.shortfall_s, ring.awaits_keyframe) == (0.0, False)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3000), st.integers(0, 3_000_000)), max_size=80),
    st.integers(0, 20),
    st.integers(1, 20_000),
)
def test_whatever_arrives_the_ring_holds_a_suffix_that_begins_on_a_keyframe(stream, seconds, max_bytes):
    ring = PacketRing(seconds=seconds, max_bytes=max_bytes)
    packets, now_us = [], 0
    for is_keyframe, size, step_us in stream:
        now_us += step_us
        packets.append(Packet(bytes(size), now_us, is_keyframe))
        ring.append(packets[-1])
    size_bytes = ring.size_bytes
    keyframes_at = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    taken = ring.take()
    assert size_bytes == sum(len(packet.data) for packet in taken)
    assert taken == packets[len(packets) - len(taken) :]
    if taken:
        assert taken[0].is_keyframe
        assert size_bytes <= max_bytes or len(packets) - len(taken) == keyframes_at[-1]
