"""A person before pitsctl's screen, who answers as a test wants, and remembers what they were asked and shown."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pitsctl.person import Registration


class ScriptedPerson:
    """The port `Person`. `on_code` is called in a thread of its own when a code is shown."""

    def __init__(self, *, yes: bool = True, on_code: Callable[[Registration], None] | None = None) -> None:
        self.yes = yes
        self.refuses: str | None = None
        """A word of the questions that are answered with no."""
        self.asked: list[tuple[str, str]] = []
        self.shown: list[Registration | None] = []
        self._on_code = on_code
        self._threads: list[threading.Thread] = []

    def secret(self, question: str) -> str | None:
        self.asked.append((question, ""))
        return None

    def confirm(self, question: str, detail: str = "") -> bool:
        self.asked.append((question, detail))
        return self.yes and not (self.refuses and self.refuses in question)

    def show_registration(self, registration: Registration | None) -> None:
        self.shown.append(registration)
        if registration is None:
            for thread in self._threads:
                thread.join(10.0)
        elif self._on_code is not None:
            thread = threading.Thread(target=self._on_code, args=(registration,))
            self._threads.append(thread)
            thread.start()
