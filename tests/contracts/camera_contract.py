"""What every adapter of the Camera port must do, as tests that a class for each adapter inherits.

An adapter's class gives `make_rig`. The scene is always the synthetic one, whatever carries it, so that the tests can
read from the pictures which one they are and which way up.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal, Union

import numpy as np
import pytest

from pinthesky.device.cameras import annex_b
from pinthesky.device.cameras.geometry import luma_size, turned, turned_size
from pinthesky.device.ports import (
    Camera,
    CameraDescription,
    CameraLost,
    FootageEnded,
    Frame,
    LumaFrame,
    Packet,
    SubstreamLost,
)
from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.model.settings import CameraSettings
from tests.support.picture_numbers import numbers_in_packets, read_number

WIDTH, HEIGHT = 640, 480
FRAMERATE = 20
PATIENCE_S = 10.0
CLOSE_S = 5.0
BITRATE = 200_000
Caught = Union[Frame, SubstreamLost]
ROTATIONS: tuple[Literal[0, 90, 180, 270], ...] = (0, 90, 180, 270)


def settings(*, rotation: int = 0) -> CameraSettings:
    """What the cameras of these tests are opened with."""
    turn = next(known for known in ROTATIONS if known == rotation)
    return CameraSettings(rotation=turn, resolution=f"{WIDTH}x{HEIGHT}", framerate=FRAMERATE)


class Catcher:
    """A sink that keeps what it gets and lets a test wait for it."""

    def __init__(self) -> None:
        self.frames: list[Caught] = []
        self._changed = threading.Condition()

    def __call__(self, frame: Caught) -> None:
        """Take a frame, from any thread."""
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()

    @property
    def packets(self) -> list[Packet]:
        """Packets so far."""
        return [frame for frame in list(self.frames) if isinstance(frame, Packet)]

    @property
    def lumas(self) -> list[LumaFrame]:
        """Luma frames so far."""
        return [frame for frame in list(self.frames) if isinstance(frame, LumaFrame)]

    @property
    def losses(self) -> list[CameraLost]:
        """How often the camera was lost."""
        return [frame for frame in list(self.frames) if isinstance(frame, CameraLost)]

    @property
    def ended(self) -> bool:
        """Whether the footage has ended."""
        return bool(self.frames) and isinstance(self.frames[-1], FootageEnded)

    def wait_for(self, condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> bool:
        """Wait until `condition` holds; False when it does not in time."""
        with self._changed:
            return bool(self._changed.wait_for(condition, timeout_s))


class Rig:
    """A camera to be tested, and the hand that breaks it."""

    camera: Camera
    masks_luma_strip = False
    """Whether the adapter hides the scene's changing strip from the luma frames."""
    turns: frozenset[int] = frozenset()
    """Rotations that the source does itself: its packets are as shown, and nothing is left to the player."""

    def rotation_left(self, rotation: int) -> int:
        """What a player must still turn."""
        return 0 if rotation in self.turns else rotation

    def stall(self) -> None:
        """Make the source fall silent."""
        raise NotImplementedError

    def lose(self) -> None:
        """Take the source away."""
        raise NotImplementedError

    def mend(self) -> None:
        """Bring the source back."""
        raise NotImplementedError


class Running:
    """A started camera."""

    def __init__(self, camera: Camera, description: CameraDescription, caught: Catcher) -> None:
        self.camera, self.description, self.caught = camera, description, caught


@contextmanager
def running(camera: Camera, *, rotation: int = 0) -> Iterator[Running]:
    """Open, start, and close in the end."""
    caught = Catcher()
    description = camera.open(settings(rotation=rotation), [])
    try:
        camera.start(caught)
        yield Running(camera, description, caught)
    finally:
        assert camera.close(CLOSE_S)


def decoded_still(jpeg: bytes) -> np.ndarray:
    """The grey picture of a JPEG."""
    import av

    with av.open(io.BytesIO(jpeg), "r") as container:
        return next(container.decode(video=0)).to_ndarray(format="gray")


def decoded_grey(packet: Packet) -> np.ndarray:
    """The grey picture of a keyframe."""
    import av

    decoder = av.CodecContext.create("h264", "r")
    return [*decoder.decode(av.Packet(packet.data)), *decoder.decode(None)][0].to_ndarray(format="gray")


def decoded_size(packet: Packet) -> tuple[int, int]:
    """(width, height) of a keyframe."""
    height, width = decoded_grey(packet).shape
    return width, height


class CameraContract:
    """For every adapter."""

    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        with self.make_rig() as rig:
            yield rig
            assert rig.camera.close(CLOSE_S)

    def make_rig(self):
        """A context manager that gives a Rig whose camera is closed."""
        raise NotImplementedError

    def test_it_describes_what_it_gives(self, rig: Rig):
        description = rig.camera.open(settings(rotation=90), [])
        assert (description.width, description.height) == (WIDTH, HEIGHT)
        assert description.framerate == FRAMERATE
        assert description.rotation_left == rig.rotation_left(90)
        assert description.model

    def test_the_first_packet_is_a_keyframe_and_every_keyframe_stands_alone(self, rig: Rig):
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: sum(packet.is_keyframe for packet in run.caught.packets) >= 2)
        packets = run.caught.packets
        assert packets[0].is_keyframe
        assert all(annex_b.stands_alone(packet.data) == packet.is_keyframe for packet in packets)

    def test_each_packet_is_one_whole_picture_in_order(self, rig: Rig):
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= FRAMERATE)
        packets = run.caught.packets
        assert all(annex_b.is_annex_b(packet.data) and isinstance(packet.data, bytes) for packet in packets)
        numbers = [number for number in numbers_in_packets(packets) if number is not None]
        assert len(numbers) == len(packets)
        assert all(after > before for before, after in zip(numbers, numbers[1:]) if after != min(numbers))

    def test_timestamps_are_whole_microseconds_that_never_go_back(self, rig: Rig):
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= FRAMERATE * 2)
        times = [packet.timestamp_us for packet in run.caught.packets]
        assert all(type(time_us) is int for time_us in times)
        assert times == sorted(times)
        assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(1_000_000 / FRAMERATE, rel=0.25)

    def test_luma_frames_have_the_size_and_at_most_the_rate_that_was_promised(self, rig: Rig):
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: len(run.caught.lumas) >= 15)
        lumas = run.caught.lumas
        assert run.description.luma_size is not None
        width, height = run.description.luma_size
        assert all(frame.luma.shape == (height, width) and frame.luma.dtype == np.uint8 for frame in lumas)
        times = [frame.timestamp_us for frame in lumas]
        assert times == sorted(set(times))
        assert len(times) - 1 <= (times[-1] - times[0]) / 1_000_000 * 10 + 1
        assert set(times) <= {packet.timestamp_us for packet in run.caught.packets} | {times[0], times[-1]}

    def test_a_luma_frame_stays_as_it_is_while_three_more_come(self, rig: Rig):
        class Comparing(Catcher):
            def __call__(self, frame: Caught) -> None:
                if isinstance(frame, LumaFrame):
                    copies.append(frame.luma.copy())
                super().__call__(frame)

        copies: list[np.ndarray] = []
        caught = Comparing()
        rig.camera.open(settings(), [])
        rig.camera.start(caught)
        assert caught.wait_for(lambda: len(caught.lumas) >= 4)
        assert rig.camera.close(CLOSE_S)
        assert all((frame.luma == copy).all() for frame, copy in zip(caught.lumas[-4:], copies[-4:]))

    def test_a_still_is_a_picture_of_now_and_the_frames_go_on(self, rig: Rig):
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= 5)
            grey = decoded_still(run.camera.still(5.0))
            before = len(run.caught.packets)
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= before + 5)
        assert grey.shape == (HEIGHT, WIDTH)
        assert read_number(grey) in numbers_in_packets(run.caught.packets)
        # The brightest and darkest blocks of the scene, stretched from video range to that of a JPEG.
        assert grey.min() <= 5
        assert grey.max() >= 250

    def test_a_promised_keyframe_comes_soon(self, rig: Rig):
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= 5)
            before = len(run.caught.packets)
            if run.camera.request_keyframe():
                assert run.caught.wait_for(lambda: len(run.caught.packets) >= before + 6)
                assert any(packet.is_keyframe for packet in run.caught.packets[before : before + 6])

    def test_it_can_be_closed_and_opened_with_other_settings(self, rig: Rig):
        with running(rig.camera) as first:
            assert first.caught.wait_for(lambda: first.caught.packets)
        with running(rig.camera, rotation=180) as second:
            assert second.caught.wait_for(lambda: second.caught.packets)
        assert (first.description.rotation_left, second.description.rotation_left) == (0, rig.rotation_left(180))
        assert second.caught.packets[0].is_keyframe

    def test_after_close_nothing_more_comes_and_no_thread_is_left(self, rig: Rig):
        threads = set(threading.enumerate())
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= 3)
            began_s = time.monotonic()
        assert time.monotonic() - began_s < CLOSE_S
        count = len(run.caught.frames)
        mine = [thread for thread in set(threading.enumerate()) - threads if thread.name.startswith("camera-")]
        assert mine == []
        assert len(run.caught.frames) == count
        assert run.caught.losses == []

    def test_close_is_allowed_in_any_state_and_twice(self, rig: Rig):
        assert rig.camera.close(CLOSE_S)
        rig.camera.open(settings(), [])
        assert rig.camera.close(CLOSE_S)
        assert rig.camera.close(CLOSE_S)
        rig.camera.open(settings(), [])

    def test_no_still_without_pictures(self, rig: Rig):
        with pytest.raises(Unavailable):
            rig.camera.still(0.05)
        rig.camera.open(settings(), [])
        with pytest.raises(Unavailable):
            rig.camera.still(0.05)

    def test_a_second_stream_is_described_or_refused(self, rig: Rig):
        with pytest.raises(Unavailable):
            rig.camera.start_substream(Catcher(), bitrate=BITRATE)
        with running(rig.camera) as run:
            rig.camera.stop_substream()
            assert not rig.camera.request_substream_keyframe()
            if run.description.substream_size is None:
                with pytest.raises(Unavailable, match="no second stream"):
                    rig.camera.start_substream(Catcher(), bitrate=BITRATE)
            else:
                rig.camera.start_substream(Catcher(), bitrate=BITRATE)

    def test_a_step_out_of_order_is_refused(self, rig: Rig):
        with pytest.raises(InvariantBroken):
            rig.camera.start(Catcher())
        rig.camera.open(settings(), [])
        with pytest.raises(InvariantBroken):
            rig.camera.open(settings(), [])
        rig.camera.start(Catcher())
        with pytest.raises(InvariantBroken):
            rig.camera.start(Catcher())

    def test_a_sink_that_raises_costs_the_camera_but_not_in_silence(self, rig: Rig):
        class Breaking(Catcher):
            def __call__(self, frame: Caught) -> None:
                if len(self.frames) == 3 and not isinstance(frame, CameraLost):
                    raise ZeroDivisionError
                super().__call__(frame)

        caught = Breaking()
        rig.camera.open(settings(), [])
        rig.camera.start(caught)
        assert caught.wait_for(lambda: caught.losses)
        assert len(caught.frames) == 4


class TurningContract:
    """For adapters that make luma frames and stills themselves."""

    @pytest.mark.parametrize("rotation", ROTATIONS)
    def test_stills_and_luma_frames_are_as_shown_and_packets_as_the_sensor_sees(self, rig: Rig, rotation: int):
        with running(rig.camera, rotation=rotation) as run:
            assert run.caught.wait_for(lambda: run.caught.lumas and len(run.caught.packets) >= 5)
            still = decoded_still(run.camera.still(5.0))
        left = rig.rotation_left(rotation)
        assert run.description.rotation_left == left
        assert run.description.luma_size == luma_size(*turned_size(WIDTH, HEIGHT, rotation))
        assert still.shape == turned_size(WIDTH, HEIGHT, rotation)[::-1]
        assert read_number(turned(still, -rotation)) is not None
        assert None not in numbers_in_packets(run.caught.packets, turned_by=rotation - left)
        upright = turned(run.caught.lumas[-1].luma, -rotation)
        if rig.masks_luma_strip:
            assert len(np.unique(upright[-(upright.shape[0] // 8) :])) == 1
        else:
            assert read_number(upright) is not None


class MaskingContract:
    """For adapters that burn privacy masks in when they are told to."""

    make_rig: Callable

    def test_privacy_masks_are_black_in_packets_stills_and_luma(self):
        left_half = [(0, 0), (500, 0), (500, 800), (0, 800)]
        caught = Catcher()
        with self.make_rig() as rig:
            description = rig.camera.open(settings(rotation=90), [left_half])
            rig.camera.start(caught)
            assert caught.wait_for(lambda: caught.lumas and len(caught.packets) >= 5)
            still = decoded_still(rig.camera.still(5.0))
            assert rig.camera.close(CLOSE_S)
        assert description.can_mask
        encoded = turned(decoded_grey(caught.packets[0]), 90)
        for grey in (encoded, still, caught.lumas[-1].luma):
            height, width = grey.shape
            hidden = grey[: int(height * 0.79), : int(width * 0.49)]
            seen = grey[: int(height * 0.79), int(width * 0.51) :]
            assert hidden.max() <= 24
            assert seen.mean() > 50


class StallContract:
    """For adapters whose source can fall silent."""

    def test_a_stall_is_silence_or_a_loss_never_invented_frames(self, rig: Rig):
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= 5)
            rig.stall()
            quiet = _wait_for_quiet(run.caught)
            assert quiet or run.caught.losses
            with pytest.raises(Unavailable):
                run.camera.still(0.1)
            count = len(run.caught.packets)
        assert len(run.caught.packets) == count


class LossContract:
    """For adapters whose source can go away."""

    def test_a_loss_is_told_once_and_the_camera_comes_back(self, rig: Rig):
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= 5)
            rig.lose()
            assert run.caught.wait_for(lambda: run.caught.losses)
            with pytest.raises(Unavailable):
                run.camera.still(0.1)
        assert len(run.caught.losses) == 1
        assert isinstance(run.caught.frames[-1], CameraLost)
        assert run.caught.losses[0].reason
        rig.mend()
        with running(rig.camera) as again:
            assert again.caught.wait_for(lambda: again.caught.packets)


def _wait_for_quiet(caught: Catcher, *, quiet_s: float = 1.2) -> bool:
    """Wait until no frame has come for `quiet_s`."""
    deadline_s = time.monotonic() + PATIENCE_S
    count = -1
    while time.monotonic() < deadline_s:
        if count == len(caught.frames):
            return True
        count = len(caught.frames)
        caught.wait_for(partial(_has_more, caught, count), quiet_s)
    return False


def _has_more(caught: Catcher, count: int) -> bool:
    return len(caught.frames) > count
