"""What becomes of pictures and packets in the library's threads, with memory in the place of the library."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest

from pinthesky.device.cameras.delivery import Delivery
from pinthesky.device.cameras.detections import Detections
from pinthesky.device.cameras.picamera2_session import Session, StreamView
from pinthesky.device.cameras.yuv420 import Layout, LumaTap, PrivacyBurner
from pinthesky.device.ports import CameraLost, Label, Labels, LumaFrame, Packet, SubstreamLost
from pinthesky.errors import Unavailable

START = b"\x00\x00\x00\x01"
SPS, PPS, IDR, SLICE = START + b"\x67\x42", START + b"\x68\xce", b"\x00\x00\x01\x65\x88", START + b"\x41\x9a"
LAYOUT = Layout(16, 8, 32)


class World:
    """A session, its sink, and requests made of numbers."""

    def __init__(self, masks: PrivacyBurner | None = None, detections: Detections | None = None) -> None:
        self.frames: list[object] = []
        self.broken: str | None = None
        self.memory = {
            name: np.full(LAYOUT.stride * LAYOUT.height * 3 // 2, 100, np.uint8) for name in ("main", "lores")
        }
        view = StreamView(LAYOUT, masks)
        self.session = Session(
            self.take,
            main=view,
            lores=view,
            luma=LumaTap(LAYOUT, rotation_left=0, full_range=True),
            mapped=self.mapped,
            timestamp_us=lambda request: request,
            detections=detections,
        )

    def take(self, frame: object) -> None:
        if self.broken == "sink" or (self.broken == "sink for luma" and isinstance(frame, LumaFrame)):
            raise ZeroDivisionError
        self.frames.append(frame)

    @contextlib.contextmanager
    def mapped(self, request: int, stream: str):
        assert isinstance(request, int)
        if self.broken == stream:
            raise RuntimeError("failed to find buffer")
        yield SimpleNamespace(array=self.memory[stream])


@pytest.fixture
def world() -> World:
    return World()


class TestPackets:
    def test_nothing_is_handed_over_before_the_first_keyframe(self, world: World):
        for timestamp_us, unit in enumerate((SLICE, SLICE, SPS + PPS + IDR, SLICE)):
            world.session.picture_encoded(unit, timestamp_us)
        assert world.frames == [Packet(SPS + PPS + IDR, 2, True), Packet(SLICE, 3, False)]

    def test_parameter_sets_on_their_own_are_no_picture_and_are_put_before_keyframes_without(self, world: World):
        for timestamp_us, unit in enumerate((SPS + PPS, IDR, SLICE, IDR)):
            world.session.picture_encoded(unit, timestamp_us)
        assert world.frames == [
            Packet(SPS + PPS + IDR, 1, True),
            Packet(SLICE, 2, False),
            Packet(SPS + PPS + IDR, 3, True),
        ]

    def test_a_keyframe_without_any_parameter_sets_begins_nothing(self, world: World):
        world.session.picture_encoded(IDR, 0)
        world.session.picture_encoded(SLICE, 1)
        assert world.frames == []

    def test_an_error_of_the_sink_ends_the_session_with_a_loss(self, world: World):
        world.broken = "sink for luma"
        world.session.picture_encoded(SPS + PPS + IDR, 0)
        world.session.picture_taken(0)
        world.session.picture_taken(200_000)
        world.session.picture_encoded(SLICE, 1)
        assert [type(frame) for frame in world.frames] == [Packet, CameraLost]

    def test_a_sink_that_cannot_even_take_the_loss_raises_nothing(self, world: World, caplog: pytest.LogCaptureFixture):
        world.broken = "sink"
        world.session.picture_encoded(SPS + PPS + IDR, 0)
        assert "could not be told" in caplog.text

    def test_what_cannot_be_parsed_is_a_loss_and_no_exception(self, world: World):
        world.session.picture_encoded(None, 0)  # type: ignore[arg-type] # what no version gives
        assert [type(frame) for frame in world.frames] == [CameraLost]


class TestPictures:
    def test_at_most_ten_luma_frames_a_second_are_copies_of_the_small_stream(self, world: World):
        for number in range(40):
            world.memory["lores"][:] = number
            world.session.picture_taken(number * 25_000)
        lumas = [frame for frame in world.frames if isinstance(frame, LumaFrame)]
        assert [frame.timestamp_us for frame in lumas] == list(range(0, 1_000_000, 100_000))
        assert [int(frame.luma[0, 0]) for frame in lumas] == list(range(0, 40, 4))

    def test_masks_are_burned_into_both_streams_of_every_picture(self):
        everything = [(0, 0), (1000, 0), (1000, 1000), (0, 1000)]
        world = World(PrivacyBurner([everything], LAYOUT, rotation_left=0))
        for number in range(3):
            for memory in world.memory.values():
                memory[:] = 100
            world.session.picture_taken(number * 25_000)
            for memory in world.memory.values():
                assert (LAYOUT.planes(memory).luma == 16).all()

    def test_memory_is_left_alone_while_nobody_needs_it(self, world: World):
        world.session.picture_taken(0)
        world.broken = "lores"
        world.session.picture_taken(25_000)
        world.broken = "main"
        world.session.picture_taken(50_000)
        assert [type(frame) for frame in world.frames] == [LumaFrame]

    @pytest.mark.parametrize("stream", ["main", "lores"])
    def test_memory_that_is_not_to_be_had_is_a_loss_told_once(self, stream: str):
        world = World(PrivacyBurner([], LAYOUT, rotation_left=0))
        world.broken = stream
        world.session.picture_taken(0)
        world.session.picture_taken(100_000)
        assert world.frames == [CameraLost("its pictures cannot be taken over: RuntimeError")]
        with pytest.raises(Unavailable, match="cannot be taken over"):
            world.session.stills.take(5.0)


def test_after_the_end_nothing_comes_any_more_and_it_is_no_loss(world: World):
    world.session.end()
    world.session.picture_taken(0)
    world.session.picture_encoded(SPS + PPS + IDR, 0)
    world.session.lose("too late")
    assert world.frames == []


class TestLabels:
    PERSON = Label("person", 0.9, (0.0, 0.0, 1.0, 1.0))

    class Sure:
        def labels(self, seen: object) -> tuple[Label, ...]:
            return (TestLabels.PERSON,) if seen == 2_000_000 else ()

    def test_they_follow_the_packet_of_their_picture(self):
        world = World(detections=Detections(self.Sure(), lambda request: request))
        for timestamp_us in (1_000_000, 2_000_000):
            world.session.picture_taken(timestamp_us)
        world.session.picture_encoded(SPS + PPS + IDR, 1_000_000)
        world.session.picture_encoded(SLICE, 2_000_000)
        world.session.picture_encoded(SLICE, 3_000_000)
        assert [frame for frame in world.frames if not isinstance(frame, LumaFrame)] == [
            Packet(SPS + PPS + IDR, 1_000_000, True),
            Packet(SLICE, 2_000_000, False),
            Labels((self.PERSON,), 2_000_000),
            Packet(SLICE, 3_000_000, False),
        ]


class TestSecondStream:
    def test_it_ends_when_a_picture_could_not_be_masked(self, world: World):
        told: list[object] = []
        world.session.attach(Delivery(told.append, SubstreamLost))
        world.broken = "lores"
        world.session.picture_taken(1)
        assert told == [SubstreamLost("its pictures cannot be taken over: RuntimeError")]

    def test_it_does_not_begin_where_the_camera_is_lost(self, world: World):
        world.session.lose("the cable")
        with pytest.raises(Unavailable):
            world.session.attach(Delivery(lambda _: None, SubstreamLost))
