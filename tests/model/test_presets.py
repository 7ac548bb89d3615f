"""Presets: one for each board and sensor, within what H.264's levels and the sensors allow."""

from __future__ import annotations

import msgspec
import pytest

from pinthesky.model.presets import BOARDS, PRESET_FIELDS, SENSORS, board_of, preset_for, sensor_of
from pinthesky.model.settings import CameraSettings, parse_section

NAMES = {
    "zero": "Raspberry Pi Zero W Rev 1.1",
    "zero2": "Raspberry Pi Zero 2 W Rev 1.0",
    "3": "Raspberry Pi 3 Model B Plus Rev 1.3",
    "4": "Raspberry Pi 4 Model B Rev 1.5",
    "5": "Raspberry Pi 5 Model B Rev 1.0",
}
# ITU-T H.264, table A-1: macroblocks a second, macroblocks a picture, kb/s (a quarter more in High).
LEVELS = {
    "2.2": (20_250, 1_620, 4_000),
    "3": (40_500, 1_620, 10_000),
    "3.1": (108_000, 3_600, 14_000),
    "3.2": (216_000, 5_120, 20_000),
    "4": (245_760, 8_192, 20_000),
}
ALL = [(board, sensor) for board in BOARDS for sensor in SENSORS]


def preset(board: str, sensor: str):
    found = preset_for(NAMES[board], sensor)
    assert found is not None
    return found


@pytest.mark.parametrize("board, sensor", ALL)
def test_every_preset_is_a_valid_section(board, sensor):
    fields = preset(board, sensor).camera_fields
    assert tuple(fields) == PRESET_FIELDS
    parsed = parse_section("camera", fields, CameraSettings())
    assert parsed == msgspec.structs.replace(CameraSettings(), **fields)


@pytest.mark.parametrize("board, sensor", ALL)
def test_every_preset_keeps_within_its_level(board, sensor):
    found = preset(board, sensor)
    width, height = found.new_installation().size
    macroblocks = -(-width // 16) * -(-height // 16)
    per_second, per_picture, kilobits = LEVELS[found.encoding_level]
    assert macroblocks <= per_picture
    assert macroblocks * found.framerate <= per_second
    assert found.encoding_bitrate <= kilobits * 1_250
    assert max(width, height) ** 2 <= 8 * per_picture * 256


@pytest.mark.parametrize("board, sensor", ALL)
def test_every_preset_shows_all_that_the_sensor_sees(board, sensor):
    found = preset(board, sensor)
    width, height = found.new_installation().size
    assert found.sensor_mode is not None
    full_width, full_height = found.sensor_mode
    assert width / height == pytest.approx(full_width / full_height, rel=0.01)
    assert width <= full_width
    assert found.framerate <= SENSORS[sensor].fastest


@pytest.mark.parametrize("board, sensor", ALL)
def test_new_installations_hang_upright_and_send_two_to_five_megabits(board, sensor):
    written = preset(board, sensor).new_installation()
    assert written.rotation == 0
    assert 2_000_000 <= written.encoding_bitrate <= 5_000_000


def test_a_zero_records_small_pictures_at_the_most_its_level_allows():
    assert preset("zero", "imx219").camera_fields == {
        "resolution": "640x480",
        "framerate": 15,
        "encoding_bitrate": 5_000_000,
        "encoding_profile": "high",
        "encoding_level": "2.2",
    }


@pytest.mark.parametrize(
    "name, board",
    [
        *((name, board) for board, name in NAMES.items()),
        ("Raspberry Pi Model B Plus Rev 1.2", "zero"),
        ("Raspberry Pi Compute Module Rev 1.0", "zero"),
        ("Raspberry Pi Zero Rev 1.3", "zero"),
        ("Raspberry Pi 2 Model B Rev 1.1", "zero2"),
        ("Raspberry Pi 3 Model A Plus Rev 1.0", "3"),
        ("Raspberry Pi Compute Module 3 Plus Rev 1.0", "3"),
        ("Raspberry Pi 400 Rev 1.0", "4"),
        ("Raspberry Pi Compute Module 4 Rev 1.1", "4"),
        ("Raspberry Pi Compute Module 4S Rev 1.0", "4"),
        ("Raspberry Pi 500 Rev 1.0", "5"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "5"),
    ],
)
def test_boards_are_known_by_the_name_in_their_device_tree(name, board):
    assert board_of(name) == board


@pytest.mark.parametrize("name", ["", "Orange Pi 4", "Raspberry Pi 6 Model B", "Raspberry Pi", "Raspberry Pi Pico"])
def test_other_machines_have_no_preset(name):
    assert board_of(name) is None
    assert preset_for(name, "imx219") is None


@pytest.mark.parametrize(
    "name, sensor",
    [("imx708_wide_noir", "imx708"), ("IMX219", "imx219"), ("ov5647", "ov5647"), ("imx290", None), ("", None)],
)
def test_sensors_are_known_by_libcamera_s_name_whatever_their_lens(name, sensor):
    assert sensor_of(name) == sensor


def test_a_sensor_that_is_not_known_gets_the_usual_shape_and_no_mode():
    found = preset_for(NAMES["4"], "imx290")
    assert found == preset("4", "imx219")._replace(sensor_mode=None)
