"""Hostile input: pieces of what is right, mutated, and some of what is known to break parsers."""

from __future__ import annotations

import json
import random

HEALTH = b'{"name":"health","context":{"capture_id":"a1","connection":{"id":"c=","manager_id":"m","invoke_id":"i"}}}'
COMMANDS = (
    HEALTH,
    b'{"name":"capture_image","context":{"file_name":"thumbnail_latest.jpg","capture_id":7}}',
    b'{"name":"capture_video","context":{"capture_id":"v","duration":"30"}}',
    b'{"name":"record","context":{"session":{"start":true},"transport":"webrtc","offer":{"type":"offer","sdp":"v=0"}}}',
    b'{"name":"combine_end","context":{"file_name":"../../etc/passwd"}}',
)
SHADOWS = (
    b'{"previous":{"state":{}},"current":{"state":{"desired":{"camera":{"rotation":90}}},"version":3},"timestamp":1}',
    b'{"state":{"desired":{"motion":{"zones":[[[0,0],[1000,0],[1000,1000]]],"post_roll":3},"mode":{"mode":"away"}}}}',
    b'{"state":{"desired":{"storage":{"bucket_name":"a-bucket","video_prefix":"a/b"},"health":{"interval":"60"}}}}',
)
NASTY = (
    b"",
    b"\x00",
    b"\xff\xfe\xfd",
    b'"\\ud800"',
    b"1e400",
    b"-0",
    b"9" * 400,
    b"18446744073709551616",
    b"NaN",
    b"[" * 2000,
    b'{"a":' * 2000,
    b'"' + b"x" * 5000 + b'"',
    b"../../../../etc/shadow",
    b"\\u0000",
    b'"\xc0\xaf"',
    b"null",
    b"true",
    b"{}",
    b"}",
    b'{"name":',
    b"\xf0\x9f\x8e\xa5",
)
VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    2**53 + 1,
    2**70,
    -(2**63),
    1e308,
    float(2**80),
    0.5,
    "",
    "null",
    "٣",
    "9" * 5000,
    "640x480",
    "0x0",
    "99999x99999",
    "../..",
    "a\nb",
    "\ud800",
    [],
    [[]],
    [[[0, 0]] * 3] * 9,
    [[[0, 0], [1000, 1000], [10**30, -5]]],
    {},
    {"a": {"b": {"c": {"d": {}}}}},
)


def mutated(source: random.Random, originals: tuple[bytes, ...]) -> bytes:
    """One to four originals and nasty pieces in a row, with a few bytes changed, cut out, repeated or put in."""
    data = bytearray(b"".join(source.choice((*originals, *originals, *NASTY)) for _ in range(source.randint(1, 4))))
    for _ in range(source.randint(0, 4)):
        at = source.randint(0, len(data))
        end = min(len(data), at + source.choice((1, 2, 8, 64)))
        kind = source.randrange(4)
        if kind == 0:
            data[at:end] = source.randbytes(end - at)
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            data[at:at] = data[at:end]
        else:
            data[at:at] = source.choice(NASTY)
    return bytes(data)


def hostile_value(source: random.Random) -> object:
    """A value that JSON can hold."""
    if source.random() < 0.7:
        return source.choice(VALUES)
    return source.choice(
        (
            source.randint(-(2**65), 2**65),
            source.uniform(-1e6, 1e6),
            "".join(map(chr, source.choices(range(1, 999), k=9))),
        )
    )


def as_json(value: object) -> bytes:
    """The value as a sender of bad manners would write it."""
    return json.dumps(value).encode()
