"""What a run of the daemon recorded, judged by the numbers in the pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.picture_numbers import numbers_in_clip


class Span(NamedTuple):
    """From one monotonic second to another."""

    begin_s: float
    end_s: float


def say(text: str) -> None:
    """A line for who reads the test's output: figures, and seeds to run the same again."""
    sys.stdout.write(text + "\n")


def numbers_of(path: Path) -> list[int]:
    """The numbers of a clip, which plays to its end, begins with a picture and leaves none out."""
    read = [number for _, number in numbers_in_clip(path)]
    assert read, f"{path.name} holds no picture"
    numbers = [number for number in read if number is not None]
    assert len(numbers) == len(read), f"{path.name}: {len(read) - len(numbers)} pictures cannot be read"
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"{path.name} leaves pictures out"
    return numbers


def stored_once(clips: Iterable[Path]) -> list[int]:
    """All numbers of all clips in order; fails when one is there twice."""
    found = sorted(number for clip in clips for number in numbers_of(clip))
    twice = sorted({one for one, other in zip(found, found[1:], strict=False) if one == other})
    assert not twice, f"stored twice: {twice[:20]}"
    return found


def longest_gap_s(
    stored: Sequence[int], watched: Span, *, epoch_s: float, pictures_per_s: float, excused: Iterable[Span]
) -> float:
    """Seconds of the longest row of pictures that should be stored and are not.

    Picture n was taken at `epoch_s` + n / `pictures_per_s`; those of `watched` count, without those of `excused`.
    """
    spans = sorted(excused)
    there = set(stored)
    longest = row = 0
    first = int((watched.begin_s - epoch_s) * pictures_per_s) + 1
    for number in range(first, int((watched.end_s - epoch_s) * pictures_per_s)):
        taken_s = epoch_s + number / pictures_per_s
        if number in there or any(span.begin_s <= taken_s <= span.end_s for span in spans):
            row = 0
        else:
            row += 1
            longest = max(longest, row)
    return longest / pictures_per_s
