"""What the camera is doing, on the Pi's own LED where it may be written.

The kernel does the blinking by its LED triggers, so this needs no thread and no wake-ups. Each pattern has a trigger of
its own; times are set too where the kernel lets us, which it does only where a rule of udev gives the files of a
trigger to our group as well.

| pattern | the LED |
|---|---|
| fault | blinks quickly |
| registration | beats like a heart |
| recording | is on |
| privacy | is off |

When nothing is to be shown, the LED has the trigger that it had before, which on a Pi shows accesses to the card.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Optional

from pinthesky.device.internal_events import CameraFaulted, CameraOpened, DutyTaken, RecordingChanged
from pinthesky.device.pi_model import pi_model
from pinthesky.machine.durable_files import replace_file
from pinthesky.model.settings import LED_PATTERNS, LedPattern, LedSettings

if TYPE_CHECKING:
    from pinthesky.device.event_thread import EventThread

logger = logging.getLogger(__name__)

LEDS = (Path("/sys/class/leds/ACT"), Path("/sys/class/leds/led0"))
"""The green LED of a Pi, by its newer and its older name."""
_TRIGGER_MAX = 64
_LEFT_OVER = "left over"
"""What a process that did not end in order has left standing."""


class _Light(NamedTuple):
    """A trigger of the kernel and what is written into its files, as far as they may be written."""

    trigger: str
    values: tuple[tuple[str, str], ...] = ()


_LIGHTS: dict[LedPattern, _Light] = {
    "fault": _Light("timer", (("delay_on", "100"), ("delay_off", "100"))),
    "registration": _Light("heartbeat"),
    "recording": _Light("default-on"),
    "privacy": _Light("none", (("brightness", "0"),)),
}


class StatusLed:
    """Runs in the event thread. On a Raspberry Pi, an LED that is not there or may not be written is said once.

    `memory` is a small file that holds the LED's own trigger as long as another is set: `kill -9` and power cuts do not
    make us forget it.
    """

    def __init__(
        self, memory: Path, *, settings: LedSettings, leds: Sequence[Path] = LEDS, board: Optional[str] = None
    ) -> None:
        """`board` takes the place of this machine's name."""
        self._memory = memory
        self._is_expected = (board or pi_model() or "").startswith("Raspberry Pi")
        self._settings = settings
        self._leds = leds
        self._led: Optional[Path] = None
        self._own_trigger = ""
        self._active: set[LedPattern] = set()
        self._shown: Optional[str] = _LEFT_OVER if memory.exists() else None
        self._given_up = False

    def subscribe(self, queue: EventThread) -> None:
        """Follow what happens."""
        queue.subscribe(RecordingChanged, lambda event: self.show("recording", active=event.recording))
        queue.subscribe(CameraFaulted, lambda _: self.show("fault", active=True))
        queue.subscribe(CameraOpened, lambda _: self.show("fault", active=False))
        queue.subscribe(DutyTaken, self._duty_taken)

    def configure(self, settings: LedSettings) -> None:
        """Take over settings."""
        self._settings = settings
        self._update()

    def show(self, pattern: LedPattern, *, active: bool) -> None:
        """Say whether `pattern` is true now. Of several the first of LED_PATTERNS is shown."""
        if active:
            self._active.add(pattern)
        else:
            self._active.discard(pattern)
        self._update()

    def restore(self) -> None:
        """Give the LED back, at the end."""
        self._active.clear()
        self._update()

    def _duty_taken(self, duty: DutyTaken) -> None:
        if not duty.camera_open:
            # A camera that is closed on purpose is not at fault.
            self._active.discard("fault")
        self.show("privacy", active=not duty.camera_open)

    def _update(self) -> None:
        shown = self._settings.patterns if self._settings.enabled else ()
        wanted = next((one for one in LED_PATTERNS if one in self._active and one in shown), None)
        if self._given_up or wanted == self._shown:
            return
        try:
            self._light(self._led or self._take(), wanted)
        except OSError as error:
            self._given_up = True
            logger.log(
                logging.INFO if self._is_expected else logging.DEBUG, "The LED shows nothing: %s", error.strerror
            )

    def _take(self) -> Path:
        led = next((led for led in self._leds if (led / "trigger").exists()), None)
        if led is None:
            raise FileNotFoundError(errno.ENOENT, "there is none of " + ", ".join(map(str, self._leds)))
        if self._shown == _LEFT_OVER:
            remembered = self._memory.read_text(encoding="utf-8", errors="replace")[:_TRIGGER_MAX]
        else:
            remembered = ""
        # All triggers are listed, with the one that is set in brackets.
        listed = (led / "trigger").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"\[([^\]\s]+)\]", listed)
        self._own_trigger = remembered if remembered in listed.split() else found.group(1) if found else "none"
        self._led = led
        return led

    def _light(self, led: Path, pattern: Optional[LedPattern]) -> None:
        if pattern is None:
            _write(led / "trigger", self._own_trigger)
            self._memory.unlink(missing_ok=True)
        else:
            if not self._memory.exists():
                # Without it the pattern is shown all the same; only a crash would leave it standing.
                with contextlib.suppress(OSError):
                    replace_file(self._memory, self._own_trigger.encode())
            light = _LIGHTS[pattern]
            _write(led / "trigger", light.trigger)
            for name, value in light.values:
                # The files of a trigger belong to root unless a rule of udev says otherwise; patterns differ anyway.
                with contextlib.suppress(OSError):
                    _write(led / name, value)
        self._shown = pattern


def _write(path: Path, text: str) -> None:
    """Write into a file that is there. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
