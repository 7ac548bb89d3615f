"""Token buckets by name: how often somebody may try something."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

NAMES_MAX = 10_000


class RateLimit:
    """At most `burst` at once, and `burst` more in each `window_s` after that, for each name. Thread-safe."""

    def __init__(self, burst: int, window_s: float, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._burst = float(burst)
        self._per_s = burst / window_s
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, name: str) -> bool:
        """Whether `name` may go on now; counts it if so. The names that were heard of longest ago are forgotten."""
        now = self._monotonic_s()
        with self._lock:
            left, since = self._left.pop(name, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._per_s)
            allowed = left >= 1.0
            self._left[name] = (left - 1.0 if allowed else left, now)
            if len(self._left) > NAMES_MAX:
                self._left.popitem(last=False)
        return allowed

    def give_back(self, name: str) -> None:
        """Count one less of `name`: what it was allowed has turned out to be none of what is limited."""
        with self._lock:
            if name in self._left:
                left, since = self._left[name]
                self._left[name] = (min(self._burst, left + 1.0), since)
