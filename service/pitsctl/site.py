"""What the steps on the machine work with, and the few things that all of them do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from pinthesky.errors import Conflict, Unavailable
from pitsctl.answers import Answers
from pitsctl.facts import Facts
from pitsctl.ledger import Ledger
from pitsctl.machine import FileMode, Machine, Ran
from pitsctl.parcel import Parcel
from pitsctl.steps import Say

_LATER = re.compile(
    "could not resolve|failed to fetch|unable to fetch|could not connect|could not get lock|temporary failure"
    "|timed out|max retries|connection (?:refused|reset)|network is unreachable|no space left",
    re.IGNORECASE,
)
"""What apt, dpkg and pip say where waiting, or room on the disk, is all that is missing."""
Client = Literal["python", "cpp", "none"]

# One line for each path: owner, group, mode and what it is: `file DIGEST`, `folder`, `link TARGET`; or `-`.
_LOOK = """
for path; do
  if [ -L "$path" ]; then echo "$(stat -c '%U %G %a' -- "$path") link $(readlink -- "$path")"
  elif [ -d "$path" ]; then echo "$(stat -c '%U %G %a' -- "$path") folder"
  elif [ -e "$path" ]; then echo "$(stat -c '%U %G %a' -- "$path") file $(sha256sum < "$path" | cut -c 1-64)"
  else echo -
  fi
done
"""


@dataclass(frozen=True)
class Seen:
    """What is at a path."""

    mode: FileMode
    kind: Literal["file", "folder", "link"]
    detail: str
    """A file's SHA-256, a link's target."""


@dataclass(frozen=True)
class Removal:
    """What a person allows to be deleted that cannot be made again."""

    clips: bool = False
    certificates: bool = False


@dataclass(frozen=True)
class Site:
    """One machine, and what is to be on it."""

    machine: Machine
    ledger: Ledger
    facts: Facts
    answers: Answers
    parcel: Callable[[], Parcel]
    """What travels to the machine; made when the first step asks for it."""
    removal: Removal = field(default_factory=Removal)
    allow_downgrade: bool = False
    """Whether an older version may take the place of a newer one."""

    @property
    def client(self) -> Client:
        """Which device client serves the camera."""
        chosen = self.answers.paths.client
        if chosen == "cpp" or (not chosen and self.facts.cpp_client):
            return "cpp"
        return "python" if self.facts.runs_our_client else "none"

    @property
    def services(self) -> tuple[str, ...]:
        """The services that run all the time."""
        return ("pinthesky",) if self.client == "none" else ("pinthesky", "pits-device-client")

    def must(self, *words: str, given: bytes = b"", timeout_s: float = 60.0) -> str:
        """Run a program as root that has to succeed; returns what it printed. Raises Conflict with its words.

        Where they tell of a network or a lock, so that later it may work, Unavailable.
        """
        ran = self.machine.run(*words, given=given, root=True, timeout_s=timeout_s)
        if ran.code != 0:
            said = last_words(ran)
            kind = Unavailable if _LATER.search(said) else Conflict
            raise kind(f"{words[0]} failed on {self.machine.name}: {said}")
        return ran.out

    def says(self, *words: str, timeout_s: float = 60.0) -> str | None:
        """What a program prints, as root; None where it fails."""
        ran = self.machine.run(*words, root=True, timeout_s=timeout_s)
        return ran.out if ran.code == 0 else None

    def look(self, paths: Iterable[PurePosixPath]) -> dict[PurePosixPath, Seen | None]:
        """What is at each path, in one round trip. Raises Unavailable."""
        paths = tuple(paths)
        if not paths:
            return {}
        lines = self.must("sh", "-c", _LOOK, "look", *map(str, paths)).splitlines()
        if len(lines) != len(paths):
            raise Unavailable(f"{self.machine.name} said {len(lines)} lines about {len(paths)} paths")
        return dict(zip(paths, map(_seen, lines), strict=True))


def _seen(line: str) -> Seen | None:
    if line == "-":
        return None
    owner, group, mode, kind, *detail = line.split(" ", 4)
    if kind not in ("file", "folder", "link"):
        raise Unavailable(f"cannot read {line[:80]!r}")
    return Seen(FileMode(owner, group, int(mode, 8)), kind, detail[0] if detail else "")  # type: ignore[arg-type]  # just compared


def last_words(ran: Ran) -> str:
    """What a program that failed has said of it: its last line that calls itself an error, else its last."""
    lines = [line.strip() for line in f"{ran.out}\n{ran.error}".splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E: ", "ERROR: ", "error: "))]
    return (errors or lines or [f"exit code {ran.code}"])[-1][:500]


def said_of(text: str, say: Say, *, at_most: int = 12) -> None:
    """Say the last lines of what a program printed."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    for line in lines[-at_most:]:
        say(line[:300])
