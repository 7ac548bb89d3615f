"""The contract of the Camera port, on the legacy Pi camera over a stand-in of the firmware."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pinthesky.device.ports import MotionVectors
from tests.contracts.camera_contract import (
    CLOSE_S,
    CameraContract,
    Catcher,
    Caught,
    LossContract,
    Rig,
    StallContract,
    decoded_still,
    running,
    settings,
)
from tests.support.legacy_firmware import Firmware, legacy_stack
from tests.support.legacy_scenes import SyntheticScene
from tests.support.mmal_library import is_installed
from tests.support.picture_numbers import numbers_in_packets, read_number

pytestmark = [
    pytest.mark.needs_av,
    pytest.mark.skipif(not is_installed(), reason="picamera 1.13 is not in .venvs/picamera: `make setup`"),
]


class _LegacyRig(Rig):
    turns = frozenset((90, 180, 270))

    def __init__(self, firmware: Firmware) -> None:
        from pinthesky.device.cameras.picamera import PicameraCamera

        self.camera = PicameraCamera()
        self._firmware = firmware

    def stall(self) -> None:
        self._firmware.stalled.set()

    def lose(self) -> None:
        self._firmware.lose_sensor()

    def mend(self) -> None:
        self._firmware.stalled.clear()


class TestPicamera(CameraContract, StallContract, LossContract):
    @contextmanager
    def make_rig(self) -> Iterator[Rig]:
        with legacy_stack(SyntheticScene(), speed=2) as firmware:
            rig = _LegacyRig(firmware)
            try:
                yield rig
            finally:
                rig.camera.close(CLOSE_S)

    def test_luma_frames_have_the_size_and_at_most_the_rate_that_was_promised(self, rig: Rig):
        # Motion vectors stand in for them.
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: len(_vectors(run.caught)) >= 15)
        assert run.description.luma_size is None
        assert run.caught.lumas == []
        times = [frame.timestamp_us for frame in _vectors(run.caught)]
        assert times == sorted(set(times))
        assert set(times) <= {packet.timestamp_us for packet in run.caught.packets}

    def test_a_luma_frame_stays_as_it_is_while_three_more_come(self, rig: Rig):
        class Comparing(Catcher):
            def __call__(self, frame: Caught) -> None:
                if isinstance(frame, MotionVectors):
                    copies.append(frame.vectors.copy())
                super().__call__(frame)

        copies: list = []
        caught = Comparing()
        rig.camera.open(settings(), [])
        rig.camera.start(caught)
        assert caught.wait_for(lambda: len(_vectors(caught)) >= 8)
        assert rig.camera.close(CLOSE_S)
        assert all((frame.vectors == copy).all() for frame, copy in zip(_vectors(caught), copies))

    def test_recording_and_stills_are_as_shown(self, rig: Rig):
        with running(rig.camera, rotation=180) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= 5)
            still = decoded_still(run.camera.still(5.0))
        assert read_number(still[::-1, ::-1]) is not None
        assert None not in numbers_in_packets(run.caught.packets, turned_by=180)


def _vectors(caught: Catcher) -> list[MotionVectors]:
    return [frame for frame in list(caught.frames) if isinstance(frame, MotionVectors)]
