"""Where everything lies on this machine, what its owner has set, and how other programs are run."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable

SETTINGS_FILE = "/etc/pinthesky/admin.env"
"""Where the units take the environment from; named in messages only."""
_OUTPUT_MAX = 64 * 1024
_EXTRA = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")
_SETTLE_MAX_S = 600.0


class Finished(NamedTuple):
    """How a program ended: its exit code (negative: the signal), and the end of what it printed."""

    code: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line that says something."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


@dataclass(frozen=True)
class Installation:
    """Paths and the owner's settings. The defaults are what the units and the installer use."""

    versions: Path = Path("/opt/pinthesky")
    """A folder for each version, and the links `current` and `steady`."""
    state: Path = Path("/var/lib/pinthesky-admin")
    """Root's alone: the upgrade that is under way, the outcome of the last, and downloads."""
    socket: Path = Path("/run/pinthesky-admin.sock")
    errands: Path = Path("/var/lib/pinthesky/errands")
    """Notes of the jobs' steps, in the state folder of the user they run as."""
    boot_id: Path = Path("/proc/sys/kernel/random/boot_id")
    program_path: str = "/usr/sbin:/usr/bin:/sbin:/bin"
    """Where programs are looked for, whatever the environment says."""
    python: str = sys.executable
    """Makes the new environment and runs pip."""
    user: str = "pinthesky"
    sources: tuple[str, ...] = ()
    """Beginnings of the addresses that wheels may come from."""
    extras: tuple[str, ...] = ("client",)
    settle_s: float = 90.0
    """For so long a new version has to stay up: longer than the watchdog of the units takes to find one that hangs."""
    ca_bundle: Path | None = None
    """Authorities that are trusted for downloads beside those of the system."""

    @property
    def wheels(self) -> Path:
        """Where root puts wheels that are named by their file."""
        return self.state / "wheels"

    @property
    def wheelhouse(self) -> Path:
        """With this folder there, what a wheel needs comes from it and from no index."""
        return self.state / "wheelhouse"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Installation:
        """Return the installation with the owner's settings. Raises InvalidInput that names the variable."""
        sources = tuple(environment.get("PINTHESKY_UPGRADE_SOURCES", "").split())
        for source in sources:
            if not re.match(r"https://[^/?#@\s]+/([^?#]*/)?\Z", source):
                raise InvalidInput("PINTHESKY_UPGRADE_SOURCES", f"{source}: must be https://host/ and end with a slash")
        extras = tuple(environment.get("PINTHESKY_EXTRAS", "client").split())
        for extra in extras:
            if not _EXTRA.match(extra):
                raise InvalidInput("PINTHESKY_EXTRAS", f"{extra}: lower-case letters, digits and -")
        bundle = environment.get("PINTHESKY_CA_BUNDLE", "")
        if bundle and not bundle.startswith("/"):
            raise InvalidInput("PINTHESKY_CA_BUNDLE", f"{bundle}: must be a whole path")
        settle = environment.get("PINTHESKY_SETTLE_S")
        return cls(
            sources=sources,
            extras=extras,
            settle_s=cls.settle_s if settle is None else _seconds("PINTHESKY_SETTLE_S", settle),
            ca_bundle=Path(bundle) if bundle else None,
        )

    def check_source(self, source: str) -> None:
        """Raise NotAuthorized for an address that the owner has not allowed; a bare name is of root's own folder."""
        if ":" in source and not source.startswith(self.sources):
            allowed = ", ".join(self.sources) or "none"
            raise NotAuthorized(
                f"{source.partition('?')[0]} is not among the allowed sources ({allowed}): "
                f"PINTHESKY_UPGRADE_SOURCES in {SETTINGS_FILE}"
            )

    def run(
        self, command: Sequence[str | Path], *, timeout_s: float, user: str | None = None, keep: int = _OUTPUT_MAX
    ) -> Finished:
        """Run a program to its end with an environment of its own, and return how it ended.

        `keep` is how many of the last bytes that it printed are returned. `user` is whom it runs as, for root only.
        Raises Unavailable when it cannot be started or does not end in time; it is killed then, with all it started.
        """
        words = [str(word) for word in command]
        become: dict[str, Any] = {}
        try:
            if user is not None and os.geteuid() == 0:
                entry = pwd.getpwnam(user)
                become = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            process = subprocess.Popen(  # noqa: S603 - the command is ours, and there is no shell
                words,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **become,
            )
        except (OSError, KeyError) as error:
            raise Unavailable(f"{words[0]} cannot be started: {error}") from error
        with process:
            try:
                output, _ = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                raise Unavailable(f"{words[0]} did not end within {timeout_s:.0f} s") from error
        return Finished(process.returncode, output[-keep:].decode("utf-8", "replace"))

    def environment(self) -> dict[str, str]:
        """Return the environment of the programs that are run: small, and the same whoever asks."""
        scratch = self.state / "scratch"
        # pip's scratch files would fill the memory where /tmp is one.
        return {
            "PATH": self.program_path,
            "LANG": "C.UTF-8",
            "HOME": "/nonexistent",
            "SYSTEMD_COLORS": "0",
            "TMPDIR": str(scratch if scratch.is_dir() else "/tmp"),  # noqa: S108 - the units have a /tmp of their own
        }

    def current_boot(self) -> str:
        """Return what no two boots of this machine have in common. Raises Unavailable."""
        try:
            return self.boot_id.read_text(encoding="ascii").strip()
        except OSError as error:
            raise Unavailable(f"cannot tell one boot from another: {error}") from error


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise InvalidInput(name, f"{text}: must be a number of seconds") from error
    if not 0 <= seconds <= _SETTLE_MAX_S:
        raise InvalidInput(name, f"{text}: must be from 0 to {_SETTLE_MAX_S:.0f} seconds")
    return seconds
