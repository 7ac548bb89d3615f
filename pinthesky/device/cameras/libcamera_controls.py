"""From section `picture` to the controls of libcamera. Plain arithmetic: neither library is needed.

Numbers are those of libcamera's `control_ids_core.yaml` and, for noise reduction, `control_ids_draft.yaml`; they are
part of its interface and the same in all its versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

from pinthesky.errors import InvalidInput
from pinthesky.model.settings import PictureSettings

NIGHT_FRAMERATE = 5
"""Fewest frames per second of `night` where `min_framerate` says nothing: pictures of 0.2 s still show who walks by."""
_US = 1_000_000

Offered = Mapping[str, tuple[Any, Any, Any]]
"""A camera's controls: name to (least, most, default), as picamera2's `camera_controls` gives them."""


class _Choice(NamedTuple):
    control: str
    numbers: Mapping[str, int]


_CHOICES: Mapping[str, _Choice] = {
    "metering": _Choice("AeMeteringMode", {"centre": 0, "spot": 1, "matrix": 2}),
    "white_balance": _Choice(
        "AwbMode", {"auto": 0, "tungsten": 2, "fluorescent": 3, "indoor": 4, "daylight": 5, "cloudy": 6}
    ),
    "noise_reduction": _Choice("NoiseReductionMode", {"off": 0, "fast": 1, "high_quality": 2}),
    "focus_mode": _Choice("AfMode", {"manual": 0, "auto": 1, "continuous": 2}),
    "hdr": _Choice("HdrMode", {"off": 0, "single": 3, "night": 4}),
}
_NUMBERS: Mapping[str, str] = {
    "exposure_us": "ExposureTime",
    "gain": "AnalogueGain",
    "exposure_value": "ExposureValue",
    "sharpness": "Sharpness",
    "contrast": "Contrast",
    "saturation": "Saturation",
    "brightness": "Brightness",
    "lens_position": "LensPosition",
}
_FLICKER_PERIOD_US = {50: 10_000, 60: 8_333}
"""Lamps flicker at twice the frequency of the mains."""
_AE_EXPOSURE_LONG = 2
_AF_TRIGGER_START = 0

# libcamera keeps a control until it is set again, beyond the camera's closing: what is not asked for is set back.
_NEUTRAL: Mapping[str, Any] = {
    "AeEnable": True,
    "AeExposureMode": 0,
    "AeMeteringMode": 0,
    "ExposureValue": 0.0,
    "AeFlickerMode": 0,
    "AwbEnable": True,
    "AwbMode": 0,
    "Sharpness": 1.0,
    "Contrast": 1.0,
    "Saturation": 1.0,
    "Brightness": 0.0,
}


def libcamera_controls(picture: PictureSettings, offered: Offered, *, framerate: float) -> dict[str, Any]:
    """The controls that make a camera see as `picture` says; what it leaves open gets the camera's own default.

    `offered` must be that of the configured camera: bounds differ from one sensor mode to the next. What the adapter
    itself sets of FrameDurationLimits, AfMode and NoiseReductionMode holds where they are not in the result.
    Raises InvalidInput("picture.<field>", what this camera offers).
    """
    controls = {name: _default(name, neutral, offered) for name, neutral in _NEUTRAL.items() if name in offered}
    if "ScalerCrops" in offered:
        controls.update({"HdrMode": 0} if "HdrMode" in offered else {})
    for field, choice in _CHOICES.items():
        value = getattr(picture, field)
        if value is not None:
            controls[choice.control] = _chosen(field, value, offered=offered)
    for field, control in _NUMBERS.items():
        value = getattr(picture, field)
        if value is not None:
            controls[control] = _number(field, value, control=control, offered=offered)
    return {
        **controls,
        **_exposure(picture, offered, framerate),
        **_colour_gains(picture, offered),
        **_focus(picture, offered),
        **_hdr(picture, offered),
        **_frame_duration(picture, offered, framerate),
        **_flicker(picture, offered),
    }


def _exposure(picture: PictureSettings, offered: Offered, framerate: float) -> dict[str, Any]:
    if picture.exposure_mode is None:
        return {}
    _require("exposure_mode", "AeEnable", offered)
    longest_us = int(_US / _slowest(picture, framerate))
    if picture.exposure_us is not None and picture.exposure_us > longest_us:
        raise _refusal("exposure_us", f"a picture lasts {longest_us} µs at most; `night` allows for longer ones")
    return {"AeEnable": picture.exposure_mode == "auto"}


def _colour_gains(picture: PictureSettings, offered: Offered) -> dict[str, Any]:
    gains = picture.colour_gains
    if gains is None:
        return {}
    for gain in gains:
        _number("colour_gains", gain, control="ColourGains", offered=offered)
    return {"AwbEnable": False, "ColourGains": gains}


def _focus(picture: PictureSettings, offered: Offered) -> dict[str, Any]:
    return {"AfTrigger": _AF_TRIGGER_START} if picture.focus_mode == "auto" and "AfTrigger" in offered else {}


def _hdr(picture: PictureSettings, offered: Offered) -> dict[str, Any]:
    # Every Pi lists HdrMode, and those before the Pi 5 only log that they cannot. ScalerCrops is the Pi 5's alone.
    if picture.hdr in (None, "off") or "ScalerCrops" in offered:
        return {}
    raise _refusal("hdr", "needs a Raspberry Pi 5; here there is only off")


def _frame_duration(picture: PictureSettings, offered: Offered, framerate: float) -> dict[str, Any]:
    if not picture.night:
        return {}
    _require("night", "FrameDurationLimits", offered)
    slowest = _slowest(picture, framerate)
    field = "night" if picture.min_framerate is None else "min_framerate"
    if slowest > framerate:
        raise _refusal(field, f"must be at most the framerate, {framerate:g}")
    longest_us = _bounds("FrameDurationLimits", offered)[1]
    if longest_us is not None and _US / slowest > longest_us:
        raise _refusal(field, f"this camera takes {longest_us:.0f} µs at most for a picture")
    controls: dict[str, Any] = {"FrameDurationLimits": (int(_US / framerate), int(_US / slowest))}
    longest_mode = _bounds("AeExposureMode", offered)[1]
    if longest_mode is not None and longest_mode >= _AE_EXPOSURE_LONG:
        controls["AeExposureMode"] = _AE_EXPOSURE_LONG
    return controls


def _flicker(picture: PictureSettings, offered: Offered) -> dict[str, Any]:
    if picture.flicker_hz is None:
        return {}
    _require("flicker_hz", "AeFlickerMode", offered)
    if picture.flicker_hz == 0:
        return {"AeFlickerMode": 0}
    return {"AeFlickerMode": 1, "AeFlickerPeriod": _FLICKER_PERIOD_US[picture.flicker_hz]}


def _slowest(picture: PictureSettings, framerate: float) -> float:
    """Fewest frames per second that are allowed."""
    if not picture.night:
        return framerate
    return picture.min_framerate or min(framerate, NIGHT_FRAMERATE)


def _chosen(field: str, value: str, *, offered: Offered) -> int:
    control, numbers = _CHOICES[field]
    _require(field, control, offered)
    least, most = _bounds(control, offered)
    known = [word for word, number in numbers.items() if _within(number, least, most)]
    if value not in known:
        raise _refusal(field, f"this camera offers {', '.join(known) or 'none of these'}, got {value}")
    return numbers[value]


def _number(field: str, value: float, *, control: str, offered: Offered) -> float:
    _require(field, control, offered)
    least, most = _bounds(control, offered)
    if not _within(value, least, most):
        raise _refusal(field, f"this camera takes {_shown(least)} to {_shown(most)}, got {value:g}")
    return value


def _require(field: str, control: str, offered: Offered) -> None:
    if control not in offered:
        what = "has no focus to set" if control in ("AfMode", "LensPosition") else f"has no {control}"
        raise _refusal(field, f"this camera {what}")


def _refusal(field: str, reason: str) -> InvalidInput:
    return InvalidInput(f"picture.{field}", reason)


def _default(control: str, neutral: Any, offered: Offered) -> Any:
    if isinstance(neutral, bool) or not isinstance(neutral, float):
        return neutral
    default = offered[control][2]
    return default if _is_number(default) and _within(default, *_bounds(control, offered)) else neutral


def _bounds(control: str, offered: Offered) -> tuple[Optional[float], Optional[float]]:
    """Least and most; None where libcamera says neither."""
    if control not in offered:
        return None, None
    least, most = (value if _is_number(value) else None for value in offered[control][:2])
    return least, most


def _within(value: float, least: Optional[float], most: Optional[float]) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(bound: Optional[float]) -> str:
    return "anything" if bound is None else f"{bound:.8g}"
