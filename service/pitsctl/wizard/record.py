"""What happens while a plan is carried out, as both renderers show it: which step is where, and what each said."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pitsctl.steps import Step, Verdict
from pitsctl.wizard.ports import Planned

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
"""Sequences of ANSI terminals: colours and cursor, titles, and single letters."""

LOG_LINES = 500
"""Of each step; the oldest go."""


@dataclass
class Entry:
    """A step, its state (a key of `words.STATES`), and the end of its log."""

    name: str
    title: str
    state: str = "waiting"
    error: str = ""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))


class Record:
    """A `Progress` that remembers: told by the thread that works, read by the one that draws."""

    def __init__(self, planned: Sequence[Planned] = ()) -> None:
        self._lock = threading.Lock()
        self._entries = {
            item.step.name: Entry(
                item.step.name, item.step.title, "there" if item.found.verdict is Verdict.DONE else "waiting"
            )
            for item in planned
        }
        self.changes = 0
        """Counts up with everything heard, so that who draws sees whether there is something to draw."""

    def began(self, step: Step) -> None:
        """See steps.Progress."""
        with self._lock:
            entry = self._entry(step)
            entry.state, entry.error = "doing", ""

    def said(self, step: Step, line: str) -> None:
        """See steps.Progress."""
        with self._lock:
            self._entry(step).log.extend(printable(part) for part in line.splitlines() or [""])

    def ended(self, step: Step, error: str | None) -> None:
        """See steps.Progress."""
        with self._lock:
            entry = self._entry(step)
            entry.state, entry.error = ("done", "") if error is None else ("failed", error)

    def _entry(self, step: Step) -> Entry:
        self.changes += 1
        return self._entries.setdefault(step.name, Entry(step.name, step.title))

    def entries(self) -> list[Entry]:
        """The steps in order, each with a copy of its log."""
        with self._lock:
            return [
                Entry(entry.name, entry.title, entry.state, entry.error, entry.log.copy())
                for entry in self._entries.values()
            ]

    def titles(self, state: str) -> list[str]:
        """The titles of the steps in a state."""
        return [entry.title for entry in self.entries() if entry.state == state]

    @property
    def counts(self) -> tuple[int, int]:
        """(steps that are over, all steps)."""
        entries = self.entries()
        return sum(entry.state in ("done", "there") for entry in entries), len(entries)


def printable(text: str) -> str:
    """What a machine has said, without what would move a terminal's cursor or change its colours."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in _ESCAPES.sub("", text))
