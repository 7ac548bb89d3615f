"""The machine that is set up, as a port: over ssh from a workstation, or the very machine that this runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol


@dataclass(frozen=True)
class Ran:
    """How a program ended: exit code, and what it printed (at most 1 MiB of each, the end of it)."""

    code: int
    out: str
    error: str


@dataclass(frozen=True)
class FileMode:
    """Who owns a file or folder, and its mode."""

    owner: str = "root"
    group: str = "root"
    mode: int = 0o644


class Machine(Protocol):
    """Programs and files of a machine.

    Every method raises Unavailable (it cannot be reached, or does not answer in time; what was begun may be done or
    not) and NotAuthorized (the login, or root by sudo, is refused). Nothing secret is ever in an argument: it travels
    in `given` (standard input) or as a file's content.
    """

    @property
    def name(self) -> str:
        """What people call it: `pi@camera.local`, or `this machine`."""
        ...

    def run(self, *words: str, given: bytes = b"", root: bool = False, timeout_s: float = 60.0) -> Ran:
        """Run a program, without a shell's reading of its words, and return how it ended."""
        ...

    def read(self, path: PurePosixPath, *, root: bool = False, limit: int = 1 << 20) -> bytes | None:
        """A file's content; None where there is none. Raises InvalidInput (longer than `limit`)."""
        ...

    def write(self, path: PurePosixPath, data: bytes, mode: FileMode) -> None:
        """Put a file in place, as root: a temporary one beside it with owner and mode, synced, then renamed over it."""
        ...

    def mode_of(self, path: PurePosixPath) -> FileMode | None:
        """Owner and mode of a file or folder, as root sees it; None where there is none."""
        ...

    def close(self) -> None:
        """Give back what holds the connection."""
        ...
