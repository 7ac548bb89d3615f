"""How much of each minute was motion, for the timeline.

The time may not be known yet, so motion is kept as intervals of the monotonic clock and cut into minutes of the epoch
when it is told; a minute is told once it has ended.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Optional

from pinthesky.device.timekeeping import TimeKeeper
from pinthesky.model.events import MotionActivity

EVERY_S = 300.0
_KEPT_S = 86_400.0
_INTERVALS_MAX = 4096


class ActivityLog:
    """Collects when motion began and ended, and tells the density of the minutes since it was last asked.

    `began` and `ended` come from the camera's thread, `collect` from any other. Seconds are of CLOCK_BOOTTIME. What
    could not be told for a day, because the time was not known, is forgotten.
    """

    def __init__(self, time_keeper: TimeKeeper, *, thing_name: str) -> None:
        self._time_keeper = time_keeper
        self._thing_name = thing_name
        self._lock = threading.Lock()
        self._past: deque[tuple[float, float]] = deque(maxlen=_INTERVALS_MAX)
        self._since_s: Optional[float] = None
        self._collected_s = time_keeper.now().monotonic_s

    def began(self, monotonic_s: float) -> None:
        """Note that motion began. Says nothing new while there is motion already."""
        with self._lock:
            if self._since_s is None:
                self._since_s = monotonic_s

    def ended(self, monotonic_s: float) -> None:
        """Note that motion ended."""
        with self._lock:
            if self._since_s is not None and monotonic_s > self._since_s:
                self._past.append((self._since_s, monotonic_s))
            self._since_s = None

    def due_in(self) -> float:
        """Return the seconds until `collect` is due, 0.0 when it is."""
        return max(0.0, self._collected_s + EVERY_S - self._time_keeper.now().monotonic_s)

    def collect(self) -> Optional[MotionActivity]:
        """Tell the minutes with motion that have ended; None when there are none or the time is not known yet."""
        now = self._time_keeper.now()
        self._collected_s = now.monotonic_s
        with self._lock:
            self._forget_before(now.monotonic_s - _KEPT_S)
            if now.wall_s is None:
                return None
            anchor_s = now.wall_s - now.monotonic_s
            # The present minute is not over: what belongs to it stays for the next time.
            until_s = math.floor(now.wall_s / 60) * 60 - anchor_s
            seconds = _seconds_by_minute(self._take_until(until_s), anchor_s)
        # A hundredth of a second may be the rounding of a cut; any real motion is at least 1 %.
        shares = [(minute, share) for minute, share in sorted(seconds.items()) if share > 0.01]
        if not shares:
            return None
        minutes = [[minute, min(100, max(1, round(share / 0.6)))] for minute, share in shares]
        return MotionActivity(thing_name=self._thing_name, timestamp=now.wall_s, minutes=minutes)

    def _forget_before(self, oldest_s: float) -> None:
        while self._past and self._past[0][1] < oldest_s:
            self._past.popleft()
        if self._since_s is not None:
            self._since_s = max(self._since_s, oldest_s)

    def _take_until(self, until_s: float) -> list[tuple[float, float]]:
        """Take what lies before `until_s`, cutting what reaches beyond it."""
        taken, kept = [], []
        for start_s, end_s in self._past:
            if start_s < until_s:
                taken.append((start_s, min(end_s, until_s)))
            if end_s > until_s:
                kept.append((max(start_s, until_s), end_s))
        self._past.clear()
        self._past.extend(kept)
        if self._since_s is not None and self._since_s < until_s:
            taken.append((self._since_s, until_s))
            self._since_s = until_s
        return taken


def _seconds_by_minute(intervals: list[tuple[float, float]], anchor_s: float) -> dict[int, float]:
    """Return for each epoch minute how many of its seconds lie in the intervals."""
    seconds: dict[int, float] = {}
    for start_s, end_s in intervals:
        at_s, until_s = start_s + anchor_s, end_s + anchor_s
        minute = math.floor(at_s / 60)
        while minute * 60 < until_s:
            share = min(until_s, minute * 60 + 60) - max(at_s, minute * 60)
            seconds[minute] = seconds.get(minute, 0.0) + share
            minute += 1
    return seconds
