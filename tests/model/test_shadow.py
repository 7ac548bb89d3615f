"""Shadow documents: what they say, what they leave unsaid, and what is no document."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput
from pinthesky.model.shadow import DOCUMENT_MAX, ShadowDocument, canonical, fingerprint, parse_document

DESIRED = {"camera": {"framerate": 30}}


def documents(**state: object) -> bytes:
    return json.dumps(
        {"previous": {"state": {"desired": {"old": 1}}}, "current": {"state": state, "version": 4}}
    ).encode()


def test_the_current_state_of_a_documents_message_counts():
    found = parse_document(documents(desired=DESIRED, reported={"camera": {}}))
    assert found == ShadowDocument(desired=DESIRED, reported={"camera": {}})


@pytest.mark.parametrize(
    "raw", [documents(), documents(reported={"a": 1}), documents(desired=None), documents(desired={})]
)
def test_a_documents_message_without_desired_says_that_nothing_is_desired(raw):
    assert parse_document(raw).desired == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"previous":{}}',
        b'{"current":{}}',
        b'{"current":null}',
        b'{"current":{"version":3}}',
        b'{"timestamp":1}',
        b'{"state":null}',
    ],
)
def test_a_document_without_a_state_says_nothing(raw):
    assert parse_document(raw) == ShadowDocument()


def test_a_bare_state_counts():
    assert parse_document(json.dumps({"state": {"desired": DESIRED}}).encode()).desired == DESIRED


def test_a_bare_state_without_desired_says_nothing_of_it():
    assert parse_document(b'{"state":{"reported":{"a":1}}}') == ShadowDocument(reported={"a": 1})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        documents(desired=DESIRED)[:-1],
        documents(desired=DESIRED)[:40],
        b'{"current":[]}',
        b'{"current":{"state":5}}',
        b'{"current":{"state":{"desired":[]}}}',
        b'{"state":{"reported":"x"}}',
        b'{"state":{"desired":{"a":"\xff"}}}',
        b'{"state":{"desired":{"a":1e999}}}',
        b'{"state":{"desired":{"a":' + b"1" * 6000 + b"}}}",
        b'{"state":{"desired":{"a":' + b"[" * 100_000,
        b" " * (DOCUMENT_MAX + 1),
    ],
)
def test_what_is_no_document_is_refused(raw):
    with pytest.raises(InvalidInput):
        parse_document(raw)


@pytest.mark.parametrize("part", ["desired", "reported"])
def test_nesting_is_bounded_as_in_the_cloud(part):
    def nested(levels: int) -> dict:
        return {} if levels == 1 else {"x": nested(levels - 1)}

    assert getattr(parse_document(documents(**{part: nested(8)})), part) == nested(8)
    with pytest.raises(InvalidInput, match=f"shadow.{part}: is nested deeper than 8"):
        parse_document(documents(**{part: {"a": [nested(8)]}}))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
STATES = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        SCALARS, lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text(max_size=3), i, max_size=3), max_leaves=6
    ),
    max_size=5,
)


@given(state=STATES, seed=st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_change_the_fingerprint(state, seed):
    keys = list(state)
    seed.shuffle(keys)
    shuffled = {key: state[key] for key in keys}
    assert fingerprint(shuffled) == fingerprint(state)
    assert len(fingerprint(state)) == 32


@given(one=STATES, other=STATES)
def test_different_states_have_different_fingerprints(one, other):
    if canonical(one) != canonical(other):
        assert fingerprint(one) != fingerprint(other)


def test_whole_numbers_are_exact_beyond_what_a_float_holds():
    assert fingerprint({"a": 2**53}) != fingerprint({"a": 2**53 + 1})
    assert parse_document(documents(desired={"a": 2**60 + 1})).desired == {"a": 2**60 + 1}


@given(raw=st.binary(max_size=60) | STATES.map(lambda state: documents(desired=state)[:-3]))
def test_whatever_the_file_holds_is_a_document_or_invalid_input(raw):
    found = None
    with contextlib.suppress(InvalidInput):
        found = parse_document(raw)
    assert found is None or isinstance(found, ShadowDocument)
