"""By which addresses a browser reaches this hub: nothing else may be named as the place where somebody signs in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from pinthesky.hub.host_names import ALWAYS, own_names

LOOK_EVERY_S = 60.0
ORIGIN_MAX = 300


class Origins:
    """The hub's own names, learnt anew when an unknown one is asked for. Thread-safe."""

    def __init__(
        self,
        further: Iterable[str] = (),
        *,
        names: Callable[[Iterable[str]], list[str]] = own_names,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`further` are the names that the owner has given."""
        self._further = tuple(further)
        self._names = names
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._looked_at: float | None = None

    def has(self, origin: str) -> bool:
        """Whether `scheme://host[:port]` is an address of this hub. Plain HTTP only on this machine itself.

        The port is not looked at: a reverse proxy may have another one.
        """
        if len(origin) > ORIGIN_MAX:
            return False
        try:
            parts = urlsplit(origin)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return False
        shown = f"[{host}]" if ":" in host else host
        if origin.lower() != f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}":
            return False
        if parts.scheme == "http":
            return host in ALWAYS
        return parts.scheme == "https" and self._is_own(host)

    def _is_own(self, host: str) -> bool:
        with self._lock:
            now = self._monotonic_s()
            looked = self._looked_at
            if host not in self._known and (looked is None or now - looked >= LOOK_EVERY_S):
                self._known = frozenset(name.lower() for name in self._names(self._further))
                self._looked_at = now
            return host in self._known
