"""A machine over ssh, by OpenSSH's own client: its configuration, agent, jump hosts and known_hosts hold.

One connection for everything (ControlMaster), in a folder of this process's own. The host's key is always checked; what
ssh wants to know from a person goes through `askpass`, and without a person ssh asks nothing (BatchMode).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pinthesky.errors import InvalidInput, NotAuthorized, PinTheSkyError, Unavailable
from pitsctl.answers import Connection
from pitsctl.askpass import Askpass
from pitsctl.person import Person
from pitsctl.programs import Ended
from pitsctl.shell_machine import ShellMachine

_CONNECT_S = 20
_ALIVE_EVERY_S = 5
_ALIVE_TRIES = 4
"""A connection that is silent for 20 s is lost."""
_PERSIST_S = 120
"""Ends ssh's master process where this one could not."""
_ASKED_S = 300.0
"""A person who types a password, or compares a fingerprint."""
_SOCKET = "m"
_FOLDER_MAX = 60
_FAILED = 255
"""ssh's own exit code; a program of the machine that ends so is not told from a lost connection."""


class SshMachine(ShellMachine):
    """The machine of `connection`. It is reached at the first use, and again after a lost connection."""

    def __init__(self, connection: Connection, person: Person | None = None, *, ssh: str = "ssh") -> None:
        """Raises InvalidInput for a host that ssh would read as a flag."""
        if not connection.host or connection.host.startswith("-") or re.search(r"\s", connection.host):
            raise InvalidInput("connection.host", "must be user@host, or a name of your ssh configuration")
        super().__init__(connection.host, person)
        self._connection = connection
        self._ssh = ssh
        self._folder: Path | None = None
        self._askpass: Askpass | None = None
        self._is_reached = False
        self._configured: Mapping[str, str] | None = None

    def close(self) -> None:
        """End the connection."""
        folder, self._folder = self._folder, None
        super().close()
        if self._askpass is not None:
            self._askpass.close()
            self._askpass = None
        if folder is not None:
            with contextlib.suppress(PinTheSkyError):
                self._programs.run(self._master(folder, "-O", "exit"), timeout_s=10)
            shutil.rmtree(folder, ignore_errors=True)
        self._is_reached = False

    def _command(self, words: Sequence[str]) -> list[str]:
        folder = self._private_folder()
        if not self._is_reached:
            self._log_in(folder)
        batch = ("-o", "BatchMode=yes")
        return [self._ssh, *self._options(folder), *batch, "--", self._connection.host, shlex.join(words)]

    def _check(self, ended: Ended) -> Ended:
        if ended.code == _FAILED or ended.code < 0:
            self._is_reached = False
            if self._folder is None:
                raise Unavailable(f"{self.name}: the connection was given up")
            raise self._failure(ended, self._folder)
        return ended

    def _log_in(self, folder: Path) -> None:
        """Open the connection that everything after it shares; this is where ssh may ask."""
        asks = self._askpass is not None
        command = [self._ssh, *self._options(folder), "-o", f"BatchMode={'no' if asks else 'yes'}"]
        environment = {**os.environ, **(self._askpass.environment if self._askpass is not None else {})}
        ended = self._programs.run(
            [*command, "--", self._connection.host, "true"],
            timeout_s=_ASKED_S if asks else 2 * _CONNECT_S,
            environment=environment,
        )
        if ended.code != 0:
            raise self._failure(ended, folder)
        self._is_reached = True

    def _private_folder(self) -> Path:
        if self._folder is None:
            usual = tempfile.gettempdir()
            # A socket's path may have 103 characters on some systems, and ssh needs 18 of them while it makes one.
            where = usual if len(usual) <= _FOLDER_MAX else "/tmp"  # noqa: S108 - mkdtemp makes it private
            self._folder = Path(tempfile.mkdtemp(prefix="pitsctl-", dir=where))
            if self._person is not None:
                self._askpass = Askpass(self._folder, self._person)
        return self._folder

    def _options(self, folder: Path) -> list[str]:
        options: dict[str, object] = {
            "ControlMaster": "auto",
            "ControlPath": folder / _SOCKET,
            "ControlPersist": _PERSIST_S,
            "ConnectTimeout": _CONNECT_S,
            "ServerAliveInterval": _ALIVE_EVERY_S,
            "ServerAliveCountMax": _ALIVE_TRIES,
            "NumberOfPasswordPrompts": 3,
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "ClearAllForwardings": "yes",
            "LogLevel": "INFO",
        }
        if self._checks_no_host():
            options["StrictHostKeyChecking"] = "ask"
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["-T", *self._where(), *words]

    def _where(self) -> list[str]:
        connection = self._connection
        port = [] if connection.port is None else ["-p", str(connection.port)]
        identity = ["-i", connection.identity_file] if connection.identity_file else []
        return [*port, *identity]

    def _checks_no_host(self) -> bool:
        """Whether the person's own configuration would let any host in."""
        if self._configured is None:
            ended = self._programs.run([self._ssh, "-G", *self._where(), "--", self._connection.host], timeout_s=30)
            if ended.code != 0:
                raise InvalidInput("connection.host", _words_of(ended) or "is refused by ssh")
            lines = (line.partition(" ") for line in ended.out.decode("utf-8", "replace").splitlines())
            self._configured = {name: value for name, _, value in lines}
        return self._configured.get("stricthostkeychecking") in ("no", "off", "false")

    def _master(self, folder: Path, *words: str) -> list[str]:
        return [self._ssh, "-o", f"ControlPath={folder / _SOCKET}", *self._where(), *words, "--", self._connection.host]

    def _failure(self, ended: Ended, folder: Path) -> PinTheSkyError:
        """What ssh's words mean, and what to do about it."""
        said = _words_of(ended)
        login = shlex.join(["ssh", *self._where(), self._connection.host])
        if "HOST IDENTIFICATION HAS CHANGED" in said:
            offending = re.search(r"Offending (\S+ )?key in (.+):\d+", said)
            known = offending[2] if offending else "your known_hosts"
            return NotAuthorized(
                f"{self.name}: its host key is another one than before ({self._fingerprint(folder)}). If the system "
                "was installed anew that is expected, else somebody may stand in between. To accept it: "
                f"ssh-keygen -f {shlex.quote(known)} -R HOST, then {login}"
            )
        if "Host key verification failed" in said:
            return NotAuthorized(
                f"{self.name}: its host key is not known here yet ({self._fingerprint(folder)}). Compare it with "
                "what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the machine, and accept it once: "
                f"{login}"
            )
        if "Permission denied" in said or "Too many authentication failures" in said:
            return NotAuthorized(f"{self.name}: the login is refused ({_last(said)}). This has to work first: {login}")
        reason = _last(said) or f"ssh ended with {ended.code}"
        return Unavailable(f"{self.name} cannot be reached: {reason}")

    def _fingerprint(self, folder: Path) -> str:
        """The key that the host shows, asked for by ssh itself, so that aliases and jump hosts count."""
        command = [self._ssh, "-v", "-o", "ControlPath=none", "-o", "BatchMode=yes", *self._options(folder)]
        with contextlib.suppress(Unavailable):
            ended = self._programs.run([*command, "--", self._connection.host, "true"], timeout_s=2 * _CONNECT_S)
            found = re.findall(r"Server host key: (\S+ \S+)", ended.error.decode("utf-8", "replace"))
            if found:
                return str(found[-1])
        return "ssh does not show it"


def _words_of(ended: Ended) -> str:
    return ended.error.decode("utf-8", "replace").strip()


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("debug")]
    return lines[-1].removeprefix("ssh: ") if lines else ""
