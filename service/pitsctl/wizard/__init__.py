"""The guided installation: one description of the questions, on a full screen or as plain prompts."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from types import FrameType

from pitsctl.answers import Answers
from pitsctl.wizard.closing import DONE, FAILED, LEFT, LOST
from pitsctl.wizard.ports import Hub, Installer, Planned, Sighting

__all__ = ["DONE", "FAILED", "LEFT", "LOST", "Hub", "Installer", "Planned", "Sighting", "run"]

CLOSE_S = 5.0
"""For connections to be given back, when the program has to end."""


def run(answers: Answers, installer: Installer, *, text: bool = False) -> int:
    """Lead a person through the installation and return the exit code of the program: one of those above.

    `answers` are what flags, environment and file have given: they stand in the fields. With `text`, and where there
    is no terminal to draw on, the same questions come as plain prompts on standard input and output. The installer is
    closed in the end.
    """
    before = signal.signal(signal.SIGHUP, lambda number, frame: _hung_up(installer, number, frame))
    try:
        if text or not can_draw():
            from pitsctl.wizard.text_wizard import TextWizard  # noqa: PLC0415 - one renderer is loaded, not both

            return TextWizard(answers, installer).run()
        from pitsctl.wizard import full_screen  # noqa: PLC0415 - Textual is loaded where it draws, and nowhere else

        return full_screen.run(answers, installer)
    finally:
        installer.close()
        signal.signal(signal.SIGHUP, before)


def can_draw() -> bool:
    """Whether there is a terminal to draw on, and the library that does it."""
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
        and importlib.util.find_spec("textual") is not None
    )


def _hung_up(installer: Installer, _number: int, _frame: FrameType | None) -> None:
    """The terminal is gone: nothing can be said or drawn any more, and whoever tries would wait for ever.

    What was being done is cut off, as by a lost connection; the next installation goes on from there.
    """
    closing = threading.Thread(target=installer.close, name="wizard-closing", daemon=True)
    closing.start()
    closing.join(CLOSE_S)
    os._exit(LOST)
