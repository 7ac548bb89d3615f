"""Names of the files in the event queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.model.event_queue import SEQUENCE_MAX, EventFile, parse_event_file

FILES = st.builds(
    EventFile,
    st.booleans(),
    st.integers(0, SEQUENCE_MAX),
    st.text("0123456789abcdef", min_size=8, max_size=8),
    st.booleans(),
)


@given(FILES)
def test_a_name_says_all_that_it_was_made_of(file: EventFile) -> None:
    assert parse_event_file(file.name) == file


@given(FILES, FILES)
def test_names_are_in_the_order_of_publishing(one: EventFile, other: EventFile) -> None:
    order = [(not file.urgent, file.sequence) for file in (one, other)]
    if order[0] != order[1]:
        assert (one.name < other.name) == (order[0] < order[1])


@pytest.mark.parametrize("name", ["", "x", ".0-1.json", "0-1-a.json", "2-0000000000000001-00000000.json", "0-/../x"])
def test_other_names_are_none(name: str) -> None:
    assert parse_event_file(name) is None
