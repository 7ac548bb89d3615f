"""A camera's code on its LED: in Morse while it waits to be let in, for a Pi without a screen.

Files of LEDs belong to root, which `pitsctl register` is. A machine without such an LED shows nothing.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

LEDS = (Path("/sys/class/leds/ACT"), Path("/sys/class/leds/led0"))
"""The green LED of a Pi, by its newer and its older name."""
UNIT_S = 0.2
"""The length of a dot; ITU-R M.1677-1 has all others as multiples of it."""
DASH, BETWEEN_LETTERS, BETWEEN_WORDS, BETWEEN_ROUNDS = 3, 3, 7, 15
MORSE = {
    "B": "-...",
    "C": "-.-.",
    "D": "-..",
    "F": "..-.",
    "G": "--.",
    "H": "....",
    "J": ".---",
    "K": "-.-",
    "L": ".-..",
    "M": "--",
    "N": "-.",
    "P": ".--.",
    "Q": "--.-",
    "R": ".-.",
    "S": "...",
    "T": "-",
    "V": "...-",
    "W": ".--",
    "X": "-..-",
    "Z": "--..",
}
"""The letters of codes (pinthesky.planes.records.registrations): no vowels, no look-alikes."""


def beats(code: str) -> Iterator[tuple[bool, int]]:
    """One round of a code: whether the LED is on, and for how many units."""
    for word in code.split("-"):
        for letter in word:
            signs = MORSE.get(letter, "")
            for at, sign in enumerate(signs):
                yield True, DASH if sign == "-" else 1
                yield False, 1 if at + 1 < len(signs) else BETWEEN_LETTERS
        yield False, BETWEEN_WORDS - BETWEEN_LETTERS
    yield False, BETWEEN_ROUNDS


class CodeLight:
    """Beats like a heart while there is no code yet, then shows the code; gives the LED back at the end."""

    def __init__(self, leds: Sequence[Path] = LEDS, unit_s: float = UNIT_S) -> None:
        self._led = next((led for led in leds if (led / "trigger").exists()), None)
        self._unit_s = unit_s
        self._own_trigger = ""
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def wait_for_code(self) -> None:
        """There is no code yet."""
        self._stop()
        self._set("heartbeat")

    def show(self, code: str) -> None:
        """Show a code until something else is to be shown."""
        self._stop()
        if self._led is None or not self._set("none"):
            return
        self._changed.clear()
        self._thread = threading.Thread(target=self._run, args=(self._led, code), name="code light", daemon=True)
        self._thread.start()

    def restore(self) -> None:
        """Give the LED back."""
        self._stop()
        if self._own_trigger:
            self._set(self._own_trigger)

    def _run(self, led: Path, code: str) -> None:
        while True:
            for is_on, units in beats(code):
                with contextlib.suppress(OSError):
                    (led / "brightness").write_text("255" if is_on else "0")
                if self._changed.wait(units * self._unit_s):
                    return

    def _stop(self) -> None:
        self._changed.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self._thread = None

    def _set(self, trigger: str) -> bool:
        if self._led is None:
            return False
        try:
            if not self._own_trigger:
                # All triggers are listed, with the one that is set in brackets.
                found = re.search(r"\[([^\]\s]+)\]", (self._led / "trigger").read_text(encoding="utf-8"))
                self._own_trigger = found[1] if found else "none"
            (self._led / "trigger").write_text(trigger, encoding="utf-8")
        except OSError:
            return False
        return True
