"""What a Raspberry Pi and its camera do best, where the owner says nothing: one preset for each model and sensor.

The board decides how many pixels and bits, the sensor decides their shape: a picture of the sensor's own shape shows
all that it sees. Pure tables; `docs/reference/presets.md` is made from them.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple, Optional

from pinthesky.model.settings import CameraSettings

Board = Literal["zero", "zero2", "3", "4", "5"]
"""Kinds of Raspberry Pi that differ in what they can record."""
Sensor = Literal["ov5647", "imx219", "imx477", "imx708", "imx500"]
_Shape = Literal["4:3", "16:9"]

ROTATION: Literal[0] = 0
"""For new installations. How a camera hangs cannot be seen, so `--camera auto` leaves the rotation alone."""


class BoardFacts(NamedTuple):
    """What is known of a kind of board."""

    title: str
    encoder: str
    reason: str


class SensorFacts(NamedTuple):
    """What is known of a sensor."""

    title: str
    shape: _Shape
    full_view: tuple[int, int]
    """(width, height) of its smallest mode that shows all it sees: what smaller pictures should be scaled from. Left to
    itself libcamera may take a smaller mode, which shows the middle only."""
    fastest: int
    """Frames per second in that mode."""
    bit_depth: int
    """Bits of a pixel in that mode."""


class Preset(NamedTuple):
    """Values of section `camera`, and what belongs to them."""

    resolution: str
    framerate: int
    encoding_bitrate: int
    encoding_profile: Literal["baseline", "constrained", "main", "high"]
    encoding_level: str
    sensor_mode: Optional[tuple[int, int]]
    """(width, height) of the sensor's mode to scale from; None for a sensor that is not known."""

    @property
    def camera_fields(self) -> dict[str, Any]:
        """The fields of `CameraSettings` that a preset sets; the rotation is not among them."""
        return {name: getattr(self, name) for name in PRESET_FIELDS}

    def new_installation(self) -> CameraSettings:
        """The section `camera` that an installer writes."""
        return CameraSettings(rotation=ROTATION, **self.camera_fields)


PRESET_FIELDS = ("resolution", "framerate", "encoding_bitrate", "encoding_profile", "encoding_level")

BOARDS: dict[Board, BoardFacts] = {
    "zero": BoardFacts(
        "Zero, Zero W, 1",
        "hardware",
        "One slow core that also uploads: few, small pictures. 18 000 of the 20 250 macroblocks a second of level 2.2, "
        "at that level's highest bitrate, which costs the encoder nothing and the uplink little.",
    ),
    "zero2": BoardFacts(
        "Zero 2 W, 2",
        "hardware",
        "Four cores, but 512 MB for pictures, ring and uploads together: half a million pixels more than a Zero, at 15 "
        "frames a second, within level 3.1.",
    ),
    "3": BoardFacts(
        "3, 3+, Compute Module 3", "hardware", "The same encoder with 1 GB and room for 20 frames a second."
    ),
    "4": BoardFacts(
        "4, 400, Compute Module 4",
        "hardware",
        "1080p at 20 frames a second is two thirds of what the encoder does within level 4, which leaves room for a "
        "second stream. 4:3 pictures stay at 1280x960: larger ones of its whole view Camera Module 1 gives too slowly.",
    ),
    "5": BoardFacts(
        "5, 500, Compute Module 5",
        "libx264 on the CPU",
        "No encoder in hardware. The size is chosen so that encoding stays far below one core of four; the owner may "
        "ask for more.",
    ),
}
SENSORS: dict[Sensor, SensorFacts] = {
    "ov5647": SensorFacts("Camera Module 1", "4:3", (1296, 972), 43, 10),
    "imx219": SensorFacts("Camera Module 2", "4:3", (1640, 1232), 41, 10),
    "imx477": SensorFacts("High Quality Camera", "4:3", (2028, 1520), 40, 12),
    "imx708": SensorFacts("Camera Module 3", "16:9", (2304, 1296), 56, 10),
    "imx500": SensorFacts("AI Camera", "4:3", (2028, 1520), 30, 10),
}

# resolution, frames per second, bits per second, level
_VALUES: dict[tuple[Board, _Shape], tuple[str, int, int, str]] = {
    ("zero", "4:3"): ("640x480", 15, 5_000_000, "2.2"),
    ("zero", "16:9"): ("640x360", 15, 4_000_000, "2.2"),
    ("zero2", "4:3"): ("1024x768", 15, 3_000_000, "3.1"),
    ("zero2", "16:9"): ("1280x720", 15, 3_000_000, "3.1"),
    ("3", "4:3"): ("1024x768", 20, 3_000_000, "3.1"),
    ("3", "16:9"): ("1280x720", 20, 4_000_000, "3.1"),
    ("4", "4:3"): ("1280x960", 20, 4_000_000, "3.2"),
    ("4", "16:9"): ("1920x1080", 20, 5_000_000, "4"),
    ("5", "4:3"): ("1280x960", 20, 4_000_000, "3.2"),
    ("5", "16:9"): ("1280x720", 20, 4_000_000, "3.1"),
}

_GENERATIONS: dict[str, Board] = {"1": "zero", "2": "zero2", "3": "3", "4": "4", "5": "5"}


def preset_for(pi_model: str, sensor: str) -> Optional[Preset]:
    """The preset for a board, as its device tree names it, and a sensor, as libcamera does ("imx708_wide_noir").

    A sensor that is not known gets the 4:3 picture, which nearly all have; None for what is no Raspberry Pi.
    """
    board = board_of(pi_model)
    if board is None:
        return None
    known = sensor_of(sensor)
    shape: _Shape = "4:3" if known is None else SENSORS[known].shape
    resolution, framerate, bitrate, level = _VALUES[board, shape]
    return Preset(
        resolution=resolution,
        framerate=framerate,
        encoding_bitrate=bitrate,
        encoding_profile="high",
        encoding_level=level,
        sensor_mode=None if known is None else SENSORS[known].full_view,
    )


def board_of(pi_model: str) -> Optional[Board]:
    """The kind of board of "Raspberry Pi Zero 2 W Rev 1.0" and the like; None for anything else."""
    found = re.match(r"Raspberry Pi (?P<name>.+)", pi_model)
    if found is None:
        return None
    name = found["name"]
    if name.startswith("Zero"):
        return "zero2" if name.startswith("Zero 2") else "zero"
    generation = re.match(r"(?:Compute Module |Model )?([1-9])(?:00)?S?\b", name)
    if generation is None:
        # The first of all were called Model A and B, Plus or not, and Compute Module.
        return "zero" if re.match(r"(Model [AB]|Compute Module)\b", name) else None
    return _GENERATIONS.get(generation[1])


def sensor_of(name: str) -> Optional[Sensor]:
    """The sensor by libcamera's name for the camera, which tells variants of lens and filter behind it."""
    bare = name.lower().partition("_")[0]
    return next((sensor for sensor in SENSORS if sensor == bare), None)
