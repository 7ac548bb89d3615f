"""What was recognised in a clip: the surest of each name, few of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.model.labels import LABELS_MAX, NAME_MAX, LabelTally


def test_the_surest_finding_of_each_name_is_kept_the_surest_first():
    tally = LabelTally()
    for name, confidence in [("dog", 0.5), ("person", 0.71), ("dog", 0.4), ("dog", 0.9), ("person", 0.6)]:
        tally.note(name, confidence)
    assert tally.labels == {"dog": 0.9, "person": 0.71}
    assert list(tally.labels) == ["dog", "person"]


def test_only_what_is_surer_by_something_is_news():
    tally = LabelTally()
    assert tally.note("dog", 0.5)
    assert not tally.note("dog", 0.53)
    assert tally.note("dog", 0.55)
    assert not tally.note("dog", 0.2)


def test_the_least_sure_of_too_many_names_makes_room_for_a_surer_one():
    tally = LabelTally()
    for number in range(LABELS_MAX):
        tally.note(f"thing {number}", 0.5 + number / 20)
    assert not tally.note("late", 0.51)
    assert tally.note("late", 0.6)
    assert len(tally.labels) == LABELS_MAX
    assert "thing 0" not in tally.labels


@pytest.mark.parametrize(
    "name, kept",
    [("traffic light", "traffic light"), ("a=b,c\n", "a_b_c_"), ("naïve", "na_ve"), ("x" * 99, "x" * NAME_MAX)],
)
def test_names_are_words_that_every_store_takes(name, kept):
    tally = LabelTally()
    assert tally.note(name, 0.5)
    assert list(tally.labels) == [kept]


@pytest.mark.parametrize("name, confidence", [("", 0.5), ("  ", 0.5), ("x", float("nan")), ("x", float("inf"))])
def test_what_says_nothing_is_left_out(name, confidence):
    tally = LabelTally()
    assert not tally.note(name, confidence)
    assert tally.labels == {}


def test_a_confidence_lies_between_nothing_and_certainty():
    tally = LabelTally()
    tally.note("x", 7.0)
    tally.note("y", -1.0)
    assert tally.labels == {"x": 1.0, "y": 0.0}


@given(st.lists(st.tuples(st.text(max_size=3), st.floats(-1, 2)), max_size=400))
def test_there_are_never_many_nor_is_there_often_news(findings):
    tally = LabelTally()
    news = sum(tally.note(name, confidence) for name, confidence in findings)
    assert len(tally.labels) <= LABELS_MAX
    assert news <= LABELS_MAX * 21
    assert list(tally.labels.values()) == sorted(tally.labels.values(), reverse=True)
