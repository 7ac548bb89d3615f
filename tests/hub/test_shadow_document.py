from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import Conflict, InvalidInput
from pinthesky.hub import shadow_document
from pinthesky.hub.shadow_document import Shadow, TooLarge, Update, apply, decode, encode, parse_update
from pinthesky.model.shadow import STATE_MAX

scalars = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
keys = st.sampled_from("abcd")
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
sections = st.dictionaries(keys, values | st.none() | st.dictionaries(keys, values | st.none(), max_size=3), max_size=4)
updates = st.builds(
    Update, st.none() | st.dictionaries(st.sampled_from(["desired", "reported"]), st.none() | sections, max_size=2)
)


def stamped(value: Any) -> Any:
    """The shape that the metadata of a value has, without the times."""
    if isinstance(value, dict):
        return {key: stamped(inner) for key, inner in value.items()}
    return [stamped(inner) for inner in value] if isinstance(value, list) else "stamp"


def without_times(metadata: Any) -> Any:
    if isinstance(metadata, list):
        return [without_times(inner) for inner in metadata]
    if set(metadata) == {"timestamp"} and isinstance(metadata["timestamp"], int):
        return "stamp"
    return {key: without_times(inner) for key, inner in metadata.items()}


def merged(state: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """JSON merge patch (RFC 7396), which is what an update of a section is."""
    result = dict(state)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = merged(old if isinstance(old, dict) else {}, value)
        else:
            result[key] = value
    return result


@given(st.lists(updates, max_size=6))
def test_updates_are_merge_patches_with_metadata_for_every_value(history: list[Update]):
    shadow = Shadow()
    expected: dict[str, Any] = {}
    for number, update in enumerate(history, start=1):
        shadow = apply(shadow, update, number)
        if update.state is None:
            expected = {}
        for name, change in (update.state or {}).items():
            expected[name] = {} if change is None else merged(expected.get(name, {}), change)
        expected = {name: section for name, section in expected.items() if section}
        assert shadow.version == number
        assert shadow.state == expected
        assert without_times(shadow.metadata) == stamped(expected)


@given(sections, sections)
def test_reporting_the_delta_ends_it(desired: dict[str, Any], reported: dict[str, Any]):
    shadow = apply(Shadow(), Update({"desired": desired, "reported": reported}), 1)
    assert without_times(shadow_document.delta_metadata(shadow)) == stamped(shadow.delta)
    after = apply(shadow, Update({"reported": shadow.delta}), 2)
    # an object that is desired in place of one with more in it is merged into that one, and adds nothing
    assert after.delta == {}


@given(updates)
def test_an_update_leaves_the_shadow_before_it_as_it_was(update: Update):
    before = apply(Shadow(), Update({"desired": {"a": {"b": 1}, "c": [1]}, "reported": {"a": {"b": 2}}}), 1)
    copy = json.loads(encode(before.document()))
    apply(before, update, 2)
    assert before.document() == copy


@given(values)
def test_what_is_encoded_is_decoded_the_same(value: Any):
    try:
        raw = encode(value)
    except UnicodeEncodeError:
        return
    assert decode(raw) == value


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1e999}', b'"\\ud800"', b"\xff", b"[" * 5000, b"9" * 5000],
    ids=lambda payload: str(payload[:14]),
)
def test_what_is_no_json_is_refused(payload: bytes):
    with pytest.raises(InvalidInput, match="Invalid JSON"):
        decode(payload)


def test_a_message_over_128_kilobytes_is_refused():
    with pytest.raises(TooLarge, match="exceeds the maximum size allowed"):
        decode(b" " * (128 * 1024 + 1))


@pytest.mark.parametrize(
    "document, message",
    [
        (5, "Missing required node: state"),
        ({"clientToken": "t"}, "Missing required node: state"),
        ({"state": 5}, "State node must be an object"),
        ({"state": {"desired": 5}}, "Desired node must be an object"),
        ({"state": {"reported": []}}, "Reported node must be an object"),
        ({"state": {"delta": {}}}, "State contains an invalid node"),
        ({"state": {"desired": {"a": [{"b": None}]}}}, "State contains an invalid node"),
        ({"state": {}, "version": True}, "Invalid version"),
        ({"state": {}, "version": -1}, "Invalid version"),
        ({"state": {}, "version": 1.5}, "Invalid version"),
        ({"state": {}, "clientToken": 5}, "Invalid clientToken"),
        ({"state": {}, "clientToken": "ü" * 33}, "Invalid clientToken"),
        (
            {"state": {"desired": {"a": [[[[[[[[]]]]]]]]}}},
            "JSON contains too many levels of nesting; maximum is 8",
        ),
    ],
)
def test_a_refusal_has_the_words_of_aws(document: Any, message: str):
    with pytest.raises(InvalidInput) as refused:
        parse_update(document)
    assert refused.value.reason == message


def test_a_request_alone_may_not_be_over_the_bound_of_a_shadow():
    with pytest.raises(TooLarge):
        parse_update({"state": {"desired": {f"{number:03}": None for number in range(1000)}}})


def test_the_bound_is_on_desired_and_reported_together_and_not_on_metadata():
    shadow = apply(Shadow(), Update({"desired": {"a": [1] * 1000}}), 1)
    room = STATE_MAX - len(encode({**shadow.state, "reported": {"a": ""}}))
    assert len(encode(shadow.metadata)) > STATE_MAX
    assert apply(shadow, Update({"reported": {"a": "x" * room}}), 2).version == 2
    with pytest.raises(TooLarge):
        apply(shadow, Update({"reported": {"a": "x" * (room + 1)}}), 2)


def test_another_version_than_asked_for_is_a_conflict():
    with pytest.raises(Conflict, match="Version conflict"):
        apply(Shadow(version=3), Update({}, version=2), 1)


def test_one_and_one_point_nought_are_the_same_number():
    shadow = apply(Shadow(), Update({"desired": {"a": 1, "b": [1.0]}, "reported": {"a": 1.0, "b": [1]}}), 1)
    assert shadow.delta == {}


def test_a_whole_number_that_no_double_can_hold_differs_from_its_neighbour():
    shadow = apply(Shadow(), Update({"desired": {"a": 2**53 + 1}, "reported": {"a": 2**53}}), 1)
    assert shadow.delta == {"a": 2**53 + 1}
