"""MP4 clip and thumbnail of a bare H.264 stream: the same packets, in a box that every player opens."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av

from pinthesky.errors import InvalidInput

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

    Packet = av.Packet[VideoStream]

STREAM_MAX = 256 * 1024 * 1024
"""Bytes of the longest part that a device stores."""
THUMBNAIL_WIDTH = 640
USUAL_FRAMERATE = 20.0
"""Where nothing says better: the devices' own default."""
_MICROSECONDS = 1_000_000
_OPTIONS = {
    "movflags": "faststart",
    "video_track_timescale": str(_MICROSECONDS),
    "movie_timescale": str(_MICROSECONDS),
}
_TIMES_HEADER = "# timestamp format v2"
_FULL_RANGE = 2


@dataclass(frozen=True)
class Converted:
    """What a stream has become. `thumbnail` is a JPEG of its first picture."""

    mp4: bytes
    thumbnail: bytes
    duration_s: float


def convert(stream: bytes, timestamps: bytes | None = None) -> Converted:
    """Make an MP4 of a stream. `timestamps` are lines of milliseconds, as `mkvmerge --timestamps` reads them.

    Without them pictures are evenly spaced, at the rate that the stream names. A stream that begins in the middle
    begins at its first keyframe. Raises InvalidInput (`source`): it is no stream that can be read.
    """
    if len(stream) > STREAM_MAX:
        raise InvalidInput("source", f"must have at most {STREAM_MAX} bytes, got {len(stream)}")
    try:
        times_us = None if timestamps is None else _times_of(timestamps)
        # The muxer reads its file again to bring the index to the front, so it needs one that has a name.
        with tempfile.TemporaryDirectory(prefix="pits-conversion-") as folder:
            path = Path(folder) / "clip.mp4"
            duration_s = _mux(stream, times_us, path)
            mp4 = path.read_bytes()
        thumbnail = _first_picture(stream)
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise InvalidInput("source", f"is no H.264 stream that can be read: {error}") from error
    return Converted(mp4, thumbnail, duration_s)


def _mux(stream: bytes, times_us: list[int] | None, path: Path) -> float:
    """Write the MP4; returns how many seconds it lasts."""
    end_us = 0
    with (
        av.open(io.BytesIO(stream), "r", format="h264") as source,
        av.open(str(path), "w", format="mp4", options=_OPTIONS) as target,
    ):
        video = source.streams.video[0]
        track = target.add_stream_from_template(video)
        track.time_base = Fraction(1, _MICROSECONDS)
        interval_us = _interval_us(times_us, video.guessed_rate)
        for sample, start_us, length_us in _samples(source.demux(video), times_us, interval_us):
            sample.stream = track
            sample.time_base = track.time_base
            sample.pts = sample.dts = start_us
            sample.duration = length_us
            end_us = start_us + length_us
            target.mux_one(sample)
    return end_us / _MICROSECONDS


def _samples(
    packets: Iterator[Packet], times_us: list[int] | None, interval_us: int
) -> Iterator[tuple[Packet, int, int]]:
    """Packet, start and length of each picture from the first keyframe on, counted from there."""
    begin_us: int | None = None
    for number, packet in enumerate(packet for packet in packets if packet.size):
        known = times_us is not None and number + 1 < len(times_us)
        if times_us is None or number >= len(times_us):
            past = 0 if times_us is None else len(times_us) - 1
            start_us = (0 if not times_us else times_us[-1]) + (number - past) * interval_us
        else:
            start_us = times_us[number]
        length_us = times_us[number + 1] - start_us if times_us is not None and known else interval_us
        if begin_us is None:
            if not packet.is_keyframe:
                continue
            begin_us = start_us
        yield packet, start_us - begin_us, length_us
    if begin_us is None:
        raise ValueError("it has no keyframe")


def _times_of(text: bytes) -> list[int]:
    """Microseconds of the pictures. Raises ValueError for what is no such file."""
    first, *lines = text.decode("ascii").splitlines()
    if first.strip() != _TIMES_HEADER:
        raise ValueError("its timestamps are not in format v2")
    times = [round(float(line) * 1000) for line in lines if line.strip()]
    if not times or any(after <= before for before, after in pairwise(times)):
        raise ValueError("its timestamps do not grow")
    return times


def _interval_us(times_us: list[int] | None, rate: Fraction | None) -> int:
    if times_us is not None and len(times_us) > 1:
        return (times_us[-1] - times_us[0]) // (len(times_us) - 1)
    named = float(rate) if rate else 0.0
    return round(_MICROSECONDS / (named if 1 <= named <= 120 else USUAL_FRAMERATE))


def _first_picture(stream: bytes) -> bytes:
    with av.open(io.BytesIO(stream), "r", format="h264") as source:
        picture = next(source.decode(video=0))
    width = min(picture.width, THUMBNAIL_WIDTH) // 2 * 2
    height = max(2, round(picture.height * width / picture.width) // 2 * 2)
    small = picture.reformat(width, height, "yuvj420p", dst_color_range=_FULL_RANGE)
    small.pts, small.time_base = 0, Fraction(1, 25)
    encoder: VideoCodecContext = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuvj420p", Fraction(1, 25)
    encoder.options = {"qmin": "4", "qmax": "4"}
    return b"".join(bytes(packet) for packet in [*encoder.encode(small), *encoder.encode(None)])
