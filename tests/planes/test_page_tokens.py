"""Tokens of pages."""

from __future__ import annotations

import base64

import hypothesis
import pytest
from hypothesis import strategies

from pinthesky.errors import InvalidInput
from pinthesky.planes.page_tokens import PageTokens
from pinthesky.planes.table import Key, Position

TOKENS = PageTokens(b"a secret of the home")
PLACE = Position(Key("clip#garden", "0001"), Key("clips", "1800000000"))


@hypothesis.given(
    strategies.text(min_size=1, max_size=60), strategies.text(min_size=1, max_size=60), strategies.booleans()
)
def test_a_position_comes_back_as_it_was(partition, sort, indexed):
    position = Position(Key(partition, sort), Key(sort, partition) if indexed else None)
    token = TOKENS.seal(position, "videos")
    assert token is not None
    assert TOKENS.open(token, "videos") == position


def test_the_end_of_a_list_has_no_token_and_its_beginning_needs_none():
    assert TOKENS.seal(None, "videos") is None
    assert TOKENS.open(None, "videos") is None


def test_a_token_of_another_list_or_another_home_is_refused():
    token = TOKENS.seal(PLACE, "videos camera=garden")
    for tokens, query in ((TOKENS, "videos camera=hall"), (PageTokens(b"another home"), "videos camera=garden")):
        with pytest.raises(InvalidInput, match="nextToken: is not one that this list has given"):
            tokens.open(token, query)


def test_any_changed_byte_is_refused():
    token = TOKENS.seal(PLACE, "videos")
    assert token is not None
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for place in range(len(raw)):
        changed = bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]])
        with pytest.raises(InvalidInput):
            TOKENS.open(base64.urlsafe_b64encode(changed).decode().rstrip("="), "videos")


@hypothesis.given(strategies.text(max_size=200))
def test_whatever_else_is_refused(text):
    with pytest.raises(InvalidInput):
        TOKENS.open(text, "videos")


def test_a_token_without_end_is_refused_unread():
    with pytest.raises(InvalidInput):
        TOKENS.open("A" * 1_000_000, "videos")
