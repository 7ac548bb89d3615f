"""From `--camera` to the adapter that serves it. Adapters are imported when they are chosen."""

from __future__ import annotations

import importlib.util
import logging
from typing import Callable, NamedTuple, Optional

from pinthesky.device.cameras.v4l2 import CaptureDevice, capture_devices
from pinthesky.device.ports import Camera
from pinthesky.errors import InvalidInput, Unavailable

logger = logging.getLogger(__name__)

FLAG = "--camera"


class Choice(NamedTuple):
    """A camera by its address."""

    address: str
    sensor: Optional[str]
    """libcamera's name for it, of one of the Pi's own that `auto` has found."""


def camera_for(address: str, *, devices: Callable[[], list[CaptureDevice]] = capture_devices) -> Camera:
    """The camera that `address` names. Nothing is opened yet.

    - `auto`: the Pi's first camera, where the Pi has one and picamera2 is there; else the first USB camera
    - `picamera2`, `picamera2:1`: the Pi's first or second camera
    - `picamera`: the Pi's camera on the legacy camera stack
    - `synthetic`, `synthetic:?…`: the scene made of arithmetic
    - `/dev/videoN`, a file (`clip.mp4#loop,fast`), `rtsp(s)://…`, `http(s)://…`: what libav can play

    Raises InvalidInput for an address that can never work; messages never hold a password.
    """
    if address == "auto":
        address = resolved(address, devices=devices).address
    if address == "picamera2" or address.startswith("picamera2:"):
        return _pi_camera(address)
    if address == "picamera":
        from pinthesky.device.cameras.picamera import PicameraCamera  # noqa: PLC0415 - one camera among several

        return PicameraCamera()
    if address == "synthetic" or address.startswith("synthetic:"):
        _needs("synthetic")
        from pinthesky.device.cameras.synthetic import SyntheticCamera  # noqa: PLC0415 - needs PyAV

        return SyntheticCamera(address)
    return _libav(address)


def resolved(address: str, *, devices: Callable[[], list[CaptureDevice]] = capture_devices) -> Choice:
    """What `auto` stands for on this machine; any other address stands for itself. Raises InvalidInput."""
    if address != "auto":
        return Choice(address, None)
    pi_camera = _first_pi_camera()
    if pi_camera is not None:
        logger.info("the camera is the Pi's own, %s", pi_camera.sensor)
        return pi_camera
    found = devices()
    if not found:
        raise InvalidInput(
            FLAG,
            "auto found no camera: no Raspberry Pi camera (by picamera2), and no /dev/video* is a USB camera that this "
            "user may open (group video)",
        )
    logger.info("the camera is %s (%s)", found[0].path, found[0].card)
    return Choice(found[0].path, None)


def _first_pi_camera() -> Optional[Choice]:
    try:
        from pinthesky.device.cameras.picamera2 import pi_cameras  # noqa: PLC0415 - on a Raspberry Pi only
    except ImportError as error:
        logger.debug("picamera2 is not there (%s), so no Raspberry Pi camera is looked for", error)
        return None
    try:
        found = pi_cameras()
    except Unavailable as error:
        logger.warning("Raspberry Pi cameras are left out: %s", error)
        return None
    return Choice(f"picamera2:{found[0].number}", found[0].model) if found else None


def _pi_camera(address: str) -> Camera:
    try:
        from pinthesky.device.cameras.picamera2 import Picamera2Camera  # noqa: PLC0415 - on a Raspberry Pi only
    except ImportError as error:
        raise InvalidInput(
            FLAG,
            f"Raspberry Pi cameras need picamera2, of which {error.name or 'a part'} is not installed: "
            "sudo apt install python3-picamera2, and make the virtual environment with --system-site-packages",
        ) from error
    return Picamera2Camera(address)


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
