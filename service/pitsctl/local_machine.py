"""The very machine that this runs on, and a root file system that is not booted: a mounted card, an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from pinthesky.errors import InvalidInput
from pitsctl.machine import FileMode, Machine, Ran
from pitsctl.person import Person
from pitsctl.shell_machine import ENVIRONMENT, ShellMachine

_HAS_DEVICES = '[ -c "$1/dev/null" ] && [ -e "$1/proc/self/mounts" ]'


class LocalMachine(ShellMachine):
    """This machine: root by sudo, unless this runs as root."""

    def __init__(self, person: Person | None = None) -> None:
        super().__init__("this machine", person)

    def _command(self, words: Sequence[str]) -> list[str]:
        return list(words)


class RootedMachine:
    """The system below another root of a machine: its programs are run by chroot, as root always."""

    def __init__(self, machine: Machine, root: PurePosixPath) -> None:
        self._machine = machine
        self._root = root
        self._is_checked = False

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self._root} of {self._machine.name}"

    def run(self, *words: str, given: bytes = b"", root: bool = False, timeout_s: float = 60.0) -> Ran:  # noqa: ARG002 - chroot is root's
        """Run a program of that system."""
        self._check_devices()
        inside = ("chroot", str(self._root), *ENVIRONMENT, *words)
        return self._machine.run(*inside, given=given, root=True, timeout_s=timeout_s)

    def read(self, path: PurePosixPath, *, root: bool = False, limit: int = 1 << 20) -> bytes | None:  # noqa: ARG002 - as above
        """A file's content."""
        return self._machine.read(self._below(path), root=True, limit=limit)

    def write(self, path: PurePosixPath, data: bytes, mode: FileMode) -> None:
        """Put a file in place. Its owner is by number there, so that both systems' users may differ."""
        self._machine.write(self._below(path), data, self._by_number(mode))

    def mode_of(self, path: PurePosixPath) -> FileMode | None:
        """Owner and mode, by that system's names."""
        ran = self.run("stat", "-c", "%U %G %a", "--", str(path))
        if ran.code != 0:
            return None
        owner, group, mode = ran.out.split()
        return FileMode(owner, group, int(mode, 8))

    def close(self) -> None:
        """Give back what holds the connection."""
        self._machine.close()

    def _check_devices(self) -> None:
        """See once that its programs will find what they need of a running system."""
        if self._is_checked:
            return
        if self._machine.run("sh", "-c", _HAS_DEVICES, "devices", str(self._root), root=True).code != 0:
            raise InvalidInput(
                "paths.root",
                f"{self._root} has no /dev and /proc, which its programs need: "
                f"sudo mount --rbind /dev {self._root}/dev; sudo mount --rbind /proc {self._root}/proc",
            )
        self._is_checked = True

    def _below(self, path: PurePosixPath) -> PurePosixPath:
        return self._root / path.relative_to("/")

    def _by_number(self, mode: FileMode) -> FileMode:
        if (mode.owner, mode.group) == ("root", "root"):
            return mode
        owner = self.run("id", "-u", mode.owner).out.strip() or mode.owner
        group = self.run("getent", "group", mode.group).out.split(":")
        return FileMode(owner, group[2] if len(group) > 2 else mode.group, mode.mode)
