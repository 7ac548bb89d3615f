"""Timestamps that rise, made from those of a stream or, where it has none that can be used, from arrival times."""

from __future__ import annotations

from typing import Optional

LUMA_FRAMES_PER_S = 10
_JUMP_US = 5_000_000
_JITTER_US = 20_000
"""A picture this much early is still the one that is due: ten pictures a second that tremble are all taken."""


class Timeline:
    """Maps a source's timestamps to µs that always rise.

    A source's clock may start anywhere, may be missing at first, and may be set while it runs. As long as it goes on as
    arrival does, to within five seconds from one picture to the next, its distances are kept to the digit; a jump
    is replaced by the time that passed between the arrivals.
    """

    def __init__(self, frame_us: int) -> None:
        """`frame_us` is the time between two pictures, as far as it is known."""
        self.last_us: Optional[int] = None
        self._frame_us = frame_us
        self._source_us: Optional[int] = None
        self._arrival_us = 0

    def next(self, source_us: Optional[int], arrival_us: int) -> int:
        """The timestamp of the picture that carries `source_us` and came at `arrival_us` of a monotonic clock."""
        elapsed_us = arrival_us - self._arrival_us
        if self.last_us is None:
            timestamp_us = arrival_us if source_us is None else source_us
        elif source_us is None:
            timestamp_us = self.last_us + elapsed_us
        elif self._source_us is None:
            # What came before the source knew its time was read ahead, so it arrived at once.
            timestamp_us = self.last_us + max(elapsed_us, self._frame_us)
        else:
            step_us = source_us - self._source_us
            follows = step_us > 0 and abs(step_us - elapsed_us) <= _JUMP_US
            timestamp_us = self.last_us + (step_us if follows else elapsed_us)
        if self.last_us is not None:
            timestamp_us = max(timestamp_us, self.last_us + 1)
        self.last_us, self._source_us, self._arrival_us = timestamp_us, source_us, arrival_us
        return timestamp_us


class LumaRate:
    """Chooses the pictures of which luma frames are made: all, or an even selection of at most ten in a second."""

    def __init__(self) -> None:
        self._due_us: Optional[int] = None

    def takes(self, timestamp_us: int) -> bool:
        """Whether the picture at `timestamp_us` is one of them."""
        interval_us = 1_000_000 // LUMA_FRAMES_PER_S
        if self._due_us is None or timestamp_us > self._due_us + interval_us:
            self._due_us = timestamp_us + interval_us
            return True
        if timestamp_us < self._due_us - _JITTER_US:
            return False
        self._due_us += interval_us
        return True
