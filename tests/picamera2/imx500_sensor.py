"""An IMX500 made of files: what picamera2's own `IMX500` looks for in the system, and what such a sensor sends.

For the root file system, in which no sysfs is mounted. The network's file holds what the library reads of it; its
firmware, which only the sensor understands, is missing.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

CAMERA_ID = "Virtual-imx500"
SUBDEVICE = Path("/sys/class/video4linux/v4l-subdev0")
DEVICE = Path("/dev/v4l-subdev0")
INPUT = 320
NAMES = ("person", "-", "cat")
_NORM = "\n".join(f"inputTensorNorm_K{index}=0x0" for index in ("03", "13", "23", "00", "22", "02", "20", "11"))
_INFO = f"""networkID=000000
apParamSize=0
networkNum=1
networkOrdinal=0
inputTensorWidth={INPUT}
inputTensorHeight={INPUT}
inputTensorFormat=RGB
{_NORM}
"""
INTRINSICS = {
    "task": "object detection",
    "inference_rate": 30.0,
    "cpu": {"bbox_normalization": True, "bbox_order": "xy"},
    "classes": {"labels": list(NAMES)},
}


@contextmanager
def system_with_sensor(monkeypatch: Any, folder: Path) -> Iterator[list[int]]:
    """The system's files for one IMX500; gives the numbers of the controls that its driver was asked to set."""
    from picamera2.devices.imx500 import imx500

    asked: list[int] = []

    def ioctl(_device: Any, _request: int, control: Any) -> int:
        asked.append(control.controls[0].id if hasattr(control, "controls") else control.id)
        return 0

    monkeypatch.setattr(imx500, "fcntl", types.SimpleNamespace(ioctl=ioctl))
    # Whom the hardened daemon asks for the progress of the upload, and who refuses.
    (folder / "sudo").write_text("#!/bin/sh\nexit 1\n")
    (folder / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    on_bus = folder / "10-001a"
    (on_bus / "driver").mkdir(parents=True)
    (on_bus / "driver" / "module").symlink_to(folder / "imx500")
    (on_bus / "of_node").symlink_to(folder / CAMERA_ID)
    (folder / "imx500").mkdir()
    SUBDEVICE.mkdir(parents=True, exist_ok=True)
    link = SUBDEVICE / "device"
    link.unlink(missing_ok=True)
    link.symlink_to(on_bus)
    DEVICE.touch()
    try:
        yield asked
    finally:
        link.unlink()
        SUBDEVICE.rmdir()
        DEVICE.unlink()


def network_file(path: Path, **intrinsics: Any) -> Path:
    """A network's file as the library reads it: an archive (cpio, "newc") behind no firmware."""
    members = {"network_info.txt": _INFO, "network_intrinsics": json.dumps({**INTRINSICS, **intrinsics})}
    members["TRAILER!!!"] = ""
    path.write_bytes(b"".join(_member(name, text.encode()) for name, text in members.items()))
    return path


def _member(name: str, data: bytes) -> bytes:
    fields = [0, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def metadata_of(found: Sequence[tuple[tuple[float, float, float, float], float, int]]) -> dict[str, Any]:
    """What libcamera tells of a frame in which the network found (box, score, class): boxes in pixels of its input."""
    from picamera2.devices.imx500.imx500 import CnnOutputTensorInfoExported

    boxes = np.array([box for box, _, _ in found], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in found], np.float32)
    classes = np.array([number for _, _, number in found], np.float32)
    tensors = [boxes, scores, classes, np.array([len(found)], np.float32)]
    info = CnnOutputTensorInfoExported()
    info.num_tensors = len(tensors)
    for described, tensor in zip(info.info, tensors):
        described.tensor_data_num, described.num_dimensions = tensor.size, tensor.ndim
        for axis, size in enumerate(tensor.shape):
            described.size[axis] = size
    return {
        "CnnOutputTensor": [float(value) for tensor in tensors for value in tensor.flatten(order="F")],
        "CnnOutputTensorInfo": bytes(info),
        "ScalerCrop": (0, 0, 4056, 3040),
    }
