"""From `--camera` to the adapter that serves it. Adapters are imported when they are chosen."""

from __future__ import annotations

import importlib.util
import logging
from typing import Callable

from pinthesky.device.cameras.v4l2 import CaptureDevice, capture_devices
from pinthesky.device.ports import Camera
from pinthesky.errors import InvalidInput

logger = logging.getLogger(__name__)

FLAG = "--camera"
_NOT_YET = (
    "{} cameras are not in this version: name a USB camera (/dev/video0), a file, or an rtsp:// or http:// address"
)


def camera_for(address: str, *, devices: Callable[[], list[CaptureDevice]] = capture_devices) -> Camera:
    """The camera that `address` names. Nothing is opened yet.

    - `auto`: the first USB camera
    - `synthetic`, `synthetic:?…`: the scene made of arithmetic
    - `/dev/videoN`, a file (`clip.mp4#loop,fast`), `rtsp(s)://…`, `http(s)://…`: what libav can play

    Raises InvalidInput for an address that can never work; messages never hold a password.
    """
    if address == "auto":
        return _first_found(devices)
    if address in ("picamera2", "picamera"):
        raise InvalidInput(FLAG, _NOT_YET.format(address))
    if address == "synthetic" or address.startswith("synthetic:"):
        _needs("synthetic")
        from pinthesky.device.cameras.synthetic import SyntheticCamera  # noqa: PLC0415 - needs PyAV

        return SyntheticCamera(address)
    return _libav(address)


def _first_found(devices: Callable[[], list[CaptureDevice]]) -> Camera:
    found = devices()
    if not found:
        raise InvalidInput(
            FLAG,
            "auto found no camera: no /dev/video* is a USB camera that this user may open (group video); "
            "Raspberry Pi cameras are not in this version",
        )
    logger.info("the camera is %s (%s)", found[0].path, found[0].card)
    return _libav(found[0].path)


def _libav(address: str) -> Camera:
    _needs("USB cameras, files and streams")
    from pinthesky.device.cameras.libav import LibavCamera  # noqa: PLC0415 - needs PyAV

    return LibavCamera(address)


def _needs(what: str) -> None:
    for module, package in (("av", "av"), ("numpy", "numpy")):
        if not _installed(module):
            raise InvalidInput(FLAG, f"{what} need {package}, which is not installed (pip install {package})")


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
