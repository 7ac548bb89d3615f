"""A machine whose programs are reached by one command line of this workstation: what ssh and the very machine share.

A program never sees a shell, but for the few scripts here; what is secret travels on standard input.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import PurePosixPath

from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable
from pitsctl.machine import FileMode, Ran
from pitsctl.person import Person
from pitsctl.programs import KEPT_MAX, Ended, Programs

ENVIRONMENT = ("env", "LC_ALL=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
"""The same for every program, whoever logs in."""
_QUICK_S = 60.0
_TRIES = 3
_ABSENT = 44
"""Exit code of the scripts for a file that is not there."""

_READ = """
[ -e "$1" ] || exit 44
exec head -c "$2" -- "$1"
"""
# What a lost connection cuts short is never put in place: number of bytes and digest are compared first.
_WRITE = """
set -eu
folder=${1%/*}
new=$(mktemp -- "$folder/.pitsctl-XXXXXXXX")
trap 'rm -f -- "$new"' EXIT
trap 'exit 1' HUP INT PIPE TERM
cat > "$new"
[ "$(sha256sum < "$new")" = "$2  -" ] || { echo "what arrived is not what was sent" >&2; exit 1; }
chown -- "$3" "$new"
chmod -- "$4" "$new"
sync -- "$new"
mv -fT -- "$new" "$1"
trap - EXIT
sync -- "$folder"
"""
_MODE = """
[ -e "$1" ] || [ -L "$1" ] || exit 44
exec stat -c '%U %G %a' -- "$1"
"""


class ShellMachine:
    """Programs and files of a machine, as the port `Machine` has them. A subclass says how a command gets there."""

    def __init__(self, name: str, person: Person | None) -> None:
        """`person` is asked for root's password where sudo wants one; without a person that is refused."""
        self._name = name
        self._person = person
        self._programs = Programs()
        self._root: tuple[str, ...] | None = None
        self._password: bytes | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self._name

    def run(self, *words: str, given: bytes = b"", root: bool = False, timeout_s: float = _QUICK_S) -> Ran:
        """Run a program, without a shell's reading of its words, and return how it ended."""
        ended = self._ended(words, given=given, root=root, timeout_s=timeout_s)
        return Ran(ended.code, ended.out.decode("utf-8", "replace"), ended.error.decode("utf-8", "replace"))

    def read(self, path: PurePosixPath, *, root: bool = False, limit: int = 1 << 20) -> bytes | None:
        """A file's content; None where there is none. Raises InvalidInput (longer than `limit`)."""
        words = ("sh", "-c", _READ, "read", str(path), str(limit + 1))
        ended = self._ended(words, root=root, timeout_s=_patience_s(limit), kept=limit + 1)
        if ended.code == _ABSENT:
            return None
        if ended.code != 0:
            raise InvalidInput(str(path), f"cannot be read on {self.name}: {_last_line(ended)}")
        if len(ended.out) > limit:
            raise InvalidInput(str(path), f"is longer than {limit} bytes on {self.name}")
        return ended.out

    def write(self, path: PurePosixPath, data: bytes, mode: FileMode) -> None:
        """Put a file in place, as root: a temporary one beside it with owner and mode, synced, then renamed over it."""
        digest = hashlib.sha256(data).hexdigest()
        words = ("sh", "-c", _WRITE, "write", str(path), digest, f"{mode.owner}:{mode.group}", f"{mode.mode:o}")
        ended = self._ended(words, given=data, root=True, timeout_s=_patience_s(len(data)))
        if ended.code != 0:
            raise Unavailable(f"cannot write {path} on {self.name}: {_last_line(ended)}")

    def mode_of(self, path: PurePosixPath) -> FileMode | None:
        """Owner and mode of a file or folder, as root sees it; None where there is none."""
        ended = self._ended(("sh", "-c", _MODE, "mode", str(path)), root=True)
        if ended.code == _ABSENT:
            return None
        words = ended.out.decode("utf-8", "replace").split()
        if ended.code != 0 or len(words) != 3:
            raise Unavailable(f"cannot look at {path} on {self.name}: {_last_line(ended)}")
        return FileMode(words[0], words[1], int(words[2], 8))

    def close(self) -> None:
        """Give back what holds the connection; what is being run ends with Unavailable."""
        self._programs.end_all()

    def follow(self, *words: str) -> int:
        """Run a program as root whose output goes to this one's, until it ends or Ctrl-C; returns its exit code."""
        prefix = self._become_root()
        secret = b"" if self._password is None else self._password
        command = self._command((*prefix, *ENVIRONMENT, *words))
        process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - our own words
        try:
            process.communicate(secret)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
        return process.returncode

    def _ended(
        self,
        words: Sequence[str],
        *,
        given: bytes = b"",
        root: bool = False,
        timeout_s: float = _QUICK_S,
        kept: int = KEPT_MAX,
    ) -> Ended:
        if not root:
            return self._reach((*ENVIRONMENT, *words), given, timeout_s, kept=kept)
        prefix = self._become_root()
        secret = b"" if self._password is None else self._password
        return self._reach((*prefix, *ENVIRONMENT, *words), secret + given, timeout_s, kept=kept)

    def _command(self, words: Sequence[str]) -> list[str]:
        """The command of this workstation that runs the words on the machine. Raises Unavailable, NotAuthorized."""
        raise NotImplementedError

    def _check(self, ended: Ended) -> Ended:
        """See whether the command got there. Raises Unavailable, NotAuthorized."""
        return ended

    def _reach(self, words: Sequence[str], given: bytes, timeout_s: float, *, kept: int = KEPT_MAX) -> Ended:
        command = self._command(words)
        return self._check(self._programs.run(command, given=given, timeout_s=timeout_s, kept=kept))

    def _become_root(self) -> tuple[str, ...]:
        """What goes before a command that root has to run; found out once."""
        if self._root is None:
            if self._reach((*ENVIRONMENT, "id", "-u"), b"", _QUICK_S).out.strip() == b"0":
                self._root = ()
            elif self._reach(("sudo", "-k", "-n", "true"), b"", _QUICK_S).code == 0:
                self._root = ("sudo", "-n", "--")
            else:
                self._password = self._asked_password()
                # -k: what sudo remembers would leave the password on the program's own standard input.
                self._root = ("sudo", "-k", "-S", "-p", "", "--")
        return self._root

    def _asked_password(self) -> bytes:
        """Ask until sudo takes it. Raises NotAuthorized."""
        question = f"Password of {self.name} for sudo"
        for _ in range(_TRIES):
            answer = None if self._person is None else self._person.secret(question)
            if answer is None:
                break
            password = answer.encode() + b"\n"
            ended = self._reach(("sudo", "-k", "-S", "-p", "", "--", "true"), password, _QUICK_S)
            if ended.code == 0:
                return password
            said = _last_line(ended)
            if "password" not in said and "try again" not in said:
                raise NotAuthorized(f"{self.name}: cannot become root: {said}")
            question = f"That was not it. Password of {self.name} for sudo"
        raise NotAuthorized(
            f"{self.name}: root is needed, and sudo there asks for a password that was not given: "
            "answer when you are asked, set PITSCTL_SUDO_PASSWORD, or log in as a user whose sudo asks for none"
        )


def _patience_s(size: int) -> float:
    """How long so many bytes may take: 20 kB/s is a bad day of a Zero's wireless network."""
    return _QUICK_S + size / 20_000


def _last_line(ended: Ended) -> str:
    lines = [line.strip() for line in ended.error.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {ended.code}"
