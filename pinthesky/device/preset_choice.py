"""The preset of this board and its camera, laid under the flags that the owner gave."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Optional

import msgspec

from pinthesky.device.pi_model import pi_model
from pinthesky.model.presets import preset_for
from pinthesky.model.settings import DeviceSettings

logger = logging.getLogger(__name__)


def with_preset(
    settings: DeviceSettings, *, sensor: Optional[str], given: Collection[str], board: Optional[str] = None
) -> DeviceSettings:
    """`settings` with the preset's values for the fields of section `camera` that are not among `given`.

    `sensor` is libcamera's name of the Pi's own camera that `auto` found, None for any other camera, which has no
    preset; `board` takes the place of this machine's name.
    """
    board = board or pi_model()
    preset = None if sensor is None or board is None else preset_for(board, sensor)
    if preset is None:
        return settings
    under = {name: value for name, value in preset.camera_fields.items() if name not in given}
    if under:
        logger.info(
            "Preset for %s on %s: %s", sensor, board, ", ".join(f"{name} {value}" for name, value in under.items())
        )
    return settings.with_section("camera", msgspec.structs.replace(settings.camera, **under))
