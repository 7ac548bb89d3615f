"""Identifiers: the only doors through which a string becomes a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput
from pinthesky.model import identifiers
from pinthesky.model.identifiers import (
    BucketName,
    CaptureId,
    ConnectionId,
    EventId,
    FileName,
    GroupName,
    Identifier,
    KeyPrefix,
    MediaKey,
    ThingName,
)

KINDS = [
    BucketName,
    CaptureId,
    ConnectionId,
    EventId,
    FileName,
    GroupName,
    Identifier,
    KeyPrefix,
    MediaKey,
    ThingName,
]
GOOD = {
    ThingName: ["pi", "Garden_Cam-1:2", "x" * 128, "-"],
    EventId: ["0123456789abcdef" * 2],
    CaptureId: ["a", "1", "a.b:c_d-e", "x" * 64],
    ConnectionId: ["L0SM9cOFvHcCIhw=", "a_b-c+", "x" * 128],
    FileName: ["thumbnail_latest.jpg", "_x", "a..b", "x" * 128, "0"],
    GroupName: ["Front yard", "Gärten ☀", "x" * 60, "a.b", "-", "$aws"],
    BucketName: ["abc", "my.bucket-1", "a" * 63],
    KeyPrefix: ["motion_videos", "house/garden", "a/b/c", "-", "x" * 64],
    MediaKey: ["v/pi/1-a.motion.mp4", "house/garden/pi:1/x", "-/-/-"],
}
BAD = {
    ThingName: ["", "a b", "a/b", "#", "+", "$aws", "é", "x" * 129, "a\n"],
    EventId: ["", "0" * 31, "0" * 33, "G" * 32, "ABCDEF01" * 4, "0" * 32 + "\n"],
    CaptureId: ["", "a b", "a/b", "x" * 65, "a\n", "${x}"],
    ConnectionId: ["", "a/b", "..", "a b", "x" * 129, "%2e"],
    FileName: ["", ".", "..", ".x", "-x", "a/b", "a\\b", "a b", "a\x00", "é", "x" * 129, "a\n"],
    GroupName: [
        "",
        " a",
        "a ",
        ".",
        "..",
        ".a",
        "a/b",
        "a\\b",
        "a,b",
        "a#b",
        "a?b",
        "a%2fb",
        "a\n",
        "a\u202eb",
        "x" * 61,
    ],
    BucketName: ["", "ab", "A" * 5, "-ab", "ab-", ".ab", "a_b", "a/b", "a" * 64, "abc\n"],
    KeyPrefix: ["", "/", "a/", "/a", "a//b", "..", "a/..", "../a", ".a", "a/.b", "a b", "x" * 65, "a\n"],
    MediaKey: [
        "",
        "a",
        "a/b",
        "a//b",
        "/a/b",
        "a/b/",
        "a/../b",
        "a/b/..",
        "./a/b",
        "a/b/c d",
        "v/pi/" + "x" * 400,
        "a/b/c\n",
    ],
}


@pytest.mark.parametrize("kind, value", [(kind, value) for kind, values in GOOD.items() for value in values])
def test_a_valid_name_is_itself(kind, value):
    found = kind(value)
    assert found == value
    assert type(found) is kind


@pytest.mark.parametrize("kind, value", [(kind, value) for kind, values in BAD.items() for value in values])
def test_an_invalid_name_is_no_name(kind, value):
    with pytest.raises(InvalidInput, match="must be"):
        kind(value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, 1, True, b"abc", ["abc"], object])
def test_only_strings_are_names(kind, value):
    with pytest.raises(InvalidInput, match="must be"):
        kind(value)


def test_the_message_names_the_field_of_the_caller_and_is_short():
    with pytest.raises(InvalidInput) as caught:
        ThingName.parse("x y" * 100, "--thing-name")
    assert caught.value.field == "--thing-name"
    assert len(str(caught.value)) < 160


@given(kind=st.sampled_from(KINDS), value=st.text(max_size=20) | st.from_regex(r"\A[a-z./:_-]{1,30}\Z"))
def test_whatever_is_accepted_can_leave_no_folder_and_break_no_line(kind, value):
    try:
        found = kind(value)
    except InvalidInput:
        return
    assert found.isprintable()
    assert found.isascii() or kind is GroupName
    if kind in (FileName, KeyPrefix, MediaKey):
        assert not any(part in ("", ".", "..") for part in found.split("/"))


def test_names_of_groups_that_look_equal_are_equal():
    assert GroupName("Ga\u0308rten") == GroupName("Gärten")


def test_event_ids_are_128_random_bits():
    ids = {EventId.new() for _ in range(100)}
    assert len(ids) == 100
    assert all(type(found) is EventId for found in ids)


def test_topics_and_keys():
    thing = ThingName("pi")
    assert identifiers.command_topic(thing) == "pinthesky/events/pi/input"
    assert identifiers.event_topic(thing) == "pinthesky/events/pi/output"
    assert identifiers.shadow_topic(thing, "update/delta") == "$aws/things/pi/shadow/name/pinthesky/update/delta"
    assert identifiers.log_stream_name("2026/11/21", thing) == "2026/11/21@pi"
    assert identifiers.log_stream_name("2026/11/21", None) == "2026/11/21@all"
    stem = identifiers.clip_stem(1763710000.9, EventId("ab" * 16))
    assert stem == "1763710000-" + "ab" * 16 + ".motion"
    assert MediaKey.of(KeyPrefix("v"), thing, FileName(stem + ".mp4")) == f"v/pi/{stem}.mp4"


def test_the_longest_parts_make_a_valid_key():
    assert len(MediaKey.of(KeyPrefix("p" * 64), ThingName("t" * 128), FileName("f" * 128))) == 322
