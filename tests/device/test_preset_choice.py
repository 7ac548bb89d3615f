"""The preset lies under the flags: what was given stays, and a picture is never turned."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinthesky.device import flags, preset_choice
from pinthesky.device.preset_choice import with_preset
from pinthesky.model.settings import DeviceSettings, MotionSettings

PI_4 = "Raspberry Pi 4 Model B Rev 1.5"


def under(tmp_path: Path, *arguments: str, sensor: str | None = "imx708_wide", board: str = PI_4) -> DeviceSettings:
    options = flags.parse(["--state-dir", str(tmp_path), *arguments], {})
    return with_preset(options.settings, sensor=sensor, given=options.camera_fields_given, board=board)


def test_a_unit_that_gives_no_flag_gets_the_preset_and_is_not_turned(tmp_path):
    camera = under(tmp_path).camera
    assert (camera.resolution, camera.framerate, camera.encoding_bitrate) == ("1920x1080", 20, 5_000_000)
    assert camera.rotation == 270
    assert camera.buffer == DeviceSettings().camera.buffer


def test_a_flag_that_is_given_stays_even_where_it_says_the_default(tmp_path):
    camera = under(tmp_path, "--resolution", "640x480", "--encoding-bitrate", "17000000", "--rotation", "90").camera
    assert (camera.resolution, camera.encoding_bitrate, camera.rotation) == ("640x480", 17_000_000, 90)
    assert (camera.framerate, camera.encoding_level) == (20, "4")


def test_nothing_but_the_camera_s_section_is_touched(tmp_path):
    settings = under(tmp_path, "--post-roll", "7")
    assert settings.motion == MotionSettings(post_roll=7)
    assert settings.with_section("camera", DeviceSettings().camera) == DeviceSettings(
        motion=MotionSettings(post_roll=7)
    )


@pytest.mark.parametrize("sensor, board", [(None, PI_4), ("imx219", "Orange Pi 5")])
def test_other_cameras_and_machines_have_no_preset(tmp_path, sensor, board):
    assert under(tmp_path, sensor=sensor, board=board) == DeviceSettings()


def test_the_preset_is_logged_with_what_it_sets(tmp_path, caplog):
    caplog.set_level("INFO")
    under(tmp_path, "--framerate", "10")
    assert f"Preset for imx708_wide on {PI_4}: resolution 1920x1080, encoding_bitrate 5000000" in caplog.text
    assert "framerate" not in caplog.text


def test_when_all_is_given_nothing_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    given = frozenset(DeviceSettings().camera.__struct_fields__)
    assert with_preset(DeviceSettings(), sensor="imx219", given=given, board=PI_4) == DeviceSettings()
    assert caplog.text == ""


def test_the_board_is_this_machine_s_where_none_is_named(monkeypatch):
    monkeypatch.setattr(preset_choice, "pi_model", lambda: "Raspberry Pi Zero W Rev 1.1")
    settings = with_preset(DeviceSettings(), sensor="ov5647", given=())
    assert (settings.camera.resolution, settings.camera.framerate) == ("640x480", 15)
