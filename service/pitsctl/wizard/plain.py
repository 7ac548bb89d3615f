"""A person at a plain terminal, or behind a pipe: questions as lines of text. Also what `--text` is made of."""

from __future__ import annotations

import getpass
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

from pitsctl.person import Registration
from pitsctl.steps import Step
from pitsctl.wizard import words
from pitsctl.wizard.journey import Note
from pitsctl.wizard.record import printable

WIDTH = 79
_SHA256_IN_PAIRS = re.compile(r"((?:[0-9A-Fa-f]{2}:){16})((?:[0-9A-Fa-f]{2}:){15}[0-9A-Fa-f]{2})")


def wrapped(text: str, indent: str = "") -> str:
    """`text` in lines of at most 79 characters; an address or a path is never broken."""
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


class Lines:
    """Standard input and output as lines, of which none can move the cursor. `ask` raises EOFError at the end."""

    def __init__(self, source: TextIO | None = None, target: TextIO | None = None) -> None:
        self._source = source or sys.stdin
        self._target = target or sys.stdout

    def say(self, text: str = "", indent: str = "") -> None:
        """Write a paragraph."""
        print(wrapped(printable(text), indent) if text else "", file=self._target, flush=True)

    def line(self, text: str) -> None:
        """Write a line unbroken: what programs have said, or a table's row."""
        print(printable(text), file=self._target, flush=True)

    def ask(self, question: str) -> str:
        """Ask for a line; what is typed, without spaces around it."""
        print(f"{question}: ", end="", file=self._target, flush=True)
        text = self._source.readline()
        if not text:
            print(file=self._target, flush=True)
            raise EOFError
        if not self._source.isatty():
            print(file=self._target, flush=True)
        return text.strip()

    def ask_hidden(self, question: str) -> str:
        """Ask for a line that a terminal does not show."""
        if self._source.isatty():
            return getpass.getpass(f"{question}: ", self._target)
        return self.ask(question)


class PlainPerson:
    """A `Person` asked by lines."""

    def __init__(self, lines: Lines | None = None) -> None:
        self._lines = lines or Lines()

    def secret(self, question: str) -> str | None:
        """See Person; nothing typed, or the end of the input, is None."""
        try:
            return self._lines.ask_hidden(question) or None
        except EOFError:
            return None

    def confirm(self, question: str, detail: str = "") -> bool:
        """See Person."""
        self._lines.line("")
        for line in by_halves(detail).splitlines():
            self._lines.line(f"    {line}")
        try:
            return yes_or_no(self._lines, question)
        except EOFError:
            return False

    def show_registration(self, registration: Registration | None) -> None:
        """See Person."""
        if registration is None:
            return
        say = self._lines.line
        say("")
        say(words.REGISTER_TITLE)
        for text, value in (
            (words.REGISTER_HOW, f"{registration.address}\n\n        {registration.user_code}"),
            (words.REGISTER_CHECK, by_halves(registration.fingerprint).replace("\n", "\n        ")),
            (words.REGISTER_WAITS.format(left=minutes(registration.expires_in_s)), ""),
        ):
            self._lines.say(text, "    ")
            if value:
                say(f"\n        {value}\n")


class PlainProgress:
    """A `Progress` as lines, each of which says of which step it is."""

    def __init__(self, lines: Lines | None = None) -> None:
        self._lines = lines or Lines()

    def began(self, step: Step) -> None:
        """See steps.Progress."""
        self._state("doing", step.title)

    def said(self, _step: Step, line: str) -> None:
        """See steps.Progress; the step was named when it began."""
        self._lines.line(f"             {line}")

    def ended(self, step: Step, error: str | None) -> None:
        """See steps.Progress."""
        if error is None:
            self._state("done", step.title)
        else:
            self._state("failed", step.title)
            self._lines.say(error, "             ")

    def _state(self, state: str, title: str) -> None:
        mark, word = words.STATES[state]
        self._lines.line(f"  {mark} {word:8} {title}")


def say_notes(lines: Lines, notes: Sequence[Note], indent: str = "") -> None:
    """Write what a screen says beside its questions; what needs attention begins with a mark."""
    for note in notes:
        text = note.text
        if note.label:
            lines.line(f"{indent}{note.label + ':':14} {text}")
        elif note.tone == "address":
            lines.line(f"{indent}  {text}")
        else:
            mark = "! " if note.tone in ("attention", "fault") else ""
            lines.say(mark + text, indent + ("  " if note.tone == "detail" else ""))


def yes_or_no(lines: Lines, question: str) -> bool:
    """Ask until yes or no is said."""
    answer = choose(lines, words.TEXT_YES_NO.format(question=question), {"yes": "yes", "no": "no"})
    return answer == "yes"


def choose(lines: Lines, question: str, choices: dict[str, str]) -> str:
    """Ask until one of the choices is named, by its beginning or by its number from 1; return its key."""
    while True:
        typed = lines.ask(question).lower()
        if typed.isdecimal() and 1 <= int(typed) <= len(choices):
            return list(choices)[int(typed) - 1]
        found = [key for key in choices if typed and key.startswith(typed)]
        if typed in choices or len(found) == 1:
            return typed if typed in choices else found[0]
        lines.say(f"! {words.TEXT_UNKNOWN.format(choices=', '.join(choices))}", "  ")


def by_halves(text: str) -> str:
    """The same, with a SHA-256 that is written in pairs on two lines, since one is too short; bytes stay whole."""
    return _SHA256_IN_PAIRS.sub(r"\1\n\2", text)


def minutes(seconds: float) -> str:
    """`14:05`, of minutes and seconds."""
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02}"
