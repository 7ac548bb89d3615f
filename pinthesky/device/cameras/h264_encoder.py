"""H.264 by libx264, for sources that bring anything else. Encoding happens once, here."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.video.frame import PictureType, VideoFrame

from pinthesky.device.ports import Packet

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

    from pinthesky.model.settings import CameraSettings

GOP_S = 2
"""Seconds between keyframes that nobody asked for."""
_MICROSECOND = Fraction(1, 1_000_000)
_CONSTANT_QUALITY = 23
_PIXELS_PER_THREAD_S = 10_000_000
"""Pixels in a second beyond which another core helps: 640x480 at 30 fps stays on one."""


class H264Encoder:
    """Encodes yuv420p pictures to access units that keep the rules of `Packet`. Not thread-safe.

    Constant quality (CRF 23), with `encoding_bitrate` as the most that it may take in any second; no B-frames, no
    look-ahead: each picture comes out as it goes in. 640x480 takes about 2 ms with the preset superfast.
    """

    def __init__(self, settings: CameraSettings, *, width: int, height: int, framerate: float) -> None:
        encoder: VideoCodecContext = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height = width, height
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = _MICROSECOND
        encoder.framerate = Fraction(framerate).limit_denominator(1001)
        # Keyframes are asked for by time, since a source may give fewer pictures than it says; this is a backstop.
        encoder.gop_size = max(1, round(framerate * GOP_S * 2))
        encoder.max_b_frames = 0
        encoder.thread_count = min(os.cpu_count() or 1, 1 + int(width * height * framerate / _PIXELS_PER_THREAD_S))
        encoder.options = _options(settings)
        self._encoder = encoder
        self._keyframe_due = True
        self._keyframe_us = 0

    def request_keyframe(self) -> None:
        """The next picture is a keyframe. May be called from any thread."""
        self._keyframe_due = True

    def encode(self, picture: VideoFrame, timestamp_us: int) -> list[Packet]:
        """The packet of `picture` (a list of one). `timestamp_us` rises from call to call."""
        picture.pts, picture.time_base = timestamp_us, _MICROSECOND
        # A decoded picture brings the type it had in its source, which the encoder would take for a wish.
        picture.pict_type = PictureType.NONE
        if self._keyframe_due or timestamp_us - self._keyframe_us >= GOP_S * 1_000_000:
            picture.pict_type = PictureType.I
            self._keyframe_due, self._keyframe_us = False, timestamp_us
        return [Packet(bytes(packet), packet.pts or 0, packet.is_keyframe) for packet in self._encoder.encode(picture)]


def _options(settings: CameraSettings) -> dict[str, str]:
    profile = "baseline" if settings.encoding_profile == "constrained" else settings.encoding_profile
    return {
        "preset": "superfast",
        "tune": "zerolatency",
        "profile": profile,
        "level": settings.encoding_level,
        "crf": str(_CONSTANT_QUALITY),
        "maxrate": str(settings.encoding_bitrate),
        "bufsize": str(settings.encoding_bitrate),
        # A picture asked for as a keyframe is one that decoding can begin with.
        "forced-idr": "1",
        "x264-params": "scenecut=0:repeat-headers=1:annexb=1",
    }
