"""Reads an H.264 sequence parameter set: what an encoder says of the stream it makes (ITU-T H.264, 7.3.2.1 and E.1)."""

from __future__ import annotations

from typing import NamedTuple

_PROFILES = {
    66: "Baseline",
    77: "Main",
    88: "Extended",
    100: "High",
    110: "High 10",
    122: "High 4:2:2",
    244: "High 4:4:4",
}
_WITH_CHROMA = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_EXTENDED_SAR = 255
_ZEROS_MAX = 32
_COUNT_MAX = 256


class SequenceParameters(NamedTuple):
    """The parts of a sequence parameter set that matter to players and decoders."""

    profile: str
    level: str
    codec: str
    """As browsers name it (RFC 6381): "avc1.64001f"."""
    width: int
    height: int
    frames_only: bool
    """Whether no picture is interlaced."""
    reference_frames: int
    framerate: float | None
    """What the encoder says of it; None where it says nothing."""
    bitstream_restriction: bool
    """Whether the two that follow are said; a decoder that is not told may keep back pictures."""
    reorder_frames: int | None
    decoded_picture_buffering: int | None


class _Bits:
    """Bits of a NAL unit, most significant first. Raises ValueError beyond the end."""

    def __init__(self, nal: bytes) -> None:
        # Emulation prevention: 00 00 03 stands for 00 00.
        self._data = nal.replace(b"\x00\x00\x03", b"\x00\x00")
        self._at = 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            if self._at >= 8 * len(self._data):
                raise ValueError("the parameter set ends too soon")
            value = value << 1 | self._data[self._at >> 3] >> (7 - self._at % 8) & 1
            self._at += 1
        return value

    def flag(self) -> bool:
        return bool(self.take(1))

    def unsigned(self) -> int:
        """ue(v), clause 9.1."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > _ZEROS_MAX:
                raise ValueError("a number without end in the parameter set")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """se(v), clause 9.1.1."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def count(self) -> int:
        """ue(v) that says how often something comes."""
        value = self.unsigned()
        if value > _COUNT_MAX:
            raise ValueError(f"a count of {value} in the parameter set")
        return value


def sequence_parameters(nal: bytes) -> SequenceParameters:
    """Read a NAL unit of type 7, without its start code. Raises ValueError for what is none."""
    if len(nal) < 4 or nal[0] & 31 != 7:
        raise ValueError("not a sequence parameter set")
    profile, constraints, level = nal[1:4]
    bits = _Bits(nal[4:])
    bits.unsigned()
    chroma = _chroma(bits) if profile in _WITH_CHROMA else 1
    bits.unsigned()
    _picture_order(bits)
    reference_frames = bits.unsigned()
    bits.flag()
    width, height = 16 * (bits.unsigned() + 1), 16 * (bits.unsigned() + 1)
    frames_only = bits.flag()
    if not frames_only:
        height *= 2
        bits.flag()
    bits.flag()
    if bits.flag():
        across = 1 if chroma in (0, 3) else 2
        down = (2 if chroma == 1 else 1) * (1 if frames_only else 2)
        left, right, top, bottom = (bits.unsigned() for _ in range(4))
        width, height = width - across * (left + right), height - down * (top + bottom)
    usability = _usability(bits) if bits.flag() else _Usability(None, None, None)
    return SequenceParameters(
        profile=_profile_name(profile, constraints),
        level=_level_name(profile, constraints, level),
        codec=f"avc1.{profile:02x}{constraints:02x}{level:02x}",
        width=width,
        height=height,
        frames_only=frames_only,
        reference_frames=reference_frames,
        framerate=usability.framerate,
        bitstream_restriction=usability.reorder_frames is not None,
        reorder_frames=usability.reorder_frames,
        decoded_picture_buffering=usability.buffering,
    )


class _Usability(NamedTuple):
    framerate: float | None
    reorder_frames: int | None
    buffering: int | None


def _chroma(bits: _Bits) -> int:
    chroma = bits.unsigned()
    separate = chroma == 3 and bits.flag()
    bits.unsigned()
    bits.unsigned()
    bits.flag()
    if bits.flag():
        for index in range(12 if chroma == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return 0 if separate else chroma


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _picture_order(bits: _Bits) -> None:
    kind = bits.unsigned()
    if kind == 0:
        bits.unsigned()
    elif kind == 1:
        bits.flag()
        bits.signed()
        bits.signed()
        for _ in range(bits.count()):
            bits.signed()


def _usability(bits: _Bits) -> _Usability:
    if bits.flag() and bits.take(8) == _EXTENDED_SAR:
        bits.take(32)
    if bits.flag():
        bits.flag()
    if bits.flag():
        bits.take(4)
        if bits.flag():
            bits.take(24)
    if bits.flag():
        bits.unsigned()
        bits.unsigned()
    framerate = None
    if bits.flag():
        ticks, scale = bits.take(32), bits.take(32)
        bits.flag()
        framerate = scale / (2 * ticks) if ticks else None
    described = [_skip_reference_decoder(bits) for _ in range(2) if bits.flag()]
    if described:
        bits.flag()
    bits.flag()
    if not bits.flag():
        return _Usability(framerate, None, None)
    bits.flag()
    for _ in range(4):
        bits.unsigned()
    return _Usability(framerate, bits.unsigned(), bits.unsigned())


def _skip_reference_decoder(bits: _Bits) -> bool:
    entries = bits.count() + 1
    bits.take(8)
    for _ in range(entries):
        bits.unsigned()
        bits.unsigned()
        bits.flag()
    bits.take(20)
    return True


def _profile_name(profile: int, constraints: int) -> str:
    name = _PROFILES.get(profile, f"profile {profile}")
    return f"Constrained {name}" if profile == 66 and constraints & 0x40 else name


def _level_name(profile: int, constraints: int, level: int) -> str:
    if level == 9 or (level == 11 and constraints & 0x10 and profile in (66, 77, 88)):
        return "1b"
    return f"{level // 10}.{level % 10}" if level % 10 else str(level // 10)
