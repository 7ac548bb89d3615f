"""Which video devices of Linux are cameras that libav can read."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from pathlib import Path
from typing import Callable, NamedTuple, Optional

_QUERYCAP = 0x80685600
"""VIDIOC_QUERYCAP of linux/videodev2.h: _IOR('V', 0, struct v4l2_capability), 104 bytes."""
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_VIDEO_CAPTURE, _VIDEO_M2M, _STREAMING, _DEVICE_CAPS = 0x1, 0x8000, 0x0400_0000, 0x8000_0000
_PARTS_OF_A_PI = frozenset(("unicam", "bcm2835-isp", "bcm2835-codec", "pispbe", "rp1-cfe", "rpi-hevc-dec", "rpivid"))
"""Drivers of raw sensors, image processors and codecs, which show up as capture devices."""


class CaptureDevice(NamedTuple):
    """A device that gives pictures."""

    path: str
    card: str


def query_capability(path: str) -> bytes:
    """The device's struct v4l2_capability. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(descriptor, _QUERYCAP, bytes(_CAPABILITY.size))
    finally:
        os.close(descriptor)


def capture_device(path: str, query: Callable[[str], bytes] = query_capability) -> Optional[CaptureDevice]:
    """The device at `path`, or None when it is no camera, is not there, or may not be opened."""
    try:
        driver, card, _, _, capabilities, device_caps = _CAPABILITY.unpack(query(path))
    except OSError:
        return None
    if capabilities & _DEVICE_CAPS:
        capabilities = device_caps
    needed = _VIDEO_CAPTURE | _STREAMING
    if capabilities & needed != needed or capabilities & _VIDEO_M2M or _text(driver) in _PARTS_OF_A_PI:
        return None
    return CaptureDevice(path, _text(card))


def capture_devices(
    folder: Path = Path("/dev"), query: Callable[[str], bytes] = query_capability
) -> list[CaptureDevice]:
    """All cameras among /dev/video*, in the order of their numbers."""
    numbers = [int(found.group(1)) for path in folder.glob("video*") if (found := re.match(r"^video(\d+)$", path.name))]
    devices = (capture_device(str(folder / f"video{number}"), query) for number in sorted(numbers))
    return [device for device in devices if device is not None]


def _text(field: bytes) -> str:
    return field.split(b"\x00", 1)[0].decode("utf-8", "replace")
