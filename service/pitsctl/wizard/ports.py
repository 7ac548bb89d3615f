"""What the wizard works on: the installer behind it, as a port. `pitsctl.command` gives the real one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pitsctl.answers import Answers
from pitsctl.person import Person
from pitsctl.steps import Found, Progress, Step


@dataclass(frozen=True)
class Sighting:
    """What was found on a machine, or of a home, before anything is changed."""

    rows: tuple[tuple[str, str], ...] = ()
    """What it is, as (label, value): `("Model", "Raspberry Pi Zero 2 W Rev 1.0")`. At most a dozen."""
    warnings: tuple[str, ...] = ()
    """What works, but not well: `The clock is not set`. A sentence each."""
    cannot: tuple[str, ...] = ()
    """What this machine will not do, and what it does in its stead. A sentence each."""
    pi_model: str = ""
    """As the device tree names it; empty: no Raspberry Pi, or not seen."""
    sensor: str = ""
    """As libcamera names the camera; empty: none was seen."""
    cameras: tuple[tuple[str, str], ...] = ()
    """The cameras to choose from, as (value of `camera.device`, words for it), beside `auto`."""
    answers: Answers | None = None
    """The answers that were given, with what was found laid under them; None: nothing was found to lay there."""


@dataclass(frozen=True)
class Hub:
    """A hub that announces itself in this network."""

    name: str
    address: str


@dataclass(frozen=True)
class Planned:
    """A step of the plan, and what it found."""

    step: Step
    found: Found


class Installer(Protocol):
    """What the wizard asks for, in this order; everything is called from one thread, never the screen's.

    Every method may raise a PinTheSkyError, whose message is shown to the person: InvalidInput beside the field that
    it names (`connection.port`), any other below the page. All of them may be called again, with other answers.
    """

    def look_at_machine(self, answers: Answers, person: Person) -> Sighting:
        """Reach the machine of `answers.connection`, and look what it is."""
        ...

    def hubs(self) -> Sequence[Hub]:
        """Listen for hubs that announce themselves, for a few seconds; none where mDNS does not work."""
        ...

    def look_at_home(self, answers: Answers, person: Person) -> Sighting:
        """Reach the home of `answers.home`: its account and the deployment in it, or its hub and its authority."""
        ...

    def plan(self, answers: Answers, person: Person) -> Sequence[Planned]:
        """Let each step look, in order, and change nothing."""
        ...

    def carry_out(
        self, answers: Answers, person: Person, *, progress: Progress, stop: threading.Event
    ) -> Sequence[str]:
        """Do what is needed, in order, and return where to look now: a line each.

        `stop` is looked at between two steps, and while a step waits for a person: then it returns what it has. A step
        that fails is told to `progress` and raised: Unavailable where doing it again may work (the connection is
        lost), anything else where a person has to change something. Called again, it goes on where it was cut off.
        """
        ...

    def take_back(self, answers: Answers, person: Person, *, progress: Progress, stop: threading.Event) -> None:
        """Undo what this installation has done, in the opposite order; what was there before stays."""
        ...

    def save(self, answers: Answers, path: Path) -> None:
        """Write the answers as YAML, from which `--answers` reads them."""
        ...

    def close(self) -> None:
        """Give back connections; what is being done in another thread ends with Unavailable."""
        ...
