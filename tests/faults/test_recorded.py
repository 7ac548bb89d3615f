"""The judge of the kill tests is worth what it finds: gaps and doubles that are there, and none that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import recorded
from tests.faults.recorded import Span, longest_gap_s, stored_once

EPOCH_S, PER_S = 1000.0, 10.0


def gap_s(stored: list[int], *excused: Span) -> float:
    return longest_gap_s(stored, Span(1000.0, 1010.0), epoch_s=EPOCH_S, pictures_per_s=PER_S, excused=excused)


def test_nothing_is_missing_where_everything_is_stored() -> None:
    assert gap_s(list(range(100))) == 0.0


def test_a_gap_is_as_long_as_the_pictures_that_are_missing() -> None:
    assert gap_s([*range(40), *range(55, 100)]) == pytest.approx(1.5)


def test_the_longest_gap_counts_and_not_their_sum() -> None:
    assert gap_s([*range(20), *range(30, 50), *range(62, 100)]) == pytest.approx(1.2)


def test_time_in_which_nothing_could_record_is_no_gap() -> None:
    assert gap_s([*range(40), *range(55, 100)], Span(1004.0, 1005.5)) == 0.0


def test_what_reaches_beyond_that_time_is_one() -> None:
    assert gap_s([*range(30), *range(55, 100)], Span(1004.0, 1005.5)) == pytest.approx(1.0)


def test_nothing_stored_at_all_is_one_long_gap() -> None:
    assert gap_s([]) == pytest.approx(9.9, abs=0.2)


def test_a_number_in_two_clips_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = {"one": [1, 2, 3], "other": [3, 4]}
    monkeypatch.setattr(recorded, "numbers_of", lambda path: clips[path.name])
    with pytest.raises(AssertionError, match=r"stored twice: \[3\]"):
        stored_once([Path("one"), Path("other")])
