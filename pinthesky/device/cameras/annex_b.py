"""H.264 in Annex B form: which NAL units an access unit holds, and keyframes that stand on their own."""

from __future__ import annotations

from collections.abc import Iterator

_START = b"\x00\x00\x01"

_SLICE = 1
_SLICE_OF_IDR = 5
_SEQUENCE_PARAMETERS = 7
_PICTURE_PARAMETERS = 8

_STANDS_ALONE = frozenset((_SEQUENCE_PARAMETERS, _PICTURE_PARAMETERS, _SLICE_OF_IDR))


def is_annex_b(data: bytes) -> bool:
    """Whether `data` begins with a start code of three or four bytes."""
    return data.startswith((_START, b"\x00" + _START))


def nal_types(unit: bytes) -> frozenset[int]:
    """Types of the NAL units in an access unit; of the slices only the first is looked at (ITU-T H.264, table 7-1)."""
    return frozenset(_types_until_slice(unit))


def stands_alone(unit: bytes) -> bool:
    """Whether a decoder can begin here: the unit holds SPS, PPS and an IDR slice."""
    return nal_types(unit) >= _STANDS_ALONE


def has_idr(unit: bytes) -> bool:
    """Whether the unit is an IDR picture, with or without its parameter sets."""
    return _SLICE_OF_IDR in nal_types(unit)


def with_parameter_sets(unit: bytes, parameter_sets: bytes) -> bytes:
    """An IDR unit that holds SPS and PPS: itself where it does, else with `parameter_sets` before it.

    A unit with an access unit delimiter keeps it; decoders take parameter sets before it as well.
    """
    return unit if stands_alone(unit) else parameter_sets + unit


def parameter_sets_of(unit: bytes) -> bytes:
    """The SPS and PPS of a unit or of extradata in Annex B form, each with a start code; empty when one is missing."""
    kept = [nal for nal in split(unit) if nal[0] & 31 in (_SEQUENCE_PARAMETERS, _PICTURE_PARAMETERS)]
    if {nal[0] & 31 for nal in kept} != {_SEQUENCE_PARAMETERS, _PICTURE_PARAMETERS}:
        return b""
    return b"".join(b"\x00" + _START + nal for nal in kept)


def split(data: bytes) -> Iterator[bytes]:
    """The NAL units of `data`, without start codes and without the zero bytes that may trail them."""
    begin = data.find(_START)
    while begin >= 0:
        begin += len(_START)
        end = data.find(_START, begin)
        nal = (data[begin:] if end < 0 else data[begin:end]).rstrip(b"\x00")
        if nal:
            yield nal
        begin = end


def _types_until_slice(unit: bytes) -> Iterator[int]:
    at = unit.find(_START)
    while 0 <= at < len(unit) - len(_START):
        kind = unit[at + len(_START)] & 31
        yield kind
        if _SLICE <= kind <= _SLICE_OF_IDR:
            return
        at = unit.find(_START, at + len(_START))
