"""Route of the settings' schema: what a form needs in order to offer every setting with its bounds, unit and cost."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from pinthesky.model import presets, settings
from pinthesky.model.shadow import DESIRED_MAX
from pinthesky.planes.authorization import Permission
from pinthesky.planes.routing import Call, Routes

routes = Routes("settings")

UNIT = "x-unit"
"""Keyword of the schema: the unit of a number, or of the numbers in a list; "1" for a ratio."""

UNITS: Mapping[str, str] = {
    "camera.rotation": "°",
    "camera.resolution": "px",
    "camera.framerate": "1/s",
    "camera.buffer": "s",
    "camera.buffer_size": "B",
    "camera.sensitivity": "1",
    "camera.recording_window": "h",
    "camera.encoding_bitrate": "bit/s",
    "health.interval": "s",
    "motion.zones": "‰",
    "motion.masks": "‰",
    "motion.privacy_masks": "‰",
    "motion.post_roll": "s",
    "motion.cool_down": "s",
    "motion.min_duration": "s",
    "motion.max_duration": "s",
    "mode.until": "epoch s",
    "picture.exposure_us": "µs",
    "picture.gain": "1",
    "picture.exposure_value": "EV",
    "picture.colour_gains": "1",
    "picture.sharpness": "1",
    "picture.contrast": "1",
    "picture.saturation": "1",
    "picture.brightness": "1",
    "picture.lens_position": "dpt",
    "picture.min_framerate": "1/s",
    "picture.flicker_hz": "Hz",
}


class SettingsPreset(Struct, kw_only=True, rename="camel"):
    """What a Raspberry Pi and its camera do best where the owner says nothing."""

    board: Annotated[str, Meta(description="Kind of Raspberry Pi.")]
    board_title: str
    sensor: Annotated[str, Meta(description="As libcamera names it, without its variant.")]
    sensor_title: str
    reason: str
    camera: Annotated[dict[str, Any], Meta(description="Fields of the section `camera`.")]


class CostHint(Struct, kw_only=True, rename="camel"):
    """What a setting costs, so that a form can say so before it is paid.

    The amount is `factor` times the product of the fields' values, or divided by it, or `factor` as it is where the
    field has one of `values`. `usdPerUnit` is what AWS asks in us-east-1 without free tiers (list prices of 2026); at
    home nobody asks anything, and null means that it costs no money but what `unit` says.
    """

    fields: list[str]
    relation: Literal["times", "divided", "switch"]
    factor: float
    unit: str
    values: list[str | bool] | None = None
    usd_per_unit: float | None = None
    text: str


class SettingsSchema(Struct, kw_only=True, rename="camel"):
    """Everything that a form of the settings needs."""

    schema: Annotated[dict[str, Any], Meta(description="JSON Schema (2020-12) of all sections, with `x-unit`.")]
    desired_max_bytes: Annotated[int, Meta(description="Of all that is desired, as JSON without spaces.")]
    presets: list[SettingsPreset]
    costs: list[CostHint]


COSTS = (
    CostHint(
        fields=["camera.encoding_bitrate"],
        relation="times",
        factor=3600 / 8 / 1e9,
        unit="GB per recorded hour",
        usd_per_unit=0.023,  # S3 Standard, kept for a month
        text="Every recorded hour is uploaded, and stored for as long as clips are kept.",
    ),
    CostHint(
        fields=["camera.buffer", "camera.encoding_bitrate"],
        relation="times",
        factor=1 / 8 / 1e6,
        unit="MB of the Pi's memory",
        text="The seconds before motion wait in memory; `buffer_size` bounds them.",
    ),
    CostHint(
        fields=["motion.post_roll", "camera.encoding_bitrate"],
        relation="times",
        factor=1 / 8 / 1e6,
        unit="MB per clip",
        usd_per_unit=0.023 / 1000,
        text="Every clip goes on for so long after the last motion.",
    ),
    CostHint(
        fields=["health.interval"],
        relation="divided",
        factor=30 * 86_400,
        unit="reports per month",
        # A message 1.00, its rule and action 0.30, a call of a function 0.20, two rows in a transaction 2.50: each of
        # a million.
        usd_per_unit=4e-6,
        text="Every report is a message, and kept for as long as health is.",
    ),
    CostHint(
        fields=["cloudwatch.enabled"],
        relation="switch",
        values=[True],
        factor=1,
        unit="per GB of logs",
        usd_per_unit=0.50,
        text="Logs are paid for as they arrive; at level DEBUG there are many times as many.",
    ),
    CostHint(
        fields=["cloudwatch.event_type"],
        relation="switch",
        values=["emf", "all"],
        factor=1,
        unit="per metric and month",
        usd_per_unit=0.30,
        text="Every name of a metric with every value of its dimensions is a metric of its own.",
    ),
)


@routes.get("/settings/schema", Permission.READ, "What a form of the settings needs")
def get_settings_schema(call: Call) -> SettingsSchema:  # noqa: ARG001 - every route takes the call
    """The same for all cameras. What an installation allows beside it, the camera alone knows."""
    return SettingsSchema(schema=_schema(), desired_max_bytes=DESIRED_MAX, presets=_presets(), costs=list(COSTS))


@cache
def _schema() -> dict[str, Any]:
    schema = settings.json_schema()
    for path, unit in UNITS.items():
        section, _, field = path.partition(".")
        schema["$defs"][settings.SECTIONS[section].__name__]["properties"][field][UNIT] = unit
    return schema


@cache
def _presets() -> list[SettingsPreset]:
    names = {"zero": "Zero W", "zero2": "Zero 2 W"}
    return [
        SettingsPreset(
            board=board,
            board_title=board_facts.title,
            sensor=sensor,
            sensor_title=sensor_facts.title,
            reason=board_facts.reason,
            camera=preset.camera_fields,
        )
        for board, board_facts in presets.BOARDS.items()
        for sensor, sensor_facts in presets.SENSORS.items()
        if (preset := presets.preset_for(f"Raspberry Pi {names.get(board, board)}", sensor)) is not None
    ]
