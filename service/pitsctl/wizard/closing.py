"""How a plan ended, and what is said of it: on the last screen, and on the terminal when the screen is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pinthesky.errors import PinTheSkyError, Unavailable
from pitsctl.steps import Verdict
from pitsctl.wizard import words
from pitsctl.wizard.journey import Journey, Note
from pitsctl.wizard.ports import Planned
from pitsctl.wizard.record import Record

DONE = 0
"""Exit code: everything is done, or was taken back as the person asked."""
FAILED = 1
"""Something failed; the last lines say what was done, and how to go on."""
LOST = 129
"""The terminal went away (SIGHUP)."""
LEFT = 130
"""The person left before the end."""


@dataclass(frozen=True)
class Ending:
    """How the carrying out of a plan, or its taking back, ended."""

    kind: Literal["done", "lost", "failed", "stopped", "taken-back"]
    error: str = ""
    look_now: tuple[str, ...] = ()

    @property
    def buttons(self) -> tuple[str, ...]:
        """What a person can do now, the likeliest first: keys of `words.BUTTONS`."""
        return {
            "done": ("finish", "keep"),
            "taken-back": ("finish", "change"),
            "lost": ("resume", "take-back", "leave"),
            "stopped": ("resume", "take-back", "leave"),
            "failed": ("retry", "change", "take-back", "leave"),
        }[self.kind]

    @property
    def exit_code(self) -> int:
        """The exit code of a program that ends here."""
        return {"done": DONE, "taken-back": DONE, "stopped": LEFT}.get(self.kind, FAILED)


def ending_of(error: PinTheSkyError | None, *, stopped: bool, look_now: Sequence[str] | None) -> Ending:
    """Tell the ways apart; `look_now` is None for a plan that was taken back."""
    if error is not None:
        return Ending("lost" if isinstance(error, Unavailable) else "failed", error=str(error))
    if stopped:
        return Ending("stopped")
    return Ending("taken-back") if look_now is None else Ending("done", look_now=tuple(look_now))


def notes_of(ending: Ending, journey: Journey, record: Record) -> list[Note]:
    """What is said of an ending, on whatever screen."""
    if ending.kind == "taken-back":
        return [Note(words.TAKEN_BACK, "good")]
    if ending.kind == "done":
        return [
            Note(words.SUCCESS, "good"),
            *(Note(line, "address") for line in ending.look_now),
        ]
    failed = [*record.titles("failed"), *record.titles("doing")]
    if ending.kind == "stopped":
        first = [Note(words.STOPPED, "attention")]
    else:
        said = words.LOST if ending.kind == "lost" else words.FAILED
        first = [
            Note(said.format(title=failed[0]) if failed else words.FAILED_BEFORE, "fault"),
            Note(ending.error, "detail"),
        ]
    return [*first, *_what_was_done(journey, record)]


def left(journey: Journey, record: Record) -> list[Note]:
    """What is said to a person who leaves before the end."""
    cut_off = [Note(words.CUT_OFF.format(title=title), "attention") for title in record.titles("doing")]
    if not cut_off and not record.titles("done"):
        return [Note(words.LEFT_EARLY)]
    return [*cut_off, *_what_was_done(journey, record)]


def _what_was_done(journey: Journey, record: Record) -> list[Note]:
    done = record.titles("done")
    if not done:
        return [Note(words.DONE_NONE), Note(journey.command("install"), label=words.GO_ON)]
    over, total = record.counts
    return [
        Note(words.DONE_STEPS.format(over=over, total=total, title=done[-1])),
        Note(words.KEPT),
        Note(journey.command("install"), label=words.GO_ON),
        Note(journey.command("remove"), label=words.GO_BACK),
    ]


def plan_count(planned: Sequence[Planned]) -> str:
    """How many steps are to be done, are done, cannot be done."""
    counts = {verdict: sum(item.found.verdict is verdict for item in planned) for verdict in Verdict}
    if not counts[Verdict.NEEDED] and not counts[Verdict.IMPOSSIBLE]:
        return words.PLAN_NOTHING
    said = words.PLAN_STUCK if counts[Verdict.IMPOSSIBLE] else words.PLAN_COUNT
    return said.format(needed=counts[Verdict.NEEDED], done=counts[Verdict.DONE], impossible=counts[Verdict.IMPOSSIBLE])


def is_possible(planned: Sequence[Planned]) -> bool:
    """Whether no step stands in the way."""
    return all(item.found.verdict is not Verdict.IMPOSSIBLE for item in planned)
