"""Commands: the closed set, and a stream of bytes that nothing makes deaf."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput
from pinthesky.model.commands import (
    COMMAND_MAX,
    COMMANDS,
    DEPTH_MAX,
    CaptureImage,
    CaptureVideo,
    CommandStream,
    Configuration,
    Connection,
    Health,
    Offer,
    Record,
    Rejected,
    Session,
    name_of,
    parse_command,
)
from pinthesky.model.identifiers import CaptureId, ConnectionId, FileName

HEALTH = b'{"name":"health"}'
CONNECTION = {
    "id": "L0SM9cOFvHcCIhw=",
    "manager_id": "m-1",
    "management_endpoint": "https://abc.example.com/prod",
    "invoke_id": "77",
}


def read(*pieces: bytes) -> list:
    stream = CommandStream()
    return [found for piece in pieces for found in stream.feed(piece)]


def command(name: str, **context: object) -> bytes:
    return json.dumps({"name": name, "context": context}).encode()


def one_rejection(*pieces: bytes) -> Rejected:
    (found,) = read(*pieces)
    assert isinstance(found, Rejected)
    return found


# -- the closed set


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_set_is_known_by_its_name(name):
    context = {"key": True} if name == "record" else {}
    assert name_of(parse_command({"name": name, "context": context})) == name


@pytest.mark.parametrize("name", ["combine_end", "upload_end", "Health", "health ", "", None, 7, ["health"], {}])
def test_any_other_name_is_refused(name):
    with pytest.raises(InvalidInput, match="must be one of capture_image"):
        parse_command({"name": name, "context": {"file_name": "/etc/passwd"}})


@pytest.mark.parametrize("document", [None, [], "health", 1, True])
def test_what_is_no_object_is_no_command(document):
    with pytest.raises(InvalidInput, match="must be an object"):
        parse_command(document)


def test_capture_image_carries_a_bare_file_name():
    found = parse_command(
        {"name": "capture_image", "context": {"file_name": "thumbnail_latest.jpg", "capture_id": "a"}}
    )
    assert found == CaptureImage(file_name=FileName("thumbnail_latest.jpg"), capture_id=CaptureId("a"))


@pytest.mark.parametrize(
    "file_name",
    ["../x", "/etc/passwd", "a/b.jpg", ".hidden", "", "-rf", "a b", "a\n", "a\x00.jpg", "x" * 129, 1.5, True, []],
)
def test_a_file_name_that_leads_anywhere_is_refused(file_name):
    with pytest.raises(InvalidInput, match="file_name"):
        parse_command({"name": "capture_image", "context": {"file_name": file_name}})


def test_a_clip_lasts_thirty_seconds_unless_told_otherwise():
    assert parse_command({"name": "capture_video"}) == CaptureVideo(duration=30.0)


@pytest.mark.parametrize("duration", [1, 300, "12", 2.5, "300"])
def test_durations_arrive_as_numbers_or_strings(duration):
    found = parse_command({"name": "capture_video", "context": {"duration": duration}})
    assert found == CaptureVideo(duration=float(duration))


@pytest.mark.parametrize("duration", [0, 301, -1, "nan", "inf", "", "long", True, [], {}, 10**400])
def test_a_duration_out_of_bounds_is_refused(duration):
    with pytest.raises(InvalidInput):
        parse_command({"name": "capture_video", "context": {"duration": duration}})


def test_a_connection_comes_back_as_it_was_sent():
    found = parse_command({"name": "health", "context": {"connection": CONNECTION}})
    assert isinstance(found.connection, Connection)
    assert found.connection.as_document() == CONNECTION


def test_numbers_stand_for_strings_in_ids():
    context = {"capture_id": 12, "connection": {"id": "c", "manager_id": 3, "invoke_id": 4}}
    found = parse_command({"name": "health", "context": context})
    assert found.capture_id == "12"
    assert found.connection is not None
    assert (found.connection.manager_id, found.connection.invoke_id) == ("3", "4")


def test_null_is_the_same_as_absent():
    context = {"capture_id": None, "duration": None, "connection": {"id": "c", "manager_id": None}}
    found = parse_command({"name": "capture_video", "context": context})
    assert found == CaptureVideo(connection=Connection(id=ConnectionId("c")))
    assert parse_command({"name": "health", "context": None}) == Health()


@pytest.mark.parametrize(
    "connection",
    [
        {},
        [],
        "c",
        {"id": ""},
        {"id": "a b"},
        {"id": "a/../b"},
        {"id": True},
        {**CONNECTION, "management_endpoint": "file:///x"},
    ]
    + [{**CONNECTION, "management_endpoint": value} for value in ("ftp://x", "//x", "https://a b", 5, "https://é")],
)
def test_a_connection_that_is_not_whole_is_refused(connection):
    with pytest.raises(InvalidInput):
        parse_command({"name": "health", "context": {"connection": connection}})


def test_keys_that_are_not_known_change_nothing():
    document = {"name": "health", "timestamp": 5, "context": {"later": {"deep": [1]}, "file_name": "../../etc"}}
    assert parse_command(document) == Health()


@pytest.mark.parametrize("context", [[], "x", 3, True])
def test_a_context_that_is_no_object_is_refused(context):
    with pytest.raises(InvalidInput):
        parse_command({"name": "configuration", "context": context})


def test_record_starts_a_relay_unless_told_otherwise():
    found = parse_command({"name": "record", "context": {"session": {"start": "true"}}})
    assert found == Record(session=Session(start=True), transport="relay")


def test_record_starts_webrtc_with_its_offer():
    context = {"session": {"start": True}, "transport": "webrtc", "offer": {"type": "offer", "sdp": "v=0"}}
    assert parse_command({"name": "record", "context": context}) == Record(
        session=Session(start=True), transport="webrtc", offer=Offer(type="offer", sdp="v=0")
    )


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"session": {}},
        {"session": {"start": True, "stop": True}},
        {"session": {"stop": True}, "key": True},
        {"session": {"start": True}, "transport": "webrtc"},
        {"session": {"start": True}, "transport": "carrier pigeon"},
        {"session": {"start": True}, "offer": {"type": "answer", "sdp": "v=0"}},
        {"session": {"start": "perhaps"}},
        {"session": True},
    ],
)
def test_record_that_asks_for_nothing_or_too_much_is_refused(context):
    with pytest.raises(InvalidInput):
        parse_command({"name": "record", "context": context})


# -- the stream


def test_two_commands_in_one_read_are_two_commands():
    assert read(b'{"name":"health"}{"name":"configuration"}') == [Health(), Configuration()]


def test_separators_between_commands_are_allowed():
    assert read(HEALTH + b"\r\n\t " + HEALTH + b"\n") == [Health(), Health()]


def test_a_command_may_be_cut_at_every_byte():
    other = r'"ü\u00fc\"{ \\","n":[-1.5e+3,true,null]'.encode()
    raw = b'{"name":"capture_image","context":{"file_name":"a.jpg","other":' + other + b"}}"
    assert read(*[raw[i : i + 1] for i in range(len(raw))]) == [CaptureImage(file_name=FileName("a.jpg"))]


def test_garbage_between_commands_is_told_once_and_skipped():
    found = read(HEALTH + b"\x00\x00noise]],\xff" + HEALTH)
    assert [type(item) for item in found] == [Health, Rejected, Health]
    assert found[1].reason == "is not a JSON object"


@pytest.mark.parametrize(
    "torn",
    [
        b"{",
        b'{"name":"hea',
        b'{"name":"health"',
        b'{"name":"health",',
        b'{"name":',
        b'{"name":"capture_image","context":{"file_name":"\xc3',
        b'{"name":"x\\',
        b'{"name":"x\\u00',
        b'{"name":tru',
        b'{"name":-',
        b'{"a":[1,',
        b'{"a":{"b":"c',
    ],
)
def test_a_command_after_a_torn_one_is_served_at_once_or_when_the_torn_one_expires(torn):
    stream = CommandStream()
    found = stream.feed(torn) + stream.feed(HEALTH) + stream.expire()
    assert isinstance(found[0], Rejected)
    assert found[-1] == Health()
    assert stream.pending == 0


@pytest.mark.parametrize("torn", [b'{"name":"hea', b'{"name":"health"', b"{", b'{"name":"health",', b'{"a":[1,2'])
def test_a_torn_command_is_given_up_by_the_bytes_that_contradict_it(torn):
    assert read(torn, HEALTH)[-1] == Health()


def test_a_command_swallowed_by_a_torn_one_comes_to_light_when_that_expires():
    stream = CommandStream()
    assert stream.feed(b'{"name":"x","context":' + HEALTH) == []
    assert stream.pending == 22 + len(HEALTH)
    assert [type(found) for found in stream.expire()] == [Rejected, Health]


def test_nothing_is_pending_after_expiry_however_many_pieces_were_open():
    stream = CommandStream()
    stream.feed(b'{"a":{"b":{"c":{"d":')
    assert len(stream.expire()) == 1
    assert stream.pending == 0
    assert stream.feed(HEALTH) == [Health()]


@pytest.mark.parametrize(
    "broken",
    [
        b"{1}",
        b'{"a" 1}',
        b'{"a":}',
        b'{"a":1,}',
        b'{"a":[1,]}',
        b'{"a":[}',
        b'{"a":1]',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":1.}',
        b'{"a":nul}',
        b'{"a":NaN}',
        b'{"a":"\n"}',
        b'{"a":"\\x"}',
        b'{"a":"\\u00g0"}',
        b'{"a":"b"c}',
        b'{"a":1 2}',
        b"{,}",
        b"{:}",
        b'{"a":' + b"1" * 65 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"name":"health","context":{"duration":1e999}}',
    ],
)
def test_what_is_not_json_is_rejected_and_the_next_command_served(broken):
    found = read(broken + HEALTH)
    assert [type(item) for item in found] == [Rejected, Health]
    assert "is not valid JSON" in found[0].reason


def test_a_command_with_the_largest_content_is_taken_and_a_larger_one_is_not():
    fill = COMMAND_MAX - len(b'{"name":"health","x":""}')
    assert read(b'{"name":"health","x":"' + b"y" * fill + b'"}') == [Health()]
    found = read(b'{"name":"health","x":"' + b"y" * (fill + 1) + b'"}' + HEALTH)
    assert [type(item) for item in found] == [Rejected, Health]
    assert found[0].reason == "is longer than 128000 bytes"


def test_nesting_is_bounded():
    inner = DEPTH_MAX - 1
    assert read(b'{"name":"health","x":' + b"[" * inner + b"]" * inner + b"}") == [Health()]
    found = read(b'{"name":"health","x":' + b"[" * (inner + 1) + b"]" * (inner + 1) + b"}" + HEALTH)
    assert [type(item) for item in found] == [Rejected, Health]
    assert found[0].reason == f"is nested deeper than {DEPTH_MAX}"


def test_each_refused_command_is_told():
    found = read(b'{"name":"a"}{"name":"b"}{}')
    assert [type(item) for item in found] == [Rejected] * 3


def test_the_pieces_of_a_broken_command_are_not_told_one_by_one():
    found = read(
        b'{"name":"x","context":{"connection":{"id":"a"}},"list":[{"a":1},{"a":2},{"name":"combine_end"}] oops'
    )
    # The one that has a name is told, and so is what lies behind it.
    assert [item.reason.split(":")[0] for item in found] == ["is not valid JSON", "name", "is not a JSON object"]


def test_a_sample_is_short_and_safe_to_print():
    found = one_rejection('{"name":"\x7f\u202e"}'.encode() + b"\x1b[2J" * 0 + b"")
    assert found.sample.isprintable()
    assert found.sample.isascii()
    assert len(one_rejection(b'{"name":"' + b"\xe2" * 500 + b'"}').sample) <= 160


# -- properties

PIECES = st.one_of(
    st.sampled_from([HEALTH, b'{"name":"configuration"}', command("capture_video", duration=5)]),
    st.sampled_from([b'{"name":"x"}', b"{}", b" ", b"\n", b'{"a":{"b":[{"c":"{"}]}}', '{"name":"é"}'.encode()]),
    st.sampled_from(
        [b"{", b"}", b'"', b"[", b"]", b",", b":", b"\\", b"1", b"-", b"tru", b"\xc3", b'{"', b'":"', b'{"a":']
    ),
    st.binary(max_size=6),
    st.integers(1, 40).map(lambda cut: command("capture_image", file_name="a.jpg")[:cut]),
)
STREAMS = st.lists(PIECES, max_size=14).map(b"".join)


def reasons(found: list) -> list:
    # A sample may be shorter where less had arrived.
    return [item.reason if isinstance(item, Rejected) else item for item in found]


@given(data=STREAMS, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_the_outcome_does_not_depend_on_how_the_bytes_are_cut(data, cuts):
    whole, torn = CommandStream(), CommandStream()
    expected = whole.feed(data)
    edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    found = [item for start, end in zip(edges, edges[1:]) for item in torn.feed(data[start:end])]
    assert reasons(found) == reasons(expected)
    assert torn.pending == whole.pending
    assert reasons(torn.expire()) == reasons(whole.expire())


@given(data=STREAMS)
def test_nothing_makes_the_stream_deaf(data):
    stream = CommandStream()
    stream.feed(data)
    stream.expire()
    assert stream.pending == 0
    assert stream.feed(HEALTH) == [Health()]


@given(data=STREAMS)
def test_a_command_after_anything_is_found_at_the_latest_when_it_expires(data):
    stream = CommandStream()
    found = stream.feed(data + b"\x00" + HEALTH) + stream.expire()
    assert found[-1] == Health()


@given(
    documents=st.lists(st.sampled_from([HEALTH, b'{"name":"configuration"}']), max_size=8),
    spaces=st.text(" \n", max_size=2),
)
def test_valid_commands_all_arrive_in_order(documents, spaces):
    found = read(spaces.encode().join(documents))
    assert [name_of(item).encode() in document for item, document in zip(found, documents)] == [True] * len(documents)
    assert len(found) == len(documents)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
).filter(lambda value: depth(value) < DEPTH_MAX)


def depth(value: object) -> int:
    if isinstance(value, (list, dict)):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max((depth(item) for item in inner), default=0)
    return 0


@given(extra=JSON, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_whatever_json_a_command_carries_beside_it_is_accepted(extra, ascii_only, indent):
    raw = json.dumps({"name": "health", "extra": extra}, ensure_ascii=ascii_only, indent=indent)
    try:
        encoded = raw.encode()
    except UnicodeEncodeError:
        return
    assert read(encoded + HEALTH) == [Health(), Health()]


@given(context=JSON, name=st.sampled_from([*COMMANDS, "combine_end"]))
def test_whatever_a_context_holds_is_a_command_or_a_rejection(context, name):
    (found,) = read(json.dumps({"name": name, "context": context}).encode("utf-8", "replace"))
    assert isinstance(found, (Rejected, *COMMANDS.values()))


# -- cost

HOSTILE = {
    "braces": b"{" * 60_000,
    "objects that never end": b'{"a":' * 20_000,
    "depth, with much between": (b'{"a":"' + b"x" * 3_000 + b'","b":') * 40,
    "lists of objects in what breaks at the end": b'{"a":[' + b'{"a":1},' * 20_000 + b"!",
    "strings that read as JSON from within": b'{"{":["' + b'{",":",",":",' * 10_000,
    "escapes": b'{"a":"' + b"\\u0041" * 30_000,
    "one endless string": b'{"a":"' + b"{" * 300_000,
    "numbers": b'{"a":[' + b"1," * 60_000,
    "quotes and braces": b'{"' * 50_000,
    "spaces": b"{" + b" " * 200_000,
}


@pytest.mark.no_cover
@pytest.mark.parametrize("size", [1, 700, 10**9], ids=["byte by byte", "in pieces", "at once"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_input_costs_a_bounded_number_of_looks_at_each_byte(kind, size):
    data = HOSTILE[kind]
    if size == 1:
        data = data[:20_000]
    stream = CommandStream()
    for start in range(0, len(data), size):
        stream.feed(data[start : start + size])
        assert stream.pending <= COMMAND_MAX
    stream.expire()
    assert stream.bytes_read <= 2 * (DEPTH_MAX + 1) * len(data)
    assert stream.feed(HEALTH)[-1] == Health()


@given(data=STREAMS)
def test_no_input_costs_more_than_the_bound(data):
    stream = CommandStream()
    stream.feed(data)
    stream.expire()
    assert stream.bytes_read <= 2 * (DEPTH_MAX + 1) * len(data)
