"""Reads the numbers that the synthetic camera writes into its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pinthesky.device.cameras.geometry import turned
from pinthesky.device.cameras.synthetic_scene import BARS_TOP, CELLS, CRC_BITS, crc8

LIGHT, DARK = 150, 105


def read_number(grey: Any) -> int | None:
    """The number in a grey picture, uint8 (height, width) of any size, not turned; None when it cannot be read."""
    height, width = grey.shape
    top = height * BARS_TOP // 1000
    depth = height - top
    rows = grey[top + depth // 4 : height - max(1, depth // 4)]
    if not len(rows) or width < CELLS * 2:
        return None
    bits = []
    for cell in range(CELLS):
        begin, end = cell * width / CELLS, (cell + 1) * width / CELLS
        quarter = (end - begin) / 4
        level = rows[:, int(begin + quarter) : max(int(begin + quarter) + 1, int(end - quarter))].mean()
        if DARK < level < LIGHT:
            return None
        bits.append(bool(level >= LIGHT))
    if bits[:2] != [True, False] or bits[-2:] != [False, True]:
        return None
    word = int("".join("01"[bit] for bit in bits[2:-2]), 2)
    number = word >> CRC_BITS
    return number if word & ((1 << CRC_BITS) - 1) == crc8(number) else None


def numbers_in_clip(path: Path | str) -> list[tuple[int, int | None]]:
    """(timestamp in µs from the first picture, number) of every picture of a clip, in the order shown. Needs PyAV."""
    import av

    found: list[tuple[int, int | None]] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for picture in container.decode(stream):
            time_us = round((picture.time or 0.0) * 1_000_000)
            found.append((time_us, read_number(picture.to_ndarray(format="gray"))))
    first_us = found[0][0] if found else 0
    return [(time_us - first_us, number) for time_us, number in found]


def numbers_in_packets(packets, *, turned_by: int = 0) -> list[int | None]:
    """The number of every picture of H.264 packets (as `Packet`, from a keyframe on). Needs PyAV.

    `turned_by` is how far clockwise the pictures are turned.
    """
    import av

    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoder.flags |= 1 << 19  # low delay
    pictures = []
    for packet in packets:
        pictures += decoder.decode(av.Packet(packet.data))
    pictures += decoder.decode(None)
    return [read_number(turned(picture.to_ndarray(format="gray"), -turned_by)) for picture in pictures]
