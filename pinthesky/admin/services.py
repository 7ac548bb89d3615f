"""The service manager, through systemctl and journalctl."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pinthesky.admin.installation import Finished, Installation
from pinthesky.admin.requests import LOG_BYTES_MAX, Journal, shown
from pinthesky.errors import Unavailable

UPGRADE_UNIT = "pinthesky-upgrade.service"
_CHANGE_TIMEOUT_S = 200.0
"""A start waits for READY=1 (90 s), a stop may take the 35 s that the unit allows, and a restart both."""
_LOOK_TIMEOUT_S = 20.0
_LOOK_AGAIN_S = (0.2, 1.0, 3.0)
"""While a machine starts, systemd may break off the conversation. To look again does no harm."""
_PROPERTIES = "ActiveState,SubState,Result,ExecMainStatus,NRestarts,InvocationID,StatusText,LoadState"


@dataclass(frozen=True)
class UnitState:
    """How one unit is, in systemd's own words."""

    active: str
    sub: str
    result: str
    exit_status: str
    restarts: str
    invocation: str
    text: str
    loaded: bool

    @property
    def is_up(self) -> bool:
        """Whether it runs and has said that it is ready."""
        return self.active == "active" and self.sub == "running"

    @property
    def is_connected(self) -> bool:
        """Whether it runs and says that it is connected, as the device client does in its status text."""
        return self.is_up and self.text.startswith("connected ")

    @property
    def is_wanted(self) -> bool:
        """Whether it runs or is meant to: one that falls over and over again is not stopped."""
        return self.loaded and self.active in ("active", "activating", "reloading", "failed")

    @property
    def in_words(self) -> str:
        """The state as a person would say it."""
        if not self.loaded:
            return "not installed"
        words = f"{self.active} ({self.sub})"
        if self.result not in ("success", ""):
            words += f", {self.result}"
            if self.result == "exit-code":
                words += f" {self.exit_status}"
        return f"{words}: {self.text}" if self.is_up and self.text else words


class Services:
    """Starts, stops and looks at units. All methods raise Unavailable when systemd does not answer or refuses."""

    def __init__(self, installation: Installation, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._installation = installation
        self._pause = pause

    def start(self, names: Sequence[str]) -> None:
        """Start the services, and wait until each is ready."""
        self._change("start", names)

    def stop(self, names: Sequence[str]) -> None:
        """Stop the services, and wait until each has ended."""
        self._change("stop", names)

    def restart(self, names: Sequence[str]) -> None:
        """Stop and start the services, and wait until each is ready. What had failed is forgiven first."""
        self._systemctl("reset-failed", *map(unit, names), timeout_s=_LOOK_TIMEOUT_S)
        self._change("restart", names)

    def reboot(self) -> None:
        """Ask for a reboot; returns when it is on its way."""
        self._must("--no-block", "reboot")

    def power_off(self) -> None:
        """Ask for the end; returns when it is on its way."""
        self._must("--no-block", "poweroff")

    def begin_upgrade(self) -> None:
        """Have the unit started that carries an upgrade out; returns at once."""
        self._systemctl("reset-failed", UPGRADE_UNIT, timeout_s=_LOOK_TIMEOUT_S)
        self._must("--no-block", "start", UPGRADE_UNIT)

    def state(self, name: str) -> UnitState:
        """Return how the service is; one that is not installed is in a state too."""
        finished = self._look(name)
        for pause_s in _LOOK_AGAIN_S:
            if finished.code == 0:
                break
            self._pause(pause_s)
            finished = self._look(name)
        if finished.code != 0:
            raise Unavailable(f"systemctl show {unit(name)}: {finished.last_line}")
        facts = dict(line.split("=", 1) for line in finished.output.splitlines() if "=" in line)
        return UnitState(
            active=facts.get("ActiveState", "unknown"),
            sub=facts.get("SubState", "unknown"),
            result=facts.get("Result", ""),
            exit_status=facts.get("ExecMainStatus", ""),
            restarts=facts.get("NRestarts", "0"),
            invocation=facts.get("InvocationID", ""),
            text=shown(facts.get("StatusText", ""), 200),
            loaded=facts.get("LoadState") == "loaded",
        )

    def log(self, name: Journal, lines: int) -> list[str]:
        """Return the last `lines` lines of the service, oldest first, of at most LOG_BYTES_MAX in all.

        Where they are more, it is the oldest that are left out. What journalctl prints is bounded by itself: journald
        cuts a line at 48 KiB.
        """
        pattern = "pinthesky-admin@*.service" if name == "pinthesky-admin" else unit(name)
        options = ("--no-pager", "--quiet", "--output=short-iso", f"--lines={lines}", f"--unit={pattern}")
        finished = self._installation.run(("journalctl", *options), timeout_s=_LOOK_TIMEOUT_S, keep=LOG_BYTES_MAX)
        if finished.code != 0:
            raise Unavailable(f"journalctl: {finished.last_line}")
        return [shown(line) for line in finished.output.splitlines()[-lines:]]

    def last_words(self, invocation: str) -> str:
        """Return the last thing that this run of the service logged, or "" where nothing can be found."""
        options = ("--no-pager", "--quiet", "--output=cat", "--lines=1", f"_SYSTEMD_INVOCATION_ID={invocation}")
        if not invocation.isalnum():
            return ""
        try:
            finished = self._installation.run(("journalctl", *options), timeout_s=_LOOK_TIMEOUT_S)
        except Unavailable:
            return ""
        return shown(finished.output.strip(), 300) if finished.code == 0 else ""

    def _look(self, name: str) -> Finished:
        return self._systemctl("show", f"--property={_PROPERTIES}", unit(name), timeout_s=_LOOK_TIMEOUT_S)

    def _change(self, verb: str, names: Sequence[str]) -> None:
        self._must(verb, *map(unit, names))

    def _must(self, *words: str) -> None:
        finished = self._systemctl(*words, timeout_s=_CHANGE_TIMEOUT_S)
        if finished.code != 0:
            raise Unavailable(f"systemctl {' '.join(words)}: {shown(finished.output.strip(), 300)}")

    def _systemctl(self, *words: str, timeout_s: float) -> Finished:
        return self._installation.run(("systemctl", "--no-ask-password", *words), timeout_s=timeout_s)


def unit(name: str) -> str:
    """Return the name of the unit of a service."""
    return name if name.endswith(".service") else f"{name}.service"
