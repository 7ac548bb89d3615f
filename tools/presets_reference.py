"""Writes `docs/reference/presets.md` from `pinthesky/model/presets.py`: `python -m tools.presets_reference`.

With `--check` nothing is written, and the exit status is 1 if the page is not what it should be.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pinthesky.model import presets
from pinthesky.model.settings import CameraSettings
from tools.reference_page import write_or_check

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "presets.md"

HEAD = f"""# Presets

Made from `pinthesky/model/presets.py` by `python -m tools.presets_reference`; a test holds the two equal.

A preset is what a Raspberry Pi and its camera do best where the owner says nothing. Installers write it as flags, with
`--rotation {presets.ROTATION}`. `--camera auto` lays it under the flags: where it finds one of the Pi's own cameras,
it sets those of `{"`, `".join(presets.PRESET_FIELDS)}` for which no flag is given. A flag wins over the preset, the
shadow wins over both. USB and network cameras have no preset, nor has a machine that is no Raspberry Pi. Why, says
[decision 0010](../decisions/0010-presets.md).

The rotation is never part of it: how a camera hangs cannot be seen, and an update must not turn a picture. The default
of `--rotation` stays {CameraSettings().rotation}, as on units installed long ago.

Every preset has profile `high`, which every board's encoder has and which saves bits over `main` for nothing; bitrates
are bounds that quiet scenes stay below where the encoder can. How often a keyframe comes is no setting: every two
seconds, and whenever a clip needs one; every second where [picamera2](picamera2.md) cannot be asked for it.

None of this was measured on the boards themselves: sizes and rates are within what their encoders and H.264's levels
are specified for. `python -m tools.camera_check` ([guide](../guide/camera-check.md)) measures one.
"""


def page() -> str:
    """The whole page."""
    return f"{HEAD}\n{_values()}\n{_boards()}\n{_sensors()}"


def _values() -> str:
    rows = ["## Values", "", "| Raspberry Pi | sensor | resolution | fps | Mb/s | level |", "|---|---|---|---|---|---|"]
    for board, facts in presets.BOARDS.items():
        for sensor in presets.SENSORS:
            preset = presets.preset_for(_name_of(board), sensor)
            if preset is None:
                raise AssertionError(f"{board} has no preset")
            rows.append(
                f"| {facts.title} | {sensor.upper()} | {preset.resolution} | {preset.framerate} "
                f"| {preset.encoding_bitrate / 1e6:g} | {preset.encoding_level} |"
            )
    return "\n".join([*rows, "", "A sensor that is not listed gets the board's values for a 4:3 one.", ""])


def _name_of(board: presets.Board) -> str:
    return "Raspberry Pi " + {"zero": "Zero W", "zero2": "Zero 2 W"}.get(board, f"{board} Model B")


def _boards() -> str:
    rows = ["## Why, by board", "", "| Raspberry Pi | encoder | why |", "|---|---|---|"]
    rows += [f"| {facts.title} | {facts.encoder} | {facts.reason} |" for facts in presets.BOARDS.values()]
    return "\n".join([*rows, ""])


def _sensors() -> str:
    rows = [
        "## Why, by sensor",
        "",
        "The picture has the sensor's own shape, so that nothing that it sees is cut off. It is scaled from the",
        "smallest mode that shows everything; smaller modes show the middle only.",
        "",
        "| sensor | camera | shape | scaled from | at most |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| {name.upper()} | {facts.title} | {facts.shape} | {facts.full_view[0]}x{facts.full_view[1]} "
        f"| {facts.fastest} fps |"
        for name, facts in presets.SENSORS.items()
    ]
    return "\n".join([*rows, ""])


def main() -> int:
    """Write the page, or check it."""
    return write_or_check(PAGE, page())


if __name__ == "__main__":
    sys.exit(main())
