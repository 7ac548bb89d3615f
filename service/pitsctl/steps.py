"""Steps of an installation: each looks, does, and takes back; a plan is a list of them with what was found.

Data flows one way: answers -> steps -> plan (what each found) -> progress (what each does) -> result. Nothing here
prints, asks or knows ssh; the command line, the wizard and Ansible are three readers of the same plan and progress.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Verdict(Enum):
    """What a step finds when it looks."""

    DONE = "done"
    """Nothing to do."""
    NEEDED = "needed"
    IMPOSSIBLE = "impossible"
    """It cannot work here: said before anything is changed."""


@dataclass(frozen=True)
class Found:
    """The verdict, and in a few words what is there, will be done, or stands in the way (with what to do)."""

    verdict: Verdict
    what: str


Say = Callable[[str], None]
"""Takes one line of a step's log, for people; never a secret."""


class Step(Protocol):
    """One thing that an installation consists of."""

    @property
    def name(self) -> str:
        """Lower-case words with dashes, unique in a plan, the same in every version: it is kept in the state."""
        ...

    @property
    def title(self) -> str:
        """What it does, for people: `Install Debian packages`."""
        ...

    def check(self) -> Found:
        """Look, and change nothing. Raises Unavailable, NotAuthorized."""
        ...

    def apply(self, say: Say) -> None:
        """Do it. Again is no error, and after having been cut off anywhere it goes on from there.

        Raises Unavailable (again later may work), Conflict or InvalidInput (a person has to change something).
        """
        ...

    def undo(self, say: Say) -> None:
        """Take back exactly what `apply` has done, and no more. What is not there is no error."""
        ...


class Progress(Protocol):
    """Hears how a plan is carried out, in order; called from one thread."""

    def began(self, step: Step) -> None:
        """The step is being applied, or undone."""
        ...

    def said(self, step: Step, line: str) -> None:
        """A line of the step's log."""
        ...

    def ended(self, step: Step, error: str | None) -> None:
        """It is done; or the error, of which the message is for people."""
        ...
