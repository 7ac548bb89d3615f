"""Settings: every bound, coercion, and sections that are valid as a whole or not at all."""

from __future__ import annotations

from typing import Any, Literal, Union, get_args, get_origin
from zoneinfo import available_timezones

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput
from pinthesky.model import settings
from pinthesky.model.settings import LED_PATTERNS, SECTIONS, DeviceSettings, MotionSettings, parse_section
from pinthesky.model.shadow import DESIRED_MAX, canonical

DEFAULTS = DeviceSettings()


def parse(name: str, **desired: Any) -> Any:
    base: Any = getattr(DEFAULTS, name, None)
    return parse_section(name, desired, base)


def fields_of(name: str) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(SECTIONS[name])}


def bounds_name(section: str, field: str) -> str:
    schema = msgspec.json.schema(fields_of(section)[field].type)
    return str(schema.get("anyOf", [schema])[0].get("type"))


ALL_FIELDS = [(section, field) for section in SECTIONS for field in fields_of(section)]


def test_every_section_is_a_field_of_the_whole():
    assert [field.name for field in msgspec.structs.fields(DeviceSettings)] == list(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_defaults_are_valid(section):
    document = DEFAULTS.as_document()[section]
    assert parse(section, **document) == getattr(DEFAULTS, section)


@pytest.mark.parametrize("section", SECTIONS)
def test_an_empty_section_changes_nothing(section):
    assert parse(section) == getattr(DEFAULTS, section)


@pytest.mark.parametrize("section, field", ALL_FIELDS)
@pytest.mark.parametrize("value", [{}, [{}], [[]], "", "\n", "x\n", "a\x00b", " ", "\u202e", "é"])
def test_no_field_takes_nonsense(section, field, value):
    with pytest.raises(InvalidInput) as caught:
        parse(section, **{field: value})
    assert caught.value.field.startswith(f"{section}.")
    assert len(caught.value.reason) < 250


NUMERIC = [name for name in ALL_FIELDS if bounds_name(*name) in ("integer", "number")]


@pytest.mark.parametrize("section, field", NUMERIC)
@pytest.mark.parametrize("value", [-9, 10**30, -(10**30), 10**400, float("nan"), float("inf"), "nan", "-inf", "1e999"])
def test_no_number_is_beyond_all_bounds(section, field, value):
    with pytest.raises(InvalidInput, match=rf"{section}\.{field}"):
        parse(section, **{field: value})


BOUNDS = [
    ("camera", "framerate", 1, 120),
    ("camera", "buffer", 0, 120),
    ("camera", "buffer_size", 100_000, 512_000_000),
    ("camera", "sensitivity", 1, 1000),
    ("camera", "encoding_bitrate", 100_000, 25_000_000),
    ("health", "interval", 10, 86_400),
    ("motion", "post_roll", 1, 120),
    ("motion", "cool_down", 0, 3600),
    ("motion", "min_duration", 0, 10),
    ("motion", "max_duration", 10, 300),
    ("mode", "until", 0, 4_102_444_800),
    ("picture", "exposure_value", -8, 8),
    ("picture", "sharpness", 0, 16),
    ("picture", "contrast", 0, 32),
    ("picture", "saturation", 0, 32),
    ("picture", "brightness", -1, 1),
]


@pytest.mark.parametrize("section, field, least, most", BOUNDS)
def test_numbers_are_taken_up_to_their_bounds_as_numbers_or_strings(section, field, least, most):
    for value in (least, most):
        for form in (value, float(value), str(value)):
            assert getattr(parse(section, **{field: form}), field) == value
    for value in (least - 1, most + 1):
        for form in (value, str(value)):
            with pytest.raises(InvalidInput, match=f"from {least}(.0)? to {most}"):
                parse(section, **{field: form})


@pytest.mark.parametrize("value", [True, False, 20.5, "20.5", " 20", "2_0", "٢٠", "0x14", None, [20]])
def test_a_whole_number_is_nothing_else(value):
    with pytest.raises(InvalidInput, match="whole number"):
        parse("camera", framerate=value)


@pytest.mark.parametrize("value, meaning", [("true", True), ("False", False), (1, True), ("0", False), (0.0, False)])
def test_switches_are_taken_as_consoles_of_old_send_them(value, meaning):
    assert parse("storage", enabled=value).enabled is meaning


@pytest.mark.parametrize("value", ["yes", "", 2, None, []])
def test_a_switch_is_nothing_else(value):
    with pytest.raises(InvalidInput, match="must be true or false"):
        parse("storage", enabled=value)


@pytest.mark.parametrize(
    "section, field",
    [(section, field) for section, field in ALL_FIELDS if type(None) in get_args(fields_of(section)[field].type)],
)
@pytest.mark.parametrize("nothing", [None, "null"])
def test_what_may_be_absent_is_cleared_by_null(section, field, nothing):
    assert getattr(parse(section, **{field: nothing}), field) is None


@pytest.mark.parametrize("resolution", ["32x32", "640x480", "4096x3072", "1920x1080"])
def test_resolutions_within_bounds(resolution):
    assert parse("camera", resolution=resolution).size == tuple(map(int, resolution.split("x")))


@pytest.mark.parametrize(
    "resolution",
    ["30x480", "640x30", "4098x480", "640x3074", "641x480", "640x481", "640", "640x480x3", "0640x480", "640X480", 640],
)
def test_resolutions_beyond_them(resolution):
    with pytest.raises(InvalidInput, match=r"camera\.resolution"):
        parse("camera", resolution=resolution)


@pytest.mark.parametrize("window, hours", [("8-20", (8, 20)), ("22-06", (22, 6)), ("0-23", (0, 23)), ("8-24", (8, 24))])
def test_recording_windows_may_cross_midnight(window, hours):
    assert parse("camera", recording_window=window).window_hours == hours


@pytest.mark.parametrize("window", ["8-8", "25-3", "8", "8-", "-8", "8-20-22", "a-b", "24-0", 8])
def test_recording_windows_that_say_nothing(window):
    with pytest.raises(InvalidInput, match=r"camera\.recording_window"):
        parse("camera", recording_window=window)


def test_no_recording_window_is_the_whole_day():
    assert DEFAULTS.camera.window_hours is None


@pytest.mark.parametrize("level", ["4", 4, 4.1, "5.1", "1"])
def test_levels_arrive_as_numbers_or_strings(level):
    assert parse("camera", encoding_level=level).encoding_level == str(level)


@pytest.mark.parametrize("level", ["6", "4.3", 9, "", "abc"])
def test_levels_that_do_not_exist(level):
    with pytest.raises(InvalidInput, match=r"camera\.encoding_level"):
        parse("camera", encoding_level=level)


@pytest.mark.parametrize("bucket", ["ab", "A-bucket", "a" * 64, "-bucket", "a/b", "bucket.", "a..", ".."])
def test_bucket_names_that_s3_does_not_know(bucket):
    with pytest.raises(InvalidInput, match=r"storage\.bucket_name"):
        parse("storage", bucket_name=bucket)


@pytest.mark.parametrize("prefix", ["/", "a/", "/a", "a//b", "../a", "a/../b", ".a", "a b", "x" * 65, "a\\b"])
@pytest.mark.parametrize("field", ["video_prefix", "image_prefix"])
def test_prefixes_that_lead_elsewhere(field, prefix):
    with pytest.raises(InvalidInput, match=rf"storage\.{field}"):
        parse("storage", **{field: prefix})


@pytest.mark.parametrize(
    "zone", ["../../etc/passwd", "/etc/localtime", "Europe", "Europe/Nowhere", "", "a/b/c/d", "Europe/Berlin "]
)
def test_a_time_zone_is_one_that_exists(zone):
    with pytest.raises(InvalidInput, match=r"mode\.time_zone"):
        parse("mode", time_zone=zone)


def test_a_time_zone_by_its_name():
    assert parse("mode", time_zone="Europe/Berlin").time_zone == "Europe/Berlin"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "https://",
        "https://a b",
        "https://u@h",
        "https://h?q",
        "https://h#f",
        "https://h\\x",
        "https://" + "x" * 121,
    ],
)
def test_endpoints_are_plain_addresses(url):
    with pytest.raises(InvalidInput, match=r"dataplane\.endpoint_url"):
        parse("dataplane", endpoint_url=url)


TRIANGLE = [[0, 0], [1000, 0], [500, 1000]]


def test_polygons_are_corners_within_the_picture():
    assert parse("motion", zones=[[["0", 0], [1000.0, 0], [500, 1000]]]).zones == [[(0, 0), (1000, 0), (500, 1000)]]


@pytest.mark.parametrize(
    "zones",
    [
        [TRIANGLE[:2]],
        [[[0, 0]] * 13],
        [[[0, 0, 0], [1, 1], [2, 2]]],
        [[[0], [1], [2]]],
        [[[-1, 0], [1, 1], [2, 2]]],
        [[[0, 1001], [1, 1], [2, 2]]],
        [[[0.5, 0], [1, 1], [2, 2]]],
        [TRIANGLE] * 9,
        TRIANGLE,
        "[]",
        None,
        {},
    ],
)
def test_polygons_beyond_the_bounds(zones):
    with pytest.raises(InvalidInput, match=r"motion\.zones"):
        parse("motion", zones=zones)


def test_eight_polygons_count_over_all_lists():
    assert parse("motion", zones=[TRIANGLE] * 3, masks=[TRIANGLE] * 3, privacy_masks=[TRIANGLE] * 2)
    with pytest.raises(InvalidInput, match="at most 8 polygons"):
        parse("motion", zones=[TRIANGLE] * 3, masks=[TRIANGLE] * 3, privacy_masks=[TRIANGLE] * 3)


def test_forty_corners_count_over_all_lists():
    ten = [[x, 0] for x in range(10)]
    assert parse("motion", zones=[ten] * 2, masks=[ten], privacy_masks=[ten])
    with pytest.raises(InvalidInput, match=r"motion\.zones: .*at most 40 corners"):
        parse("motion", zones=[ten] * 2, masks=[ten], privacy_masks=[ten, TRIANGLE])


MANUAL = {"exposure_mode": "manual", "exposure_us": 1000, "gain": 2}


@pytest.mark.parametrize(
    "fields",
    [
        {"exposure_mode": "auto", "exposure_value": "-1.5", "metering": "spot", "flicker_hz": "50"},
        MANUAL,
        {"exposure_mode": "manual", "exposure_us": 1_000_000, "gain": 64, "night": True},
        {"white_balance": "cloudy"},
        {"colour_gains": ["1.5", 32]},
        {"focus_mode": "manual", "lens_position": 0},
        {"focus_mode": "continuous"},
        {"night": "true", "min_framerate": "2"},
        {"hdr": "night", "noise_reduction": "off"},
    ],
)
def test_what_a_picture_can_be(fields):
    found = parse("picture", **fields)
    assert parse("picture", **msgspec.to_builtins(found)) == found != DEFAULTS.picture


@pytest.mark.parametrize(
    "fields, field",
    [
        ({"exposure_mode": "manual", "gain": 2}, "exposure_us"),
        ({"exposure_mode": "manual", "exposure_us": 1000}, "gain"),
        ({"exposure_us": 1000}, "exposure_us"),
        ({"exposure_mode": "auto", "gain": 2}, "gain"),
        ({**MANUAL, "exposure_value": 1}, "exposure_value"),
        ({**MANUAL, "metering": "spot"}, "metering"),
        ({**MANUAL, "flicker_hz": 50}, "flicker_hz"),
        ({"white_balance": "auto", "colour_gains": [1, 1]}, "colour_gains"),
        ({"lens_position": 1}, "lens_position"),
        ({"focus_mode": "auto", "lens_position": 1}, "lens_position"),
        ({"min_framerate": 5}, "min_framerate"),
        ({"night": False, "min_framerate": 5}, "min_framerate"),
        ({"exposure_us": 1_000_001}, "exposure_us"),
        ({"gain": 0.5}, "gain"),
        ({"colour_gains": [1]}, "colour_gains"),
        ({"colour_gains": [0, 1]}, "colour_gains"),
        ({"lens_position": 33}, "lens_position"),
        ({"flicker_hz": 55}, "flicker_hz"),
        ({"white_balance": "incandescent"}, "white_balance"),
    ],
)
def test_what_a_picture_cannot_be(fields, field):
    with pytest.raises(InvalidInput) as caught:
        parse("picture", **fields)
    assert caught.value.field == f"picture.{field}"


@pytest.mark.parametrize("fields", [{"sharpness": 1.234}, {"colour_gains": [1.0, 1.001]}, {"brightness": 0.1 + 0.2}])
def test_numbers_of_a_picture_are_short_so_that_they_fit_the_shadow(fields):
    with pytest.raises(InvalidInput, match="at most two decimals"):
        parse("picture", **fields)


@pytest.mark.parametrize("patterns", [["fault"], [], ["privacy", "recording"], list(LED_PATTERNS)])
def test_the_led_shows_what_is_named(patterns):
    assert parse("led", patterns=patterns).patterns == tuple(patterns)


@pytest.mark.parametrize("patterns", [["disco"], ["fault"] * 5, "fault", [1], None])
def test_the_led_shows_nothing_else(patterns):
    with pytest.raises(InvalidInput, match=r"led\.patterns: must be a list of fault, "):
        parse("led", patterns=patterns)


@pytest.mark.parametrize("section", ["cloud_connection", "sync"])
def test_reported_only_sections_are_never_taken(section):
    with pytest.raises(InvalidInput, match="is reported only"):
        parse(section, role_alias="mine")


@pytest.mark.parametrize("section", ["cameras", "", "__class__", "with_section", "Camera"])
def test_unknown_sections_are_never_taken(section):
    with pytest.raises(InvalidInput, match="is not a section of this version"):
        parse(section)


@pytest.mark.parametrize("desired", [None, [], "x", 5, True])
def test_a_section_is_an_object(desired):
    with pytest.raises(InvalidInput, match="camera: must be an object"):
        parse_section("camera", desired, DEFAULTS.camera)


def test_one_bad_field_rejects_its_section():
    # rotation 45 and framerate 0 were half applied by the predecessor
    with pytest.raises(InvalidInput, match=r"camera\.rotation: must be one of 0, 90, 180, 270, got 45"):
        parse("camera", buffer=30, rotation=45, framerate=0)


@pytest.mark.parametrize("key", ["bogus", "x" * 9999, "a\nb", "\u202e"])
def test_an_unknown_field_rejects_its_section_with_a_short_reason(key):
    with pytest.raises(InvalidInput, match="is not a field of this section") as caught:
        parse("camera", framerate=30, **{key: 1})
    assert len(caught.value.field) < 60
    assert caught.value.field.isprintable()


def test_fields_that_are_not_named_keep_the_value_of_the_base():
    base = parse("camera", framerate=30, rotation=90)
    assert parse_section("camera", {"buffer": "7"}, base) == msgspec.structs.replace(base, buffer=7)


def test_a_section_can_be_replaced_in_the_whole():
    changed = DEFAULTS.with_section("health", parse("health", interval=60))
    assert changed.health.interval == 60
    assert changed.with_section("health", DEFAULTS.health) == DEFAULTS


def test_the_schema_holds_every_field_with_its_bounds():
    schema = settings.json_schema()["$defs"]
    for section, kind in SECTIONS.items():
        assert set(schema[kind.__name__]["properties"]) == set(fields_of(section))
    assert schema["CameraSettings"]["properties"]["framerate"]["maximum"] == 120


@pytest.mark.parametrize(
    "kind, words",
    [
        (bool, "must be true or false"),
        (Union[int, None], "must be a whole number from -inf to inf or null"),
        (float, "must be a number from -inf to inf"),
        (Literal["a", "b"], "must be one of a, b"),
        (list, "must be a list of polygons"),
        (tuple[float, float], "must be a list of 2, each a number from -inf to inf"),
        (list[Literal["a", "b"]], "must be a list of a, b"),
        (str, "must be a string"),
        (dict, "must be a object"),
    ],
)
def test_bounds_in_words(kind, words):
    assert settings.bound_of(kind).startswith(words)


# -- properties

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(section=st.sampled_from([*SECTIONS, "sync"]), data=st.data())
def test_whatever_arrives_gives_a_valid_section_or_invalid_input(section, data):
    names = list(fields_of(section)) if section in SECTIONS else ["x"]
    desired = data.draw(JSON | st.dictionaries(st.sampled_from(names), JSON, max_size=4))
    base: Any = getattr(DEFAULTS, section, None)
    found = refusal = None
    try:
        found = parse_section(section, desired, base)
    except InvalidInput as error:
        refusal = error
    if refusal is not None:
        assert refusal.field.split(".")[0] == section
        return
    # What was taken can be reported, read back and is the same.
    document = msgspec.json.decode(msgspec.json.encode(found))
    assert parse_section(section, document, getattr(DEFAULTS, section)) == found


def largest(kind: Any) -> Any:
    """The value of a field's type that takes most bytes."""
    if get_origin(kind) is Union:
        return largest(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return max(get_args(kind), key=lambda value: len(str(value)))
    schema = msgspec.json.schema(kind)
    if schema["type"] == "integer":
        return schema["maximum"]
    return {"number": 9.876543210123456, "boolean": False}[schema["type"]]


LONGEST: dict[str, dict[str, Any]] = {
    "camera": {"resolution": "3840x2160", "recording_window": "22-06", "encoding_level": "5.1"},
    "storage": {"bucket_name": "b" * 63, "video_prefix": "v" * 64, "image_prefix": "i" * 64},
    "cloudwatch": {"log_group_name": "g" * 128, "metric_namespace": "n" * 64, "region_name": "r" * 24},
    "dataplane": {"endpoint_url": "https://" + "e" * 120, "region_name": "r" * 24},
    "motion": {"zones": [[[1000, 1000]] * 5] * 8, "masks": [], "privacy_masks": []},
    "mode": {"time_zone": max(available_timezones(), key=lambda name: (len(name), name))},
    "picture": {
        "exposure_mode": "manual",
        "exposure_us": 1_000_000,
        "gain": 63.99,
        "exposure_value": None,
        "metering": None,
        "white_balance": None,
        "colour_gains": [31.99, 31.99],
        "noise_reduction": "high_quality",
        "sharpness": 15.99,
        "contrast": 31.99,
        "saturation": 31.99,
        "brightness": -0.99,
        "focus_mode": "manual",
        "lens_position": 31.99,
        "hdr": "single",
        "night": True,
        "min_framerate": 120,
        "flicker_hz": None,
    },
    "led": {"patterns": LED_PATTERNS},
}


ROOM = 740
"""Bytes for what is still to come: sections `recording` and `live`, and the schedule of section `mode`."""


def largest_desired() -> dict[str, dict[str, Any]]:
    """A desired state that sets every field to a value that takes as many bytes as any."""
    return {section: {field: largest_of(section, field) for field in fields_of(section)} for section in SECTIONS}


def largest_of(section: str, field: str) -> Any:
    known = LONGEST.get(section, {})
    return known[field] if field in known else largest(fields_of(section)[field].type)


def test_the_largest_valid_desired_fits_the_shadow():
    desired = largest_desired()
    for section, fields in desired.items():
        parse(section, **fields)
    assert len(canonical(desired)) <= DESIRED_MAX - ROOM


def test_lists_of_a_section_are_not_shared_between_devices():
    one, other = MotionSettings(), MotionSettings()
    one.zones.append([(0, 0), (1, 0), (0, 1)])
    assert other.zones == []


@pytest.mark.parametrize(
    "rotation_left, expected",
    [(0, (100, 200)), (90, (200, 900)), (180, (900, 800)), (270, (800, 100)), (360, (100, 200))],
)
def test_a_corner_of_the_picture_as_shown_is_found_in_the_picture_before_it_is_turned(rotation_left, expected):
    assert settings.before_turn([(100, 200)], rotation_left) == [expected]
