"""A plan: what each step found, carried out in order and taken back in the opposite one.

A step that was cut off is begun in the ledger and not finished; the next run looks again and goes on. Whoever carries
out hears of every step by `Progress`, in one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from pinthesky.errors import Conflict, PinTheSkyError
from pitsctl.ledger import Ledger
from pitsctl.steps import Found, Progress, Say, Step, Verdict


@dataclass(frozen=True)
class Planned:
    """A step of the plan, and what it found."""

    step: Step
    found: Found


@dataclass(frozen=True)
class Plan:
    """All steps of an installation in their order, each with what it found when it looked."""

    items: tuple[Planned, ...]

    @property
    def needed(self) -> tuple[Planned, ...]:
        """What there is to do."""
        return tuple(item for item in self.items if item.found.verdict is Verdict.NEEDED)

    @property
    def impossible(self) -> tuple[Planned, ...]:
        """What stands in the way: nothing is done while there is one."""
        return tuple(item for item in self.items if item.found.verdict is Verdict.IMPOSSIBLE)


@dataclass(frozen=True)
class Outcome:
    """How it ended: names of the steps that were done now, of the one that failed, and of those that were not reached.

    Steps that had nothing to do are in none of them.
    """

    done: tuple[str, ...]
    failed: str | None = None
    error: PinTheSkyError | None = None
    left: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.error is None and not self.left


def look(steps: Sequence[Step]) -> Plan:
    """Let every step look. Raises Unavailable, NotAuthorized."""
    return Plan(tuple(Planned(step, step.check()) for step in steps))


def carry_out(steps: Sequence[Step], ledger: Ledger, *, progress: Progress, stop: threading.Event) -> Outcome:
    """Apply what is needed, in order, up to the first step that fails, or to `stop`. Raises nothing of a step's.

    Each step looks again when its turn comes, since those before it have changed what is there.
    """
    done: list[str] = []
    for place, step in enumerate(steps):
        left = tuple(later.name for later in steps[place:])
        if stop.is_set():
            return Outcome(tuple(done), left=left)
        is_begun = False
        try:
            found = step.check()
            if found.verdict is Verdict.DONE and (ledger.is_finished(step.name) or step.name not in ledger.begun):
                continue
            progress.began(step)
            is_begun = True
            if found.verdict is Verdict.IMPOSSIBLE:
                raise Conflict(found.what)
            ledger.begin(step.name)
            step.apply(_speaker(progress, step))
            ledger.finish(step.name)
        except PinTheSkyError as error:
            if not is_begun:
                progress.began(step)
            progress.ended(step, str(error))
            return Outcome(tuple(done), failed=step.name, error=error, left=left)
        done.append(step.name)
        progress.ended(step, None)
    return Outcome(tuple(done))


def take_back(steps: Sequence[Step], ledger: Ledger, *, progress: Progress, stop: threading.Event) -> Outcome:
    """Undo what the ledger knows as begun, last first, up to the first that fails, or to `stop`."""
    begun = [step for step in reversed(steps) if step.name in ledger.begun]
    done: list[str] = []
    for place, step in enumerate(begun):
        left = tuple(later.name for later in begun[place:])
        if stop.is_set():
            return Outcome(tuple(done), left=left)
        progress.began(step)
        try:
            step.undo(_speaker(progress, step))
            ledger.forget(step.name)
        except PinTheSkyError as error:
            progress.ended(step, str(error))
            return Outcome(tuple(done), failed=step.name, error=error, left=left)
        done.append(step.name)
        progress.ended(step, None)
    return Outcome(tuple(done))


def _speaker(progress: Progress, step: Step) -> Say:
    return lambda line: progress.said(step, line)
