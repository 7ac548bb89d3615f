"""Section `picture` as controls of libcamera, on what sensors of the Pi offer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device.cameras.libcamera_controls import NIGHT_FRAMERATE, libcamera_controls
from pinthesky.errors import InvalidInput
from pinthesky.model.settings import PictureSettings

# A fixed-focus sensor on a Pi 4, as libcamera 0.4 lists its controls.
IMX219: dict[str, tuple[Any, Any, Any]] = {
    "AeEnable": (False, True, True),
    "ExposureTime": (75, 11_766_829, 20_000),
    "AnalogueGain": (1.0, 10.66, 1.0),
    "AeMeteringMode": (0, 3, 0),
    "AeConstraintMode": (0, 3, 0),
    "AeExposureMode": (0, 3, 0),
    "ExposureValue": (-8.0, 8.0, 0.0),
    "AeFlickerMode": (0, 1, 0),
    "AeFlickerPeriod": (100, 1_000_000, None),
    "AwbEnable": (False, True, None),
    "AwbMode": (0, 7, 0),
    "ColourGains": (0.0, 32.0, None),
    "Brightness": (-1.0, 1.0, 0.0),
    "Contrast": (0.0, 32.0, 1.0),
    "Saturation": (0.0, 32.0, 1.0),
    "Sharpness": (0.0, 16.0, 1.0),
    "HdrMode": (0, 4, 0),
    "FrameDurationLimits": (21_163, 11_767_556, None),
    "NoiseReductionMode": (0, 4, 0),
}
# One with a lens to move, on a Pi 5.
IMX708 = {
    **IMX219,
    "AnalogueGain": (1.122807, 16.0, 1.122807),
    "ScalerCrops": ((0, 0, 64, 64), (0, 0, 4608, 2592), (0, 0, 4608, 2592)),
    "AfMode": (0, 2, 0),
    "AfTrigger": (0, 1, 0),
    "LensPosition": (0.0, 15.0, 1.0),
}
# A global-shutter sensor without colours.
MONO = {name: bounds for name, bounds in IMX219.items() if name not in ("AwbEnable", "AwbMode", "ColourGains")}


def controls(offered: dict[str, tuple[Any, Any, Any]] = IMX708, framerate: float = 20, **fields: Any) -> dict[str, Any]:
    picture = PictureSettings(**fields)
    picture.check()
    return libcamera_controls(picture, offered, framerate=framerate)


def refusal(offered: dict[str, tuple[Any, Any, Any]] = IMX219, framerate: float = 20, **fields: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        controls(offered, framerate, **fields)
    return caught.value


@pytest.mark.parametrize("offered", [IMX219, IMX708, MONO, {}])
def test_what_is_left_open_is_set_back_to_the_camera_s_own_default(offered):
    found = controls(offered)
    assert set(found) <= set(offered)
    for name, value in found.items():
        default = offered[name][2]
        assert value == (True if default is None else default)


def test_what_the_adapter_sets_by_itself_is_left_to_it():
    assert not {"FrameDurationLimits", "AfMode", "LensPosition", "NoiseReductionMode"} & set(controls())


def test_hdr_is_switched_off_again_only_where_there_is_hdr():
    assert controls(IMX708)["HdrMode"] == 0
    assert "HdrMode" not in controls(IMX219)


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"exposure_mode": "auto"}, {"AeEnable": True}),
        (
            {"exposure_mode": "manual", "exposure_us": 10_000, "gain": 4.0},
            {"AeEnable": False, "ExposureTime": 10_000, "AnalogueGain": 4.0},
        ),
        ({"exposure_value": -1.5}, {"ExposureValue": -1.5}),
        ({"metering": "centre"}, {"AeMeteringMode": 0}),
        ({"metering": "spot"}, {"AeMeteringMode": 1}),
        ({"metering": "matrix"}, {"AeMeteringMode": 2}),
        ({"white_balance": "auto"}, {"AwbEnable": True, "AwbMode": 0}),
        ({"white_balance": "tungsten"}, {"AwbMode": 2}),
        ({"white_balance": "fluorescent"}, {"AwbMode": 3}),
        ({"white_balance": "indoor"}, {"AwbMode": 4}),
        ({"white_balance": "daylight"}, {"AwbMode": 5}),
        ({"white_balance": "cloudy"}, {"AwbEnable": True, "AwbMode": 6}),
        ({"colour_gains": (1.5, 2.25)}, {"AwbEnable": False, "ColourGains": (1.5, 2.25)}),
        ({"noise_reduction": "off"}, {"NoiseReductionMode": 0}),
        ({"noise_reduction": "fast"}, {"NoiseReductionMode": 1}),
        ({"noise_reduction": "high_quality"}, {"NoiseReductionMode": 2}),
        ({"sharpness": 2.0, "contrast": 1.2}, {"Sharpness": 2.0, "Contrast": 1.2}),
        ({"saturation": 0.0, "brightness": -0.1}, {"Saturation": 0.0, "Brightness": -0.1}),
        ({"focus_mode": "auto"}, {"AfMode": 1, "AfTrigger": 0}),
        ({"focus_mode": "continuous"}, {"AfMode": 2}),
        ({"focus_mode": "manual", "lens_position": 2.5}, {"AfMode": 0, "LensPosition": 2.5}),
        ({"hdr": "off"}, {"HdrMode": 0}),
        ({"hdr": "single"}, {"HdrMode": 3}),
        ({"hdr": "night"}, {"HdrMode": 4}),
        ({"flicker_hz": 0}, {"AeFlickerMode": 0}),
        ({"flicker_hz": 50}, {"AeFlickerMode": 1, "AeFlickerPeriod": 10_000}),
        ({"flicker_hz": 60}, {"AeFlickerMode": 1, "AeFlickerPeriod": 8_333}),
        (
            {"night": True, "min_framerate": 4},
            {"FrameDurationLimits": (50_000, 250_000), "AeExposureMode": 2},
        ),
    ],
)
def test_each_field_has_its_control(fields, expected):
    found = controls(**fields)
    assert {name: found[name] for name in expected} == expected
    # Nothing else differs from the camera's own defaults.
    untouched = {name: value for name, value in found.items() if name not in expected}
    assert untouched.items() <= controls().items()


def test_night_without_a_bound_goes_down_to_five_pictures_a_second():
    assert controls(night=True)["FrameDurationLimits"] == (50_000, 1_000_000 // NIGHT_FRAMERATE)
    assert controls(framerate=2, night=True)["FrameDurationLimits"] == (500_000, 500_000)


def test_night_is_not_asked_of_an_exposure_that_knows_no_long_times():
    offered = {**IMX219, "AeExposureMode": (0, 1, 0)}
    assert controls(offered, night=True)["AeExposureMode"] == 0
    assert "AeExposureMode" not in controls({"FrameDurationLimits": (1, 10**6, None)}, night=True)


def test_no_night_is_as_if_nothing_were_said():
    assert controls(night=False) == controls()


@pytest.mark.parametrize(
    "fields, field, reason",
    [
        ({"focus_mode": "continuous"}, "focus_mode", "this camera has no focus to set"),
        ({"focus_mode": "manual", "lens_position": 1.0}, "focus_mode", "this camera has no focus to set"),
        ({"hdr": "single"}, "hdr", "needs a Raspberry Pi 5; here there is only off"),
        (
            {"exposure_mode": "manual", "exposure_us": 10_000, "gain": 16.0},
            "gain",
            "this camera takes 1 to 10.66, got 16",
        ),
        (
            {"exposure_mode": "manual", "exposure_us": 10, "gain": 1.0},
            "exposure_us",
            "this camera takes 75 to 11766829, got 10",
        ),
        (
            {"exposure_mode": "manual", "exposure_us": 60_000, "gain": 1.0},
            "exposure_us",
            "a picture lasts 50000 µs at most; `night` allows for longer ones",
        ),
        ({"night": True, "min_framerate": 21}, "min_framerate", "must be at most the framerate, 20"),
    ],
)
def test_what_this_sensor_cannot_do_is_refused_with_what_it_offers(fields, field, reason):
    found = refusal(**fields)
    assert (found.field, found.reason) == (f"picture.{field}", reason)


def test_a_choice_that_is_not_offered_is_refused_with_those_that_are():
    offered = {**IMX708, "AwbMode": (0, 2, 0), "AfMode": (0, 0, 0)}
    assert refusal(offered, white_balance="cloudy").reason == "this camera offers auto, tungsten, got cloudy"
    assert refusal(offered, focus_mode="auto").reason == "this camera offers manual, got auto"
    assert refusal({"HdrMode": (7, 9, 7)}, hdr="off").reason == "this camera offers none of these, got off"


def test_a_sensor_without_colours_balances_none():
    assert refusal(MONO, white_balance="auto").reason == "this camera has no AwbMode"
    assert refusal(MONO, colour_gains=(1.0, 1.0)).field == "picture.colour_gains"


@pytest.mark.parametrize(
    "fields", [{"exposure_mode": "auto"}, {"flicker_hz": 50}, {"night": True}, {"sharpness": 1.0}, {"hdr": "off"}]
)
def test_a_camera_that_offers_nothing_refuses_everything(fields):
    [field] = fields
    found = refusal({}, **fields)
    assert found.field == f"picture.{field}"
    assert "this camera has no" in found.reason


def test_a_picture_that_lasts_longer_than_the_sensor_can_is_refused():
    offered = {"FrameDurationLimits": (10_000, 100_000, None)}
    assert refusal(offered, night=True).field == "picture.night"
    assert refusal(offered, night=True, min_framerate=2).field == "picture.min_framerate"
    assert controls(offered, night=True, min_framerate=10) == {"FrameDurationLimits": (50_000, 100_000)}


def test_a_night_exposure_may_last_as_long_as_the_slowest_picture():
    found = controls(night=True, min_framerate=4, exposure_mode="manual", exposure_us=250_000, gain=8.0)
    assert found["ExposureTime"] == 250_000
    too_long = refusal(night=True, min_framerate=4, exposure_mode="manual", exposure_us=250_001, gain=8.0)
    assert too_long.field == "picture.exposure_us"


def test_bounds_that_the_library_does_not_say_are_no_bounds():
    assert controls({"Sharpness": (None, (1, 2), None)}, sharpness=16.0) == {"Sharpness": 16.0}
    assert refusal({"Sharpness": (None, 3.0, 9.0)}, sharpness=4.0).reason == "this camera takes anything to 3, got 4"


PICTURES = st.builds(
    PictureSettings,
    exposure_value=st.none() | st.integers(-8, 8).map(float),
    metering=st.none() | st.sampled_from(["centre", "spot", "matrix"]),
    white_balance=st.none() | st.sampled_from(["auto", "tungsten", "daylight"]),
    noise_reduction=st.none() | st.sampled_from(["off", "fast", "high_quality"]),
    sharpness=st.none() | st.integers(0, 16).map(float),
    focus_mode=st.none() | st.sampled_from(["auto", "continuous", "manual"]),
    hdr=st.none() | st.sampled_from(["off", "single", "night"]),
    night=st.none() | st.booleans(),
    flicker_hz=st.none() | st.sampled_from([0, 50, 60]),
)


@given(picture=PICTURES, kept=st.sets(st.sampled_from(sorted(IMX708))), framerate=st.integers(1, 120))
def test_only_controls_that_are_offered_are_ever_set(picture, kept, framerate):
    offered = {name: IMX708[name] for name in kept}
    found: dict[str, Any] = {}
    refused = None
    try:
        found = libcamera_controls(picture, offered, framerate=framerate)
    except InvalidInput as error:
        refused = error
    assert set(found) - {"AeFlickerPeriod"} <= kept
    assert refused is None or getattr(picture, refused.field.partition(".")[2]) is not None
