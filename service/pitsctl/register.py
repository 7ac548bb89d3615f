"""`pitsctl register` on the Pi itself, at its first start: waits, shows its code wherever somebody may look, goes on.

Nobody is there to try again, so it does so itself: with a network that comes late, with codes that nobody has typed,
until the camera is let in. What cannot get better by waiting ends it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from pinthesky.errors import PinTheSkyError, Throttled, Unavailable
from pitsctl.code_light import CodeLight
from pitsctl.person import Person, Registration
from pitsctl.plan import Outcome
from pitsctl.registration import Denied, Expired

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
DENIED_PAUSE_S = 900.0
"""Somebody has said no: that they change their mind is not urgent."""
SCREENS = (Path("/dev/tty1"),)
"""Where somebody sees it who connects a screen."""


class ShownEverywhere:
    """A `Person` whose code is also on the LED and on the screen of the machine that this runs on."""

    def __init__(self, inner: Person, light: CodeLight, screens: tuple[Path, ...] = SCREENS) -> None:
        self._inner = inner
        self._light = light
        self._screens = screens
        self.secret = inner.secret
        self.confirm = inner.confirm

    def show_registration(self, registration: Registration | None) -> None:
        """See `Person`."""
        self._inner.show_registration(registration)
        if registration is None:
            self._light.wait_for_code()
            self._write("\nThe camera's code is not needed any more.\n")
            return
        self._light.show(registration.user_code)
        self._write(
            f"\nThis camera waits to be let in.\n\n  Code         {registration.user_code}"
            f"\n  Type it at   {registration.address}\n  Fingerprint  {registration.fingerprint}\n\n"
        )

    def _write(self, text: str) -> None:
        for screen in self._screens:
            # Most have none, and a screen that hangs must not hold the registration up: a terminal takes it at once.
            with contextlib.suppress(OSError), screen.open("a", encoding="utf-8") as file:
                file.write(text)


def until_let_in(
    attempt: Callable[[Person], Outcome],
    person: Person,
    *,
    stop: threading.Event,
    say: Callable[[str], None],
    light: CodeLight | None = None,
    screens: tuple[Path, ...] = SCREENS,
) -> Outcome:
    """Attempt until it is complete, cannot get better, or is stopped. Returns how the last one ended."""
    light = CodeLight() if light is None else light
    shown, pause_s = ShownEverywhere(person, light, screens), FIRST_PAUSE_S
    light.wait_for_code()
    try:
        while True:
            outcome = _attempted(attempt, shown)
            error = outcome.error
            if not isinstance(error, (Unavailable, Denied)):
                return outcome
            wait_s, pause_s = _pause(error, pause_s)
            say(f"{error}; trying again in {wait_s:.0f} s")
            if stop.wait(wait_s):
                return outcome
    finally:
        light.restore()


def _attempted(attempt: Callable[[Person], Outcome], person: Person) -> Outcome:
    """How an attempt has ended; what it raises, it raises before anything was done."""
    try:
        return attempt(person)
    except Unavailable as error:
        return Outcome((), error=error)


def _pause(error: PinTheSkyError, pause_s: float) -> tuple[float, float]:
    """How long to wait now, and the next time."""
    if isinstance(error, Expired):
        return FIRST_PAUSE_S, FIRST_PAUSE_S
    if isinstance(error, Denied):
        return DENIED_PAUSE_S, FIRST_PAUSE_S
    if isinstance(error, Throttled):
        return max(pause_s, float(error.retry_after_s)), pause_s
    return pause_s, min(LONGEST_PAUSE_S, 2 * pause_s)
