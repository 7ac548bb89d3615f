"""Whether the camera watches: mode, its end, and the recording window, as one pure function of settings and time.

The system's own time zone is the one input besides (where settings name none).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Literal, NamedTuple, Optional
from zoneinfo import ZoneInfo

from pinthesky.model.settings import DeviceSettings

Reason = Literal["armed", "away", "home", "privacy", "outside_window"]

_STRIDE_S = 900
"""No window is open or closed for less, whatever a zone does to its clocks."""
_LOOK_AHEAD_S = 3 * 86_400
"""A day's window may fall into the hour that daylight saving skips; the third day's does not."""


class Watching(NamedTuple):
    """What the camera is to do now."""

    record_motion: bool
    """Motion becomes clips. Clips that were asked for are made whatever this says, as long as the camera is open."""
    camera_open: bool
    reason: Reason
    changes_in_s: Optional[float]
    """Seconds until this may be different by time alone; None where time changes nothing (or is not known)."""


def watching(settings: DeviceSettings, wall_s: Optional[float]) -> Watching:
    """Say what the camera is to do at `wall_s` (epoch seconds; None while the clock is not known to be right).

    Without a right clock a mode does not end, so privacy stays privacy, and the recording window counts as open:
    recording too much is better than recording too little.
    """
    mode: Reason = settings.mode.mode
    until_s = settings.mode.until
    ends_in_s = None
    if until_s is not None and wall_s is not None and mode != "armed":
        if wall_s >= until_s:
            mode = "armed"
        else:
            ends_in_s = until_s - wall_s
    if mode == "privacy":
        return Watching(False, False, mode, ends_in_s)
    if mode == "home":
        return Watching(False, True, mode, ends_in_s)
    if wall_s is None:
        return Watching(True, True, mode, None)
    is_open = _window(settings)
    changes_in_s = _earliest(ends_in_s, _next_flip(is_open, wall_s))
    if is_open(wall_s):
        return Watching(True, True, mode, changes_in_s)
    return Watching(False, True, "outside_window", changes_in_s)


def _window(settings: DeviceSettings) -> Callable[[float], bool]:
    """Whether the recording window is open at an epoch second.

    It is open while the local clock shows an hour of it. So an hour that daylight saving skips is simply missing, one
    that comes twice counts twice, and no day needs a rule of its own.
    """
    hours = settings.camera.window_hours
    if hours is None or hours[0] % 24 == hours[1] % 24:
        return lambda _: True
    first, end = hours[0] % 24, hours[1] % 24 or 24
    hour_of = _local_hour(settings.mode.time_zone)
    if first < end:
        return lambda wall_s: first <= hour_of(wall_s) < end
    return lambda wall_s: not end <= hour_of(wall_s) < first


def _local_hour(time_zone: Optional[str]) -> Callable[[float], int]:
    if time_zone is None:
        # The owner may have moved the system to another zone since the process began.
        time.tzset()
        return lambda wall_s: time.localtime(wall_s).tm_hour
    zone = ZoneInfo(time_zone)
    return lambda wall_s: datetime.fromtimestamp(wall_s, zone).hour


def _next_flip(is_open: Callable[[float], bool], wall_s: float) -> Optional[float]:
    """Seconds from `wall_s` to the first whole second at which the window opens or closes."""
    now = int(wall_s)
    at_first = is_open(now)
    for later in range(now + _STRIDE_S, now + _LOOK_AHEAD_S, _STRIDE_S):
        if is_open(later) != at_first:
            before, after = later - _STRIDE_S, later
            while after - before > 1:
                middle = (before + after) // 2
                if is_open(middle) == at_first:
                    before = middle
                else:
                    after = middle
            return after - wall_s
    return None


def _earliest(one: Optional[float], other: Optional[float]) -> Optional[float]:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
