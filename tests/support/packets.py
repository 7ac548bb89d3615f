"""Makers of packets: plain ones that only look like H.264, and real ones from libx264 where PyAV is installed."""

from __future__ import annotations

import functools
import random
import re
import struct
from fractions import Fraction
from typing import Optional

from pinthesky.device.clip_journal import ClipHeader
from pinthesky.device.ports import Packet
from pinthesky.model.recording import Moment

EVENT_ID = "0123456789abcdef0123456789abcdef"
_NUMBER_BYTES = 5
_MARK = b"\x00\x00\x00\x01"


def plain_packet(number: int, *, gop: int = 10, fps: int = 20, start_us: int = 1_000_000, size: int = 40) -> Packet:
    """Packet `number` of a stream: as long as a real one may be, and with its number in it."""
    is_keyframe = number % gop == 0
    # No byte is zero, so that no start code can be seen within a packet.
    digits = bytes(0x80 | (value >> 7 * place) & 0x7F for value in (number, size) for place in range(_NUMBER_BYTES))
    head = _MARK + (b"\x65" if is_keyframe else b"\x41") + digits
    filler = bytes([0x80 | number % 0x7F]) * (size - len(head))
    return Packet(head + filler, start_us + number * 1_000_000 // fps, is_keyframe)


def plain_packets(count: int, *, first: int = 0, gop: int = 10, fps: int = 20, size: int = 40) -> list[Packet]:
    """Packets `first` to `first + count - 1` of a plain stream that runs at `fps` and begins on a keyframe."""
    return [plain_packet(number, gop=gop, fps=fps, size=size) for number in range(first, first + count)]


def plain_numbers(stream: bytes) -> list[int]:
    """Numbers of the plain packets in a bare stream, in order. Fails on anything that is no whole packet."""
    numbers = []
    assert stream[: len(_MARK)] in (b"", _MARK)
    for chunk in stream.split(_MARK)[1:]:
        assert len(chunk) > 2 * _NUMBER_BYTES, "a packet is torn within its head"
        digits = [byte & 0x7F for byte in chunk[1 : 1 + 2 * _NUMBER_BYTES]]
        number, size = (
            sum(digit << 7 * place for place, digit in enumerate(part))
            for part in (digits[:_NUMBER_BYTES], digits[_NUMBER_BYTES:])
        )
        assert len(chunk) + len(_MARK) == size, f"packet {number} is torn"
        assert set(chunk[1 + 2 * _NUMBER_BYTES :]) == {0x80 | number % 0x7F}, f"packet {number} is damaged"
        numbers.append(number)
    return numbers


def clip_header(
    event_id: str = EVENT_ID,
    *,
    part: int = 1,
    width: int = 64,
    height: int = 48,
    rotation_left: int = 0,
    framerate: float = 20.0,
    wall_s: Optional[float] = 1_750_000_000.0,
) -> ClipHeader:
    """A header as the camera thread would write it."""
    return ClipHeader(
        event_id=event_id,
        part=part,
        start=Moment(boot_id="boot", monotonic_s=100.0, wall_s=wall_s),
        width=width,
        height=height,
        rotation_left=rotation_left,
        framerate=framerate,
    )


@functools.lru_cache(maxsize=8)
def h264_packets(
    count: int,
    *,
    width: int = 64,
    height: int = 48,
    gop: int = 10,
    fps: int = 20,
    bitrate: int = 100_000,
    start_us: int = 123_456_789,
    jitter_us: int = 400,
    profile: str = "baseline",
) -> tuple[Packet, ...]:
    """Real H.264 of a moving pattern: no B-frames, parameter sets before every keyframe, jittering timestamps."""
    import av
    import numpy as np

    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, 1_000_000), Fraction(fps)
    codec.bit_rate, codec.gop_size, codec.max_b_frames = bitrate, gop, 0
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": profile,
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:nal-hrd=cbr",
        "maxrate": str(bitrate),
        "bufsize": str(bitrate // 2),
    }
    jitter = random.Random(1)
    pattern = np.random.default_rng(1).integers(0, 60, (height * 3 // 2, width), dtype=np.uint8)
    packets: list[Packet] = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(np.roll(pattern, number * 2, axis=1), format="yuv420p")
        frame.pts = start_us + number * 1_000_000 // fps + jitter.randrange(jitter_us + 1)
        frame.time_base = codec.time_base
        packets += [Packet(bytes(unit), unit.pts or 0, unit.is_keyframe) for unit in codec.encode(frame)]
    packets += [Packet(bytes(unit), unit.pts or 0, unit.is_keyframe) for unit in codec.encode(None)]
    return tuple(packets)


def nal_units(annex_b: bytes) -> list[bytes]:
    """The NAL units of an Annex B stream, without start codes and trailing zeros."""
    units = re.split(b"\x00\x00\x01", annex_b)[1:]
    return [unit.rstrip(b"\x00") for unit in units]


def length_prefixed_units(sample: bytes) -> list[bytes]:
    """The NAL units of a sample of an MP4, each behind its length in four bytes."""
    units, position = [], 0
    while position < len(sample):
        (size,) = struct.unpack_from(">I", sample, position)
        units.append(sample[position + 4 : position + 4 + size].rstrip(b"\x00"))
        position += 4 + size
    assert position == len(sample)
    return units
