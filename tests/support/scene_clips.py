"""Clips, packets and JPEGs of the synthetic scene, for tests of cameras. Needs PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame

from pinthesky.device.cameras.h264_encoder import H264Encoder
from pinthesky.device.cameras.pictures import LumaMaker, jpeg
from pinthesky.device.cameras.script import Script
from pinthesky.device.cameras.synthetic_scene import Scene
from pinthesky.device.cameras.timeline import LumaRate
from pinthesky.device.ports import LumaFrame, Packet
from pinthesky.model.settings import CameraSettings

MICROSECOND = Fraction(1, 1_000_000)
SCRIPT = "quiet:2,walk:4"


def pictures(
    count: int, *, width: int = 640, height: int = 480, framerate: int = 20, script: str = SCRIPT
) -> Iterator[VideoFrame]:
    """The first `count` pictures, numbered from 0."""
    scene, plot = Scene(width, height, seed=1), Script.parse(script)
    for number in range(count):
        time_s = number / framerate
        moment = plot.at(time_s)
        assert moment is not None
        planes = scene.scenery(number, moment)
        scene.write_strip(planes, number, time_s)
        picture = VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts, picture.time_base = round(time_s * 1_000_000), MICROSECOND
        yield picture


def scene_frames(
    count: int, *, width: int = 640, height: int = 480, framerate: int = 20, script: str = SCRIPT
) -> list[Packet | LumaFrame]:
    """Packets and luma frames of the first `count` pictures, a keyframe every two seconds."""
    settings = CameraSettings(rotation=0, resolution=f"{width}x{height}", framerate=framerate)
    encoder = H264Encoder(settings, width=width, height=height, framerate=framerate)
    luma, rate = LumaMaker(width, height, 0), LumaRate()
    frames: list[Packet | LumaFrame] = []
    for picture in pictures(count, width=width, height=height, framerate=framerate, script=script):
        timestamp_us = picture.pts or 0
        frames.extend(encoder.encode(picture, timestamp_us))
        if rate.takes(timestamp_us):
            frames.append(LumaFrame(luma.luma(picture), timestamp_us))
    return frames


def scene_packets(count: int, *, width: int = 640, height: int = 480) -> list[Packet]:
    """The packets of `scene_frames`."""
    return [frame for frame in scene_frames(count, width=width, height=height) if isinstance(frame, Packet)]


def scene_jpegs(count: int, *, width: int = 640, height: int = 480) -> list[bytes]:
    """The first `count` pictures as JPEGs."""
    return [jpeg(picture, 0) for picture in pictures(count, width=width, height=height)]


def write_clip(path: Path, packets: Sequence[Packet], *, width: int = 640, height: int = 480) -> Path:
    """Put packets into a container chosen by the file's suffix, as they are."""
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("h264", rate=20)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for unit in packets:
            packet = av.Packet(unit.data)
            packet.pts = packet.dts = unit.timestamp_us
            packet.time_base, packet.stream, packet.is_keyframe = MICROSECOND, stream, unit.is_keyframe
            sink.mux(packet)
    return path


def encode_clip(path: Path, count: int, *, codec: Any = "libx264", options: dict[str, str] | None = None) -> Path:
    """The first `count` pictures by any encoder of PyAV, in the container of the file's suffix."""
    with av.open(str(path), "w") as sink:
        stream: Any = sink.add_stream(codec, rate=20)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 20)
        stream.options = options or {}
        for number, picture in enumerate(pictures(count)):
            picture.pts, picture.time_base = number, Fraction(1, 20)
            sink.mux(stream.encode(picture))
        sink.mux(stream.encode(None))
    return path
