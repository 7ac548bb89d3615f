"""What the legacy firmware's H.264 encoder can do, checked before the firmware refuses it in fewer words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional

from pinthesky.errors import InvalidInput

if TYPE_CHECKING:
    from pinthesky.model.settings import CameraSettings

WIDTH_MAX = 1920
HEIGHT_MAX = 1080
"""Of the encoder in VideoCore IV, whatever the level."""
_MACROBLOCK = 16


class Level(NamedTuple):
    """Bounds of an H.264 level: MaxMBPS, MaxFS and MaxBR of ITU-T H.264, table A-1."""

    macroblocks_per_s: int
    macroblocks: int
    bits_per_s: int
    """Of all profiles but high."""

    def bitrate_max(self, profile: str) -> int:
        """Bits per second in `profile` (table A-2: high may take a quarter more)."""
        return self.bits_per_s * 5 // 4 if profile == "high" else self.bits_per_s


LEVELS: dict[str, Level] = {
    "1": Level(1_485, 99, 64_000),
    "1.1": Level(3_000, 396, 192_000),
    "1.2": Level(6_000, 396, 384_000),
    "1.3": Level(11_880, 396, 768_000),
    "2": Level(11_880, 396, 2_000_000),
    "2.1": Level(19_800, 792, 4_000_000),
    "2.2": Level(20_250, 1_620, 4_000_000),
    "3": Level(40_500, 1_620, 10_000_000),
    "3.1": Level(108_000, 3_600, 14_000_000),
    "3.2": Level(216_000, 5_120, 20_000_000),
    "4": Level(245_760, 8_192, 20_000_000),
    "4.1": Level(245_760, 8_192, 50_000_000),
    "4.2": Level(522_240, 8_704, 50_000_000),
}
"""The levels that picamera can ask for, lowest first."""


def vector_shape(width: int, height: int) -> tuple[int, int]:
    """(rows, columns) of the encoder's motion vectors: one for each macroblock, and a column that holds nothing."""
    return -(-height // _MACROBLOCK), -(-width // _MACROBLOCK) + 1


def check(settings: CameraSettings) -> None:
    """Raises InvalidInput, with the bound, for what this encoder cannot do."""
    width, height = settings.size
    if width > WIDTH_MAX or height > HEIGHT_MAX:
        raise InvalidInput(
            "camera.resolution",
            f"the legacy camera stack encodes at most {WIDTH_MAX}x{HEIGHT_MAX}, got {settings.resolution}",
        )
    level = LEVELS.get(settings.encoding_level)
    if level is None:
        highest = list(LEVELS)[-1]
        raise InvalidInput(
            "camera.encoding_level",
            f"the legacy camera stack encodes up to level {highest}, got {settings.encoding_level}",
        )
    if not _fits_picture(settings, level):
        sufficient = next((name for name in LEVELS if _fits_picture(settings, LEVELS[name])), None)
        raise InvalidInput("camera.encoding_level", _too_low(settings, level, sufficient))
    bitrate_max = level.bitrate_max(settings.encoding_profile)
    if settings.encoding_bitrate > bitrate_max:
        raise InvalidInput(
            "camera.encoding_bitrate",
            f"must be at most {bitrate_max} at level {settings.encoding_level} and profile "
            f"{settings.encoding_profile}, got {settings.encoding_bitrate}",
        )


def _macroblocks(settings: CameraSettings) -> int:
    rows, columns = vector_shape(*settings.size)
    return rows * (columns - 1)


def _fits_picture(settings: CameraSettings, level: Level) -> bool:
    macroblocks = _macroblocks(settings)
    return macroblocks <= level.macroblocks and macroblocks * settings.framerate <= level.macroblocks_per_s


def _too_low(settings: CameraSettings, level: Level, sufficient: Optional[str]) -> str:
    macroblocks = _macroblocks(settings)
    wanted = f"{settings.resolution} at {settings.framerate} frames a second"
    advice = "no level of this encoder allows that" if sufficient is None else f"it takes level {sufficient}"
    return (
        f"level {settings.encoding_level} allows {level.macroblocks} macroblocks in a picture and "
        f"{level.macroblocks_per_s} in a second; {wanted} are {macroblocks} and {macroblocks * settings.framerate}: "
        f"{advice}"
    )
