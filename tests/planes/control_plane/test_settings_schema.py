"""The schema of the settings: all that a form needs."""

from __future__ import annotations

from typing import Any

import pytest

from pinthesky.model import settings
from pinthesky.planes.control_plane.settings_schema import COSTS, UNIT, UNITS
from tests.planes.home import GUEST, StagedHome, ask_for


@pytest.fixture
def answer(home: StagedHome) -> Any:
    return ask_for(home, GUEST, "GET", "/settings/schema")


def fields_of(answer: Any) -> dict[str, Any]:
    definitions = answer["schema"]["$defs"]
    return {
        f"{section}.{field}": schema
        for section, kind in settings.SECTIONS.items()
        for field, schema in definitions[kind.__name__]["properties"].items()
    }


def has_numbers(schema: dict[str, Any]) -> bool:
    """Whether a value, or what is in it, may be a number."""
    if schema.get("type") in ("integer", "number") or any(isinstance(each, int) for each in schema.get("enum", ())):
        return True
    inner = [*schema.get("anyOf", ()), *schema.get("prefixItems", ())]
    items = schema.get("items")
    return any(has_numbers(each) for each in (*inner, *([items] if isinstance(items, dict) else [])))


def test_every_section_and_field_has_its_bounds(answer):
    assert set(fields_of(answer)) == {
        f"{section}.{field}" for section, kind in settings.SECTIONS.items() for field in kind.__struct_fields__
    }
    framerate = fields_of(answer)["camera.framerate"]
    assert (framerate["minimum"], framerate["maximum"], framerate["default"], framerate[UNIT]) == (1, 120, 20, "1/s")
    assert answer["desiredMaxBytes"] == 3072


def test_every_number_has_a_unit(answer):
    without = [path for path, schema in fields_of(answer).items() if has_numbers(schema) and UNIT not in schema]
    assert without == []
    assert set(UNITS) <= set(fields_of(answer))


def test_there_is_a_preset_for_every_board_and_sensor_that_the_device_takes(answer):
    assert len({(preset["board"], preset["sensor"]) for preset in answer["presets"]}) == len(answer["presets"]) == 25
    for preset in answer["presets"]:
        settings.parse_section("camera", preset["camera"], settings.CameraSettings())
        assert preset["boardTitle"]
        assert preset["sensorTitle"]


def test_costs_speak_of_settings_that_there_are(answer):
    for hint in answer["costs"]:
        assert set(hint["fields"]) <= set(fields_of(answer))
        assert hint["text"]
        assert (hint["relation"] == "switch") == (hint["values"] is not None)
        for value in hint["values"] or ():
            section, _, field = hint["fields"][0].partition(".")
            settings.parse_section(section, {field: value}, settings.SECTIONS[section]())


def test_an_hour_at_17_megabits_is_7_65_gigabytes():
    bitrate = next(hint for hint in COSTS if hint.fields == ["camera.encoding_bitrate"])
    assert bitrate.factor * 17_000_000 == pytest.approx(7.65)
    reports = next(hint for hint in COSTS if hint.relation == "divided")
    assert reports.factor / settings.HealthSettings().interval == 720
