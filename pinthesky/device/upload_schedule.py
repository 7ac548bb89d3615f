"""Which waiting item is tried when: the uploader's memory of what failed, without threads, network or disk.

The rules:

- Newest first among items that may be tried.
- An item that failed goes behind all that have not failed since the store last took something, so no item keeps the
  others from being tried.
- When the store cannot be reached, or refuses by policy, the whole lane waits and then probes with one item at a time:
  1, 2, 4 … seconds, at most `UNAVAILABLE_MAX_S` or `DENIED_MAX_S`, with jitter. One success ends that.
- An item that failed while others went through earns a strike; from its second strike on it waits for itself alone.
- An item that the store refuses for what it is waits for itself alone, for long.

Nothing here ever gives an item up.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Collection, Sequence
from typing import Callable, NamedTuple, Optional

UNAVAILABLE_MAX_S = 60.0
DENIED_MAX_S = 900.0
STRIKE_FIRST_S = 30.0
STRIKE_MAX_S = 900.0
REFUSED_FIRST_S = 600.0
REFUSED_MAX_S = 6 * 3600.0


class Lane(enum.Enum):
    """Items of one lane go up one after the other; the lanes do not wait for each other."""

    IMAGES = "pictures"
    CLIPS = "clips"


class Trouble(enum.Enum):
    """Why a lane waits."""

    UNAVAILABLE = "unavailable"
    DENIED = "denied"


class Choice(NamedTuple):
    """The item to try now, or None and the seconds until there may be one (None: when something new arrives)."""

    name: Optional[str]
    wait_s: Optional[float] = None


class _Lane:
    def __init__(self) -> None:
        self.trouble: Optional[Trouble] = None
        self.failures = 0
        self.not_before = 0.0


class _Item:
    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.strikes = 0
        self.refusals = 0
        self.not_before = 0.0
        self.failed_as = 0
        """Serial number of the last failure since something went through, or 0."""


class UploadSchedule:
    """Not thread-safe: the uploader holds its lock. Times are seconds of the monotonic clock."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter` gives numbers in [0, 1)."""
        self._jitter = jitter
        self._lanes = {lane: _Lane() for lane in Lane}
        self._items: dict[str, _Item] = {}
        self._serial = itertools.count(1)

    def choose(self, lane: Lane, names: Sequence[str], now: float) -> Choice:
        """Pick from the lane's waiting items, which come newest first."""
        state = self._lanes[lane]
        if not names:
            return Choice(None)
        if now < state.not_before:
            return Choice(None, state.not_before - now)
        best: Optional[str] = None
        best_failed_as = 0
        earliest: Optional[float] = None
        for name in names:
            item = self._items.get(name)
            if item is None:
                return Choice(name)
            if now < item.not_before:
                earliest = item.not_before if earliest is None else min(earliest, item.not_before)
            elif best is None or item.failed_as < best_failed_as:
                best, best_failed_as = name, item.failed_as
        if best is not None:
            return Choice(best)
        return Choice(None, None if earliest is None else earliest - now)

    def stored(self, lane: Lane, name: str, now: float) -> Optional[Trouble]:
        """The store took the item. Returns the trouble that this ends for the lane."""
        self._items.pop(name, None)
        ended = self._lanes[lane].trouble
        for other, state in self._lanes.items():
            # What one lane is denied by policy, another may be allowed: its success says nothing about that.
            if other is not lane and state.trouble is not Trouble.UNAVAILABLE:
                continue
            state.trouble, state.failures, state.not_before = None, 0, 0.0
            for item in self._items.values():
                if item.lane is other and item.failed_as:
                    self._strike(item, now)
        return ended

    def failed(self, lane: Lane, name: str, trouble: Trouble, *, now: float) -> bool:
        """The attempt failed for a reason that is not the item's own. True when the lane had no such trouble before."""
        self._item(lane, name).failed_as = next(self._serial)
        state = self._lanes[lane]
        is_new = state.trouble is not trouble
        state.trouble = trouble
        state.failures += 1
        longest = DENIED_MAX_S if trouble is Trouble.DENIED else UNAVAILABLE_MAX_S
        state.not_before = now + self._backoff(1.0, state.failures, longest)
        return is_new

    def refused(self, lane: Lane, name: str, now: float) -> int:
        """The store refuses this very object. Returns how often it did."""
        item = self._item(lane, name)
        item.refusals += 1
        item.failed_as = 0
        item.not_before = now + self._backoff(REFUSED_FIRST_S, item.refusals, REFUSED_MAX_S)
        return item.refusals

    def nudge(self) -> None:
        """Something says that the network is back: try at once. Policy does not change by that."""
        for state in self._lanes.values():
            if state.trouble is Trouble.UNAVAILABLE:
                state.not_before = 0.0

    def start_afresh(self) -> None:
        """Another destination: what the last one refused means nothing for it."""
        self._items.clear()
        for state in self._lanes.values():
            state.trouble, state.failures, state.not_before = None, 0, 0.0

    def forget_all_but(self, names: Collection[str]) -> None:
        """Forget items that no longer wait."""
        for name in [name for name in self._items if name not in names]:
            del self._items[name]

    @property
    def refused_items(self) -> int:
        """Items that the store refuses for what they are."""
        return sum(1 for item in self._items.values() if item.refusals)

    def trouble_of(self, lane: Lane) -> Optional[Trouble]:
        """Why the lane waits."""
        return self._lanes[lane].trouble

    def _item(self, lane: Lane, name: str) -> _Item:
        return self._items.setdefault(name, _Item(lane))

    def _strike(self, item: _Item, now: float) -> None:
        item.failed_as = 0
        item.strikes += 1
        # The first may have been the network's fault, and is free.
        if item.strikes > 1:
            item.not_before = now + self._backoff(STRIKE_FIRST_S, item.strikes - 1, STRIKE_MAX_S)

    def _backoff(self, first_s: float, count: int, longest_s: float) -> float:
        delay_s = min(longest_s, first_s * 2.0 ** min(count - 1, 20))
        return delay_s * (0.5 + 0.5 * self._jitter())
