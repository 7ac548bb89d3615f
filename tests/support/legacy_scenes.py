"""What the legacy camera of the tests sees: plain pictures that only look like H.264, and the synthetic scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import numpy as np

from pinthesky.device.cameras.picamera_output import VECTOR
from tests.support.legacy_firmware import Encoded, Shot
from tests.support.packets import nal_units, plain_packet, plain_numbers

if TYPE_CHECKING:
    from pinthesky.device.cameras.h264_encoder import H264Encoder

_MARK = b"\x00\x00\x00\x01"
SPS = _MARK + b"\x67\x64\x80\x28\xac"
PPS = _MARK + b"\x68\xee\x3c\x80"


def zero_vectors(shot: Shot) -> np.ndarray:
    """A record in which nothing moves: (rows, columns)."""
    return np.zeros((-(-shot.height // 16), -(-shot.width // 16) + 1), VECTOR)


class PlainScene:
    """Numbered pictures without PyAV. Something moves while `moving`."""

    def __init__(self, *, size: int = 3000) -> None:
        self.size = size
        self.moving = False

    def encoded(self, shot: Shot) -> Encoded:
        """See `Scene.encoded`."""
        packet = plain_packet(shot.number * 2 + (not shot.is_keyframe), gop=2, size=self.size)
        vectors = zero_vectors(shot)
        if self.moving and not shot.is_keyframe:
            vectors["x"][2:8, 2:8] = -100
        vectors["sad"] = shot.number
        return Encoded((SPS, PPS), packet.data, vectors.tobytes())

    def jpeg(self, shot: Shot) -> bytes:
        """See `Scene.jpeg`: it only begins and ends like one."""
        return b"\xff\xd8" + b"%d" % shot.number + b"." * 2000 + b"\xff\xd9"


def picture_numbers(stream: bytes) -> list[int]:
    """Numbers of the pictures of a PlainScene in a bare stream; fails on anything that is no whole picture."""
    return [number // 2 for number in plain_numbers(stream.replace(SPS + PPS, b""))]


class SyntheticScene:
    """The synthetic camera's scene as real H.264, with a number in every picture. Needs PyAV."""

    def __init__(self) -> None:
        self._encoder: Optional[H264Encoder] = None
        self._headers: tuple[bytes, ...] = ()

    def encoded(self, shot: Shot) -> Encoded:
        """See `Scene.encoded`. Nothing is said of motion."""
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
        return Encoded(self._headers, slices, zero_vectors(shot).tobytes())

    def jpeg(self, shot: Shot) -> bytes:
        """See `Scene.jpeg`."""
        from pinthesky.device.cameras.pictures import jpeg

        return jpeg(_picture(shot), 0)


def _picture(shot: Shot):
    from av.video.frame import VideoFrame

    from pinthesky.device.cameras.script import Script
    from pinthesky.device.cameras.synthetic_scene import Scene

    global _scene  # noqa: PLW0603 - the scenery takes a while to make, and is the same for all
    if _scene is None:
        _scene = Scene(shot.width, shot.height, 1)
    moment = Script.parse("quiet:1000").at(0.0)
    assert moment is not None
    planes = _scene.scenery(shot.number, moment)
    _scene.write_strip(planes, shot.number, shot.number / shot.framerate)
    if shot.rotation == 180:
        planes = _turned_around(planes, shot)
    return VideoFrame.from_ndarray(planes, format="yuv420p")


def _turned_around(planes: np.ndarray, shot: Shot) -> np.ndarray:
    luma = planes[: shot.height, :][::-1, ::-1]
    chroma = planes[shot.height :].reshape(2, shot.height // 2, shot.width // 2)[:, ::-1, ::-1]
    return np.vstack([luma, chroma.reshape(-1, shot.width)])


_scene = None
