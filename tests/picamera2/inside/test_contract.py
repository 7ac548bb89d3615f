"""The contract of the Camera port, on the real picamera2."""

from __future__ import annotations

from contextlib import contextmanager

from pinthesky.device.cameras.picamera2 import Picamera2Camera
from tests.contracts.camera_contract import (
    CameraContract,
    LossContract,
    MaskingContract,
    Rig,
    StallContract,
    TurningContract,
)
from tests.contracts.substream_contract import SubstreamContract
from tests.picamera2.virtual_camera import stage


class VirtualRig(Rig):
    """The virtual camera. It is lost when its encoder fails."""

    turns = frozenset({180})

    def __init__(self) -> None:
        self.camera = self._camera = Picamera2Camera()

    def stall(self) -> None:
        stage.stalled.set()

    def lose(self) -> None:
        assert self._camera._opened is not None
        self._camera._opened.encoder._h264 = None

    def mend(self) -> None: ...


class TestPicamera2(CameraContract, TurningContract, MaskingContract, SubstreamContract, StallContract, LossContract):
    @contextmanager
    def make_rig(self):
        yield VirtualRig()
