"""A machine for pitsctl whose files lie in a folder of ours, and whose programs are this machine's, or stand in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from pinthesky.errors import InvalidInput, Unavailable
from pitsctl.machine import FileMode, Ran

OF_THE_MACHINE = ("/etc/pinthesky", "/var/lib/pinthesky", "/opt/pinthesky", "/run/systemd")
"""Paths that mean the folder's."""


class FolderMachine:
    """The port `Machine`. Owners are only written down; `stand_in` gives the machine a program of its own."""

    name = "camera.test"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "stand-ins"
        self.bin.mkdir(parents=True)
        self.ran: list[tuple[str, ...]] = []
        self.written: list[str] = []
        self.owners: dict[str, FileMode] = {}
        self.before_write: Callable[[PurePosixPath], None] = lambda _: None
        """Called before every write; may raise, as a connection does that is lost."""
        self.is_reachable = True
        for path in ("etc/pinthesky/certificates", "var/lib/pinthesky", "opt/pinthesky"):
            (folder / path).mkdir(parents=True)
        self.path("/etc/pinthesky/certificates").chmod(0o700)

    def path(self, path: str | PurePosixPath) -> Path:
        """Where a path of the machine lies."""
        return self.folder / str(path).lstrip("/")

    def stand_in(self, name: str, script: str) -> None:
        """Give the machine a shell script as a program."""
        program = self.bin / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def run(self, *words: str, given: bytes = b"", root: bool = False, timeout_s: float = 60.0) -> Ran:
        self._reach()
        self.ran.append(words)
        if self._gives_away(words):
            return Ran(0, "", "")
        mine = [self._mapped(word) for word in _without_owner(words)]
        path = f"{self.bin}:{os.environ['PATH']}"
        try:
            done = subprocess.run(
                mine,
                input=given,
                capture_output=True,
                timeout=timeout_s,
                check=False,
                env={**os.environ, "PATH": path, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            return Ran(127, "", f"{words[0]}: not found")
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{words[0]} did not end within {timeout_s} s") from error
        return Ran(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def read(self, path: PurePosixPath, *, root: bool = False, limit: int = 1 << 20) -> bytes | None:
        self._reach()
        try:
            content = self.path(path).read_bytes()
        except FileNotFoundError:
            return None
        if len(content) > limit:
            raise InvalidInput(str(path), f"is longer than {limit} bytes")
        return content

    def write(self, path: PurePosixPath, data: bytes, mode: FileMode) -> None:
        self._reach()
        self.before_write(path)
        target = self.path(path)
        assert target.parent.is_dir(), f"there is no folder for {path}"
        temporary = target.with_name(f".{target.name}.new")
        temporary.write_bytes(data)
        temporary.chmod(mode.mode)
        temporary.replace(target)
        self.written.append(str(path))
        self.owners[str(path)] = mode

    def mode_of(self, path: PurePosixPath) -> FileMode | None:
        self._reach()
        try:
            mode = self.path(path).stat().st_mode & 0o7777
        except FileNotFoundError:
            return None
        known = self.owners.get(str(path), FileMode())
        return FileMode(known.owner, known.group, mode)

    def close(self) -> None:
        """Nothing is held."""

    def _reach(self) -> None:
        if not self.is_reachable:
            raise Unavailable(f"{self.name} cannot be reached: the connection is lost")

    def _gives_away(self, words: tuple[str, ...]) -> bool:
        """Write down whose a file becomes; whether that was all."""
        if words[0] == "install" and "-o" in words:
            owner, group = (words[words.index(flag) + 1] for flag in ("-o", "-g"))
            self.owners[words[-1]] = FileMode(owner, group)
        elif words[0] == "mv" and words[-2] in self.owners:
            self.owners[words[-1]] = self.owners.pop(words[-2])
        elif words[0] == "chown":
            owner, _, group = words[1].partition(":")
            self.owners[words[-1]] = FileMode(owner, group)
        return words[0] == "chown"

    def _mapped(self, word: str) -> str:
        return str(self.path(word)) if word.startswith(OF_THE_MACHINE) else word


def _without_owner(words: tuple[str, ...]) -> list[str]:
    """`install` without its options of owner and group: the tests need not be root."""
    if words[0] != "install":
        return list(words)
    left, skip = [], False
    for word in words:
        if not skip and word not in ("-o", "-g"):
            left.append(word)
        skip = word in ("-o", "-g")
    return left
