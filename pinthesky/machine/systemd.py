"""The service manager's side: readiness, status and the watchdog, by the protocol of sd_notify(3).

The protocol is one datagram; libraries for it are unmaintained or need libsystemd, so it is spoken here.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Optional

logger = logging.getLogger(__name__)

_STATUS_MAX = 400
FRAMES_LIMIT_S = 15.0
"""Frames may fail to come for this long before the watchdog starves: a stall is noticed by the camera thread after 5 s
and then accounted for by its own reopening."""
BEAT_LIMIT_S = 20.0


class Notifier:
    """Tells the service manager how it goes. Does nothing where there is none; never raises for one that is gone."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address: Optional[str] = None
        if address.startswith("/"):
            self._address = address
        elif address.startswith("@"):
            self._address = "\0" + address[1:]
        elif address:
            logger.warning("NOTIFY_SOCKET=%s is of a kind that is not served", address)
        self.watchdog_every_s = _watchdog_every_s(environ)
        """How often the watchdog wants to be fed (half of what it allows), or None where there is none."""
        self._refused = False

    def ready(self) -> bool:
        """Say that the program does its work."""
        return self._send("READY=1")

    def status(self, text: str) -> bool:
        """Give the line that `systemctl status` shows."""
        return self._send("STATUS=" + " ".join(text.split())[:_STATUS_MAX])

    def stopping(self) -> bool:
        """Say that the stop has begun."""
        return self._send("STOPPING=1")

    def feed_watchdog(self) -> bool:
        """Say that all is well."""
        return self._send("WATCHDOG=1")

    def _send(self, message: str) -> bool:
        """Return whether the service manager has taken the message."""
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(1.0)
                channel.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError as error:
            if not self._refused:
                logger.warning("The service manager does not listen: %s", error)
            self._refused = True
            return False
        self._refused = False
        return True


def _watchdog_every_s(environ: Mapping[str, str]) -> Optional[float]:
    """Half of WATCHDOG_USEC in seconds; None where it is absent, unusable or meant for another process."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(os.getpid()))
    if not (usec.isascii() and usec.isdigit()) or int(usec) == 0 or pid != str(os.getpid()):
        return None
    return int(usec) / 2_000_000


class Watchdog:
    """Feeds the service manager's watchdog only while every thread beats and frames keep arriving.

    `beats` gives for each thread the seconds since its last beat; each must be within `limits_s` (by name) or
    BEAT_LIMIT_S. `frames_age` gives the seconds since the last frame, or None while none is due: the camera is meant
    to be closed, or is being reopened within its allowed back-off.
    """

    def __init__(
        self,
        notifier: Notifier,
        beats: Mapping[str, Callable[[], float]],
        frames_age: Callable[[], Optional[float]] = lambda: None,
        *,
        limits_s: Optional[Mapping[str, float]] = None,
        frames_limit_s: float = FRAMES_LIMIT_S,
    ) -> None:
        self._notifier = notifier
        self._beats = beats
        self._frames_age = frames_age
        self._limits_s = dict(limits_s or {})
        self._frames_limit_s = frames_limit_s
        self._late: list[str] = []

    @property
    def every_s(self) -> Optional[float]:
        """How often `check` must be called, or None where no watchdog waits."""
        return self._notifier.watchdog_every_s

    def check(self) -> list[str]:
        """Feed the watchdog if all is well. Returns the names of what is late; each is logged when it becomes so."""
        late = {}
        for name, age in self._beats.items():
            seconds = age()
            if seconds > self._limits_s.get(name, BEAT_LIMIT_S):
                late[name] = seconds
        frames_age = self._frames_age()
        if frames_age is not None and frames_age > self._frames_limit_s:
            late["frames"] = frames_age
        for name in sorted(late.keys() - set(self._late)):
            logger.error("The watchdog is not fed: %s late, last seen %.0f s ago", name, late[name])
        if self._late and not late:
            logger.warning("The watchdog is fed again: %s back", ", ".join(self._late))
        self._late = sorted(late)
        if not late:
            self._notifier.feed_watchdog()
        return self._late
