"""What the legacy camera of the tests sees: plain pictures that only look like H.264, and the synthetic scene."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Optional

import numpy as np

from pinthesky.device.cameras.picamera_output import VECTOR
from tests.support.legacy_firmware import Encoded, Shot
from tests.support.packets import nal_units, plain_numbers, plain_packet

if TYPE_CHECKING:
    from pinthesky.device.cameras.h264_encoder import H264Encoder

_MARK = b"\x00\x00\x00\x01"
SPS = _MARK + b"\x67\x64\x80\x28\xac"
PPS = _MARK + b"\x68\xee\x3c\x80"


def vectors(shot: Shot, *, moving: bool) -> bytes:
    """A record that has the picture's number as its sums of differences."""
    record = np.zeros((-(-shot.height // 16), -(-shot.width // 16) + 1), VECTOR)
    if moving and not shot.is_keyframe:
        record["x"][2:8, 2:8] = -100
    record["sad"] = shot.number
    return record.tobytes()


class PlainScene:
    """Numbered pictures without PyAV. Something moves while `moving`."""

    def __init__(self, *, size: int = 3000) -> None:
        self.size = size
        self.moving = False

    def encoded(self, shot: Shot) -> Encoded:
        """See `Scene.encoded`."""
        packet = plain_packet(shot.number * 2 + (not shot.is_keyframe), gop=2, size=self.size)
        return Encoded((SPS, PPS), packet.data, vectors(shot, moving=self.moving))

    def jpeg(self, shot: Shot) -> bytes:
        """See `Scene.jpeg`: it only begins and ends like one."""
        return b"\xff\xd8" + b"%d" % shot.number + b"." * 2000 + b"\xff\xd9"


def picture_numbers(stream: bytes) -> list[int]:
    """Numbers of the pictures of a PlainScene in a bare stream; fails on anything that is no whole picture."""
    return [number // 2 for number in plain_numbers(stream.replace(SPS + PPS, b""))]


class SyntheticScene:
    """The synthetic camera's scene as real H.264, with a number in every picture. Needs PyAV.

    What moves in it, and what the vectors say of it while `moving`, have nothing to do with each other.
    """

    def __init__(self) -> None:
        self.moving = False
        self._encoder: Optional[H264Encoder] = None
        self._headers: tuple[bytes, ...] = ()

    def encoded(self, shot: Shot) -> Encoded:
        """See `Scene.encoded`."""
        from pinthesky.device.cameras.h264_encoder import H264Encoder
        from pinthesky.model.settings import CameraSettings

        if self._encoder is None:
            settings = CameraSettings(resolution=f"{shot.width}x{shot.height}", framerate=int(shot.framerate))
            self._encoder = H264Encoder(settings, width=shot.width, height=shot.height, framerate=shot.framerate)
        if shot.is_keyframe:
            self._encoder.request_keyframe()
        time_us = int(shot.number * 1_000_000 / shot.framerate)
        (packet,) = self._encoder.encode(_picture(shot), time_us)
        nals = nal_units(packet.data)
        if shot.is_keyframe:
            self._headers = tuple(_MARK + nal for nal in nals if nal[0] & 31 in (7, 8))
        slices = b"".join(_MARK + nal for nal in nals if nal[0] & 31 in (1, 5))
        return Encoded(self._headers, slices, vectors(shot, moving=self.moving))

    def jpeg(self, shot: Shot) -> bytes:
        """See `Scene.jpeg`."""
        from pinthesky.device.cameras.pictures import jpeg

        return jpeg(_picture(shot), 0)


@functools.lru_cache(maxsize=1)
def _scenery(width: int, height: int):
    from pinthesky.device.cameras.synthetic_scene import Scene

    return Scene(width, height, 1)


def _picture(shot: Shot):
    from av.video.frame import VideoFrame

    from pinthesky.device.cameras.script import Script

    scene = _scenery(shot.width, shot.height)
    moment = Script.parse("quiet:1000").at(0.0)
    assert moment is not None
    planes = scene.scenery(shot.number, moment)
    scene.write_strip(planes, shot.number, shot.number / shot.framerate)
    if shot.rotation == 180:
        planes = _turned_around(planes, shot)
    return VideoFrame.from_ndarray(planes, format="yuv420p")


def _turned_around(planes: np.ndarray, shot: Shot) -> np.ndarray:
    luma = planes[: shot.height, :][::-1, ::-1]
    chroma = planes[shot.height :].reshape(2, shot.height // 2, shot.width // 2)[:, ::-1, ::-1]
    return np.vstack([luma, chroma.reshape(-1, shot.width)])
