"""The network on an IMX500, the sensor that recognises things by itself: what it found comes with each picture.

By picamera2's own `IMX500`, which hands the network's file to the kernel's driver. The driver sends it to the sensor
when the camera starts. That takes minutes where the camera module does not have it in its own flash memory yet, and the
start does not return before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from pinthesky.device.cameras.detections import Box, Network, ssd_labels
from pinthesky.device.ports import Label, Labeller

logger = logging.getLogger(__name__)

SENSOR = "imx500"
MODEL = Path("/usr/share/imx500-models/imx500_network_ssd_mobilenetv2_fpnlite_320x320_pp.rpk")
"""Of the package imx500-models: 80 kinds of objects, with people, animals and vehicles among them."""
FIRST_PACKET_S = 600.0
"""The sensor's network may take minutes on its way ("several", says Raspberry Pi's documentation)."""
_WHOLE = (4056, 3040)
"""Pixels of the sensor: what the network sees, and what ScalerCrop counts in."""


class Imx500Network:
    """A network that is loaded into the sensor when the camera is started."""

    def __init__(self, device: Any) -> None:
        """`device` is picamera2's `IMX500`."""
        self.device = device
        intrinsics = device.network_intrinsics
        if intrinsics is not None and intrinsics.task not in (None, "object detection"):
            raise ValueError(f"its task is {intrinsics.task}, not object detection")
        names: Sequence[str] = ()
        rows_first, box_unit = True, 1.0
        if intrinsics is not None:
            names = intrinsics.labels or ()
            if intrinsics.ignore_dash_labels:
                names = [name for name in names if name and name != "-"]
            rows_first = intrinsics.bbox_order != "xy"
            box_unit = float(device.get_input_size()[1]) if intrinsics.bbox_normalization else 1.0
        self.network = Network(tuple(names), rows_first, box_unit)

    def labeller(self, rotation_left: int) -> Imx500Labeller:
        """For a camera whose pictures are still to be turned."""
        return Imx500Labeller(self, rotation_left)


class Imx500Labeller(Labeller[Mapping[str, Any]]):
    """Reads the network's findings from the metadata of a frame."""

    def __init__(self, network: Imx500Network, rotation_left: int) -> None:
        self._network = network
        self._rotation_left = rotation_left
        self._has_failed = False

    def labels(self, seen: Mapping[str, Any]) -> Sequence[Label]:
        """See `Labeller.labels`. Nothing for frames without findings, of which there are some between two that have."""
        try:
            outputs = self._network.device.get_outputs(seen)
            if outputs is None:
                return ()
            crop = _crop(seen)
            return ssd_labels(outputs, self._network.network, crop=crop, rotation_left=self._rotation_left)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            if not self._has_failed:
                logger.warning("What the sensor recognises cannot be read: %s", error)
            self._has_failed = True
            return ()


def imx500_network(camera_id: str, model: Optional[Path] = None) -> Optional[Imx500Network]:
    """The network for the sensor of libcamera's `camera_id`. To be called before the camera is taken.

    None where there is no network to be had: the camera works without, and the log says why.
    """
    path = MODEL if model is None else model
    if not path.is_file():
        logger.info("This sensor can recognise things, with the network %s (sudo apt install imx500-models)", path)
        return None
    try:
        from picamera2.devices import IMX500  # noqa: PLC0415 - asks for packages that other sensors do not need

        network = Imx500Network(IMX500(str(path), camera_id=camera_id))
    except Exception:
        logger.warning("The sensor recognises nothing, since its network cannot be used", exc_info=True)
        return None
    logger.info("The sensor recognises things with %s; sending it there may take minutes the first time", path.name)
    return network


def _crop(metadata: Mapping[str, Any]) -> Box:
    """The part of the sensor that the picture shows."""
    if "ScalerCrop" not in metadata:
        return (0.0, 0.0, 1.0, 1.0)
    left, top, width, height = metadata["ScalerCrop"]
    return (left / _WHOLE[0], top / _WHOLE[1], (left + width) / _WHOLE[0], (top + height) / _WHOLE[1])
