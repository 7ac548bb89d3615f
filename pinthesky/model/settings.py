"""The device's settings: every section of the shadow with its bounds, once.

Flags, the shadow, HTTP bodies and the console's forms all take their bounds from here; `json_schema` gives them to
those that are not Python. A section is valid as a whole or not at all: `parse_section` returns it or raises
InvalidInput that names `section.field` and the bound.

Values may come as strings ("20", "true", "null"), as consoles of old send them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, Union, get_args
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import BucketName, KeyPrefix

Polygon = list[tuple[Annotated[int, Meta(ge=0, le=1000)], Annotated[int, Meta(ge=0, le=1000)]]]
"""Corners as (x, y), each 0 to 1000 of the picture's width and height as shown, after rotation."""

POLYGONS_MAX = 8
POLYGON_POINTS_MAX = 12
CORNERS_MAX = 40
"""Of all polygons together: eight of five. Eight of twelve would take more than a third of a desired state."""
_BITS_MAX = 64
ENCODING_LEVELS = ("1", "1.1", "1.2", "1.3", "2", "2.1", "2.2", "3", "3.1", "3.2", "4", "4.1", "4.2", "5", "5.1")


class CameraSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `camera`. Defaults are those of an installed unit that names no flag."""

    rotation: Literal[0, 90, 180, 270] = 270
    resolution: Annotated[str, Meta(pattern=r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$")] = "640x480"
    """Width and height in pixels, both even, 32x32 to 4096x3072."""
    framerate: Annotated[int, Meta(ge=1, le=120)] = 20
    """Frames per second."""
    buffer: Annotated[int, Meta(ge=0, le=120)] = 15
    """Pre-roll: at least this many seconds before motion are in the clip."""
    buffer_size: Optional[Annotated[int, Meta(ge=100_000, le=512_000_000)]] = None
    """Most bytes that the pre-roll may take; wins over `buffer`."""
    sensitivity: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Higher is less sensitive. With motion vectors: macroblocks that must move."""
    recording_window: Optional[Annotated[str, Meta(pattern=r"^[0-9]{1,2}-[0-9]{1,2}$")]] = None
    """Hours "HH-HH" in which motion is recorded, in the time zone of section `mode`; "22-6" crosses midnight."""
    encoding_bitrate: Annotated[int, Meta(ge=100_000, le=25_000_000)] = 17_000_000
    """Bits per second."""
    encoding_profile: Literal["baseline", "constrained", "main", "high"] = "high"
    encoding_level: Annotated[str, Meta(max_length=3)] = "4"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        width, height = self.resolution.split("x")
        return int(width), int(height)

    @property
    def window_hours(self) -> Optional[tuple[int, int]]:
        """(first hour, hour at which it ends) or None for the whole day."""
        if self.recording_window is None:
            return None
        start, end = self.recording_window.split("-")
        return int(start), int(end)

    def check(self) -> None:
        """Bounds that no type can say. Raises InvalidInput with the bare field."""
        width, height = self.size
        if width % 2 or height % 2 or not (32 <= width <= 4096 and 32 <= height <= 3072):
            raise InvalidInput("resolution", f"must be WxH, both even, 32x32 to 4096x3072, got {self.resolution}")
        hours = self.window_hours
        if hours is not None and not _is_window(*hours):
            raise InvalidInput(
                "recording_window", f"must be HH-HH, hours 0 to 24 that differ, got {self.recording_window}"
            )
        if self.encoding_level not in ENCODING_LEVELS:
            raise InvalidInput(
                "encoding_level", f"must be one of {', '.join(ENCODING_LEVELS)}, got {self.encoding_level}"
            )


def _is_window(first: int, end: int) -> bool:
    """Whether these hours can be read in one way only."""
    return 0 <= first <= 24 and 0 <= end <= 24 and (first % 24 != end % 24 or (first, end) == (0, 24))


class StorageSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `storage`. Without a bucket, or with `enabled` false, what is recorded stays on the disk."""

    enabled: bool = True
    bucket_name: Optional[Annotated[str, Meta(max_length=63)]] = None
    video_prefix: Annotated[str, Meta(min_length=1, max_length=64)] = "motion_videos"
    image_prefix: Annotated[str, Meta(min_length=1, max_length=64)] = "capture_images"

    def check(self) -> None:
        """The names are those that S3 and our keys take."""
        if self.bucket_name is not None:
            BucketName.parse(self.bucket_name, "bucket_name")
        KeyPrefix.parse(self.video_prefix, "video_prefix")
        KeyPrefix.parse(self.image_prefix, "image_prefix")


class HealthSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `health`."""

    interval: Annotated[int, Meta(ge=10, le=86_400)] = 3600
    """Seconds between two reports."""


class CloudWatchSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `cloudwatch`: shipping of logs and metrics."""

    enabled: bool = False
    threaded: bool = False
    """Kept for the wire's sake: shipping never blocks a core thread, whatever this says."""
    delineate_stream: bool = True
    """One log stream for each thing, or one for all."""
    log_group_name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/#-]{1,128}$")] = "/pinthesky/device"
    metric_namespace: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/#:-]{1,64}$")] = "Pits/Device"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    event_type: Literal["logs", "emf", "all"] = "logs"
    region_name: Optional[Annotated[str, Meta(pattern=r"^[a-z0-9-]{2,24}$")]] = None


class DataPlaneSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `dataplane`: where answers to a console's connection go."""

    enabled: bool = False
    endpoint_url: Optional[Annotated[str, Meta(pattern=r'^https?://[!"$->A-\[\]-~]{1,120}$')]] = None
    region_name: Optional[Annotated[str, Meta(pattern=r"^[a-z0-9-]{2,24}$")]] = None


class MotionSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `motion`: where motion counts, and how it becomes events. Times in seconds."""

    zones: list[Polygon] = []
    """Only here; everywhere when empty."""
    masks: list[Polygon] = []
    """Never here."""
    privacy_masks: list[Polygon] = []
    """Blacked out before anything is encoded, where the camera can; motion never counts here."""
    post_roll: Annotated[int, Meta(ge=1, le=120)] = 5
    """Still recorded after the last motion; motion within it goes on with the same event."""
    cool_down: Annotated[int, Meta(ge=0, le=3600)] = 0
    """After an event no other begins for this long."""
    min_duration: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Motion shorter than this is no event."""
    max_duration: Annotated[int, Meta(ge=10, le=300)] = 300
    """A longer event goes on in a new part, without a gap."""

    def check(self) -> None:
        """Numbers of polygons and corners."""
        lists = {"zones": self.zones, "masks": self.masks, "privacy_masks": self.privacy_masks}
        everything = [polygon for polygons in lists.values() for polygon in polygons]
        if len(everything) > POLYGONS_MAX:
            raise InvalidInput("zones", f"zones, masks and privacy_masks together hold at most {POLYGONS_MAX} polygons")
        if sum(map(len, everything)) > CORNERS_MAX:
            raise InvalidInput("zones", f"zones, masks and privacy_masks together have at most {CORNERS_MAX} corners")
        for name, polygons in lists.items():
            for polygon in polygons:
                if not 3 <= len(polygon) <= POLYGON_POINTS_MAX:
                    raise InvalidInput(name, f"a polygon has 3 to {POLYGON_POINTS_MAX} corners, got {len(polygon)}")


def before_turn(polygon: Sequence[tuple[int, int]], rotation_left: int) -> list[tuple[int, int]]:
    """A polygon of the picture as shown, in the picture that is still to be turned clockwise by `rotation_left`.

    For what cannot be turned itself. `rotation_left` is a multiple of 90 degrees.
    """
    corners = list(polygon)
    for _ in range(rotation_left // 90 % 4):
        corners = [(y, 1000 - x) for x, y in corners]
    return corners


class ModeSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `mode`: whether the camera watches.

    `armed` and `away` record motion; `home` keeps the picture ready but records only what is asked for; `privacy`
    closes the camera. When `until` (epoch seconds) has passed, the mode is `armed` again.
    """

    mode: Literal["armed", "home", "away", "privacy"] = "armed"
    until: Optional[Annotated[int, Meta(ge=0, le=4_102_444_800)]] = None
    time_zone: Optional[Annotated[str, Meta(max_length=40)]] = None
    """IANA name; the machine's own zone when absent. Recording windows are read in it."""

    def check(self) -> None:
        """The zone exists on this machine."""
        if self.time_zone is not None and not _is_time_zone(self.time_zone):
            raise InvalidInput("time_zone", f"must be an IANA time zone, got {self.time_zone!r}")


def _is_time_zone(name: str) -> bool:
    # ZoneInfo reads files by this name, so its form is checked before anything is opened.
    if re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}", name) is None:
        return False
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True


class PictureSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `picture`: how the sensor sees. Null leaves a field to the camera.

    What the camera does not offer rejects the section with the reason. Numbers have at most two decimals.
    """

    exposure_mode: Optional[Literal["auto", "manual"]] = None
    exposure_us: Optional[Annotated[int, Meta(ge=1, le=1_000_000)]] = None
    """Microseconds that each picture is exposed; with manual exposure, and only then."""
    gain: Optional[Annotated[float, Meta(ge=1, le=64)]] = None
    """Analogue gain; with manual exposure, and only then."""
    exposure_value: Optional[Annotated[float, Meta(ge=-8, le=8)]] = None
    """Stops brighter (or, below 0, darker) than the camera would choose."""
    metering: Optional[Literal["centre", "spot", "matrix"]] = None
    """The part of the picture that decides on the exposure."""
    white_balance: Optional[Literal["auto", "tungsten", "fluorescent", "indoor", "daylight", "cloudy"]] = None
    colour_gains: Optional[tuple[Annotated[float, Meta(ge=0.1, le=32)], Annotated[float, Meta(ge=0.1, le=32)]]] = None
    """Gains of red and blue, in the place of `white_balance`."""
    noise_reduction: Optional[Literal["off", "fast", "high_quality"]] = None
    sharpness: Optional[Annotated[float, Meta(ge=0, le=16)]] = None
    contrast: Optional[Annotated[float, Meta(ge=0, le=32)]] = None
    saturation: Optional[Annotated[float, Meta(ge=0, le=32)]] = None
    """0 is grey."""
    brightness: Optional[Annotated[float, Meta(ge=-1, le=1)]] = None
    focus_mode: Optional[Literal["auto", "continuous", "manual"]] = None
    """`auto` focuses once, when the camera is opened."""
    lens_position: Optional[Annotated[float, Meta(ge=0, le=32)]] = None
    """Dioptres: 0 is far away, 2 is half a metre, 10 is ten centimetres; with manual focus, and only then."""
    hdr: Optional[Literal["off", "single", "night"]] = None
    night: Optional[bool] = None
    """In the dark pictures may take longer than `framerate` says, and so become fewer."""
    min_framerate: Optional[Annotated[int, Meta(ge=1, le=120)]] = None
    """Fewest frames per second at night; with `night`, and only then."""
    flicker_hz: Optional[Literal[0, 50, 60]] = None
    """Frequency of the mains whose lamps would flicker in the picture; 0 for none."""

    def check(self) -> None:
        """Fields that contradict each other. Raises InvalidInput with the bare field."""
        manual = self.exposure_mode == "manual"
        for name in ("exposure_us", "gain"):
            if (getattr(self, name) is not None) != manual:
                raise InvalidInput(name, "must be given with exposure_mode manual, and only then")
        for name in ("exposure_value", "metering", "flicker_hz"):
            if manual and getattr(self, name) is not None:
                raise InvalidInput(name, "has no meaning with exposure_mode manual")
        if self.colour_gains is not None and self.white_balance is not None:
            raise InvalidInput("colour_gains", "must not be given together with white_balance")
        if self.lens_position is not None and self.focus_mode != "manual":
            raise InvalidInput("lens_position", "must not be given without focus_mode manual")
        if self.min_framerate is not None and not self.night:
            raise InvalidInput("min_framerate", "must not be given without night")
        for name in self.__struct_fields__:
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, float) and round(number, 2) != number for number in numbers):
                raise InvalidInput(name, "must have at most two decimals")


LedPattern = Literal["fault", "registration", "recording", "privacy"]
"""What the LED can show; of several at once the first is shown."""
LED_PATTERNS: tuple[LedPattern, ...] = get_args(LedPattern)


class LedSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `led`: what the Pi's LED shows, where it may be written."""

    enabled: bool = True
    patterns: Annotated[tuple[LedPattern, ...], Meta(max_length=len(LED_PATTERNS))] = LED_PATTERNS
    """Which of them are shown."""


Section = Union[
    CameraSettings,
    StorageSettings,
    HealthSettings,
    CloudWatchSettings,
    DataPlaneSettings,
    MotionSettings,
    ModeSettings,
    PictureSettings,
    LedSettings,
]


class DeviceSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All sections that a device takes from its shadow."""

    camera: CameraSettings = CameraSettings()
    storage: StorageSettings = StorageSettings()
    health: HealthSettings = HealthSettings()
    cloudwatch: CloudWatchSettings = CloudWatchSettings()
    dataplane: DataPlaneSettings = DataPlaneSettings()
    motion: MotionSettings = MotionSettings()
    mode: ModeSettings = ModeSettings()
    picture: PictureSettings = PictureSettings()
    led: LedSettings = LedSettings()

    def with_section(self, name: str, section: Section) -> DeviceSettings:
        """A copy in which section `name` is replaced."""
        return msgspec.structs.replace(self, **{name: section})

    def as_document(self) -> dict[str, Any]:
        """The sections as they are reported: plain dicts, lists and numbers."""
        document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return document


SECTIONS: Mapping[str, type[Section]] = {
    "camera": CameraSettings,
    "storage": StorageSettings,
    "health": HealthSettings,
    "cloudwatch": CloudWatchSettings,
    "dataplane": DataPlaneSettings,
    "motion": MotionSettings,
    "mode": ModeSettings,
    "picture": PictureSettings,
    "led": LedSettings,
}
REPORTED_ONLY = frozenset({"cloud_connection", "sync"})


class CloudConnection(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Section `cloud_connection`, reported only: a shadow edit must not move a device to another account."""

    cert_path: Optional[str] = None
    key_path: Optional[str] = None
    cacert_path: Optional[str] = None
    thing_name: Optional[str] = None
    role_alias: Optional[str] = None
    credentials_endpoint: Optional[str] = None


def parse_section(name: str, desired: object, base: Section) -> Section:
    """Section `name` with the fields of `desired` (an object from outside) laid over `base`.

    Raises InvalidInput for anything that is not wholly valid; its field is `name.field`.
    """
    kind = SECTIONS.get(name)
    if kind is None:
        reason = "is reported only" if name in REPORTED_ONLY else "is not a section of this version"
        raise InvalidInput(name, reason)
    if not isinstance(desired, dict):
        raise InvalidInput(name, f"must be an object, got {_shown(desired)}")
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    merged: dict[str, Any] = {}
    for field_name in fields:
        merged[field_name] = getattr(base, field_name)
    for key, value in desired.items():
        if key not in fields:
            raise InvalidInput(f"{name}.{_shown(key, 40)}", "is not a field of this section")
        merged[key] = parse_field(f"{name}.{key}", value, fields[key].type)
    section: Section = kind(**merged)
    check = getattr(section, "check", None)
    if check is not None:
        try:
            check()
        except InvalidInput as error:
            raise InvalidInput(f"{name}.{error.field}", error.reason) from error
    return section


def parse_field(label: str, value: object, kind: Any) -> Any:
    """`value` as the field's type, coerced from a string where that is what an old console sends."""
    if isinstance(value, str):
        # A pattern's end also matches before a line's end, so line ends are refused here.
        if not value.isprintable():
            raise InvalidInput(label, f"must be printable, got {_shown(value)}")
        if value == "null" and type(None) in get_args(kind):
            return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and value.bit_length() > _BITS_MAX:
        # Some versions of msgspec take a whole number that no float can hold for -1.
        raise InvalidInput(label, f"{bound_of(kind)}, got {_shown(value)}")
    try:
        return msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, OverflowError, ValueError) as error:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            with contextlib.suppress(msgspec.ValidationError, ValueError):
                return msgspec.convert(str(value), kind, strict=False)
        raise InvalidInput(label, f"{bound_of(kind)}, got {_shown(value)}") from error


def bound_of(kind: Any) -> str:
    """The bound of a field's type in words, from the same schema that the console gets."""
    schema = msgspec.json.schema(kind)
    options = schema.get("anyOf", [schema])
    return " or ".join(_bound_of_schema(option) for option in options)


def _bound_of_schema(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "must be one of " + ", ".join(str(value) for value in schema["enum"])
    kind = schema.get("type", "value")
    if kind in ("integer", "number"):
        word = "a whole number" if kind == "integer" else "a number"
        return f"must be {word} from {schema.get('minimum', '-inf')} to {schema.get('maximum', 'inf')}"
    if kind == "boolean":
        return "must be true or false"
    if kind == "null":
        return "null"
    if kind == "array":
        return _bound_of_list(schema)
    if "pattern" in schema:
        return f"must match {schema['pattern']}"
    if "maxLength" in schema:
        return f"must be a string of at most {schema['maxLength']} characters"
    return f"must be a {kind}"


def _bound_of_list(schema: Mapping[str, Any]) -> str:
    places = schema.get("prefixItems")
    if places:
        return f"must be a list of {len(places)}, each {_bound_of_schema(places[0])[len('must be ') :]}"
    words = schema.get("items", {}).get("enum")
    if words:
        return "must be a list of " + ", ".join(words)
    return "must be a list of polygons, each a list of [x, y] with whole numbers from 0 to 1000"


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of all sections."""
    return msgspec.json.schema(DeviceSettings)


def _shown(value: object, longest: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."
