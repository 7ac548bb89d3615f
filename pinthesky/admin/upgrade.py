"""One upgrade, from the wish to its outcome, through anything that may stop it on the way.

The wish is written down first. A unit of its own carries it out and begins again, after a kill or at the next boot, as
long as the wish is there; each step finds what the one before it has left. The order of the writes is the promise:

    wish (asked) -> wheel -> environment -> its mark -> wish (switched) -> link `current` -> services stay up
        -> link `steady` -> outcome -> the wish goes
    after a failure that came later than "switched":
        wish (back) -> link `current` -> services -> outcome -> the wish goes

`current` leads to a whole version at every moment. `steady` follows only when the new version has stayed up.
"""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from pinthesky.admin import wheel
from pinthesky.admin.installation import Installation
from pinthesky.admin.requests import CLIENT, SERVICES
from pinthesky.admin.services import Services, unit
from pinthesky.admin.upgrade_record import UpgradeOutcome, UpgradeRecord, Wish
from pinthesky.admin.versions import CURRENT, STEADY, Versions
from pinthesky.errors import Conflict, InvalidInput, InvariantBroken, NotAuthorized, PinTheSkyError, Unavailable
from pinthesky.machine import durable_files, pinned
from pinthesky.model.versions import order_of

logger = logging.getLogger(__name__)

ATTEMPTS_MAX = 4
"""An upgrade that was cut off so often is given up: it may be what brings the machine down."""
FREE_MIN = 200 * 1024 * 1024
"""Bytes of the disk that have to be free before an environment is made; it takes about half of that."""
_VENV_S = 300.0
_PIP_S = 1500.0
_PROBE_S = 90.0
_CONNECT_S = 180.0
"""Beside the time to settle: a device client waits up to a minute between its attempts to connect."""
_LOOK_EVERY_S = 1.0
_CLIENT_EXTRA = "client"
"""What the lists of hashes hold beside the wheel's own needs, where it can run."""


class Upgrader:
    """Carries the wish out that is written down. One process at a time may use it."""

    def __init__(
        self,
        installation: Installation,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._installation = installation
        self._record = UpgradeRecord(installation.state)
        self._versions = Versions(installation.versions)
        self._services = Services(installation, pause=pause)
        self._monotonic = monotonic
        self._pause = pause

    def run(self) -> UpgradeOutcome | None:
        """Carry the wish out and return its outcome; None where nobody wishes anything.

        Raises OSError where the disk refuses even the outcome, InvariantBroken where the links are not what they have
        to be. The wish stays then.
        """
        wish = self._readable_wish()
        if wish is None:
            return None
        outcome = self._record.outcome()
        if outcome is not None and outcome.identity == wish.request.identity:
            # Cut off between the outcome and the end of the wish.
            self._record.drop()
            return outcome
        wish = self._record.keep(msgspec.structs.replace(wish, attempts=wish.attempts + 1))
        logger.info("Attempt %d: %s", wish.attempts, wish.request.summary)
        outcome = self._carry_out(wish)
        wheel.forget(self._installation)
        self._record.finish(outcome)
        logger.log(logging.INFO if outcome.succeeded else logging.ERROR, "%s", outcome.text)
        return outcome

    def _readable_wish(self) -> Wish | None:
        """Return the wish. One that cannot be read is dropped, and what it may have begun is taken back."""
        try:
            return self._record.wish()
        except InvariantBroken as error:
            logger.error("%s; it is dropped", error)
        steady = self._versions.pointed_at(STEADY)
        if steady is not None and steady != self._versions.pointed_at(CURRENT):
            self._versions.point(CURRENT, steady)
            self._services.restart(SERVICES)
        self._record.drop()
        return None

    def _carry_out(self, wish: Wish) -> UpgradeOutcome:
        try:
            if wish.stage == "asked":
                if wish.attempts > ATTEMPTS_MAX:
                    raise Unavailable(f"cut off {ATTEMPTS_MAX} times before anything was changed")
                wish = self._prepare(wish)
        except _NothingToDo as nothing:
            return _outcome(wish, str(nothing), succeeded=True)
        except (PinTheSkyError, OSError) as error:
            self._versions.remove_unfinished()
            refused = isinstance(error, (InvalidInput, NotAuthorized, Conflict))
            return _outcome(wish, f"nothing was changed: {error}", refused=refused)
        if wish.stage == "switched":
            try:
                return self._switch(wish)
            except (PinTheSkyError, OSError) as error:
                reason = f"{wish.version} is not used: {error}"
            wish = self._turn_back(msgspec.structs.replace(wish, stage="back", reason=reason))
        return self._go_back(wish)

    def _turn_back(self, wish: Wish) -> Wish:
        """Write down that it goes back, and go back even if the disk has no room for that."""
        logger.error("%s", wish.reason)
        try:
            return self._record.keep(wish)
        except OSError as error:
            logger.error("Cannot write that down: %s", error)
            return wish

    def _prepare(self, wish: Wish) -> Wish:
        """Make the new version's environment and prove that it can be started. Nothing that runs is touched."""
        before = self._versions.pointed_at(CURRENT)
        if before is None:
            raise InvariantBroken(f"there is no {self._installation.versions / CURRENT}")
        if self._versions.wheel_of(before) == wish.request.sha256:
            raise _NothingToDo(f"{before} is what runs already")
        brought = wheel.bring(self._installation, wish.request)
        version = brought.version
        self._check_step(wish, before, version)
        if self._versions.wheel_of(version) is None:
            self._build(brought)
        self._probe(version)
        self._versions.complete(version, wish.request.sha256)
        states = {name: self._services.state(name) for name in SERVICES}
        changed = msgspec.structs.replace(
            wish,
            stage="switched",
            version=version,
            before=before,
            services=tuple(name for name, state in states.items() if state.is_wanted),
            connected=states[CLIENT].is_connected,
        )
        return self._record.keep(changed)

    def _check_step(self, wish: Wish, before: str, version: str) -> None:
        installed_from = self._versions.wheel_of(version)
        if installed_from not in (None, wish.request.sha256):
            raise Conflict(f"another wheel of {version} is installed, with SHA-256 {installed_from}")
        if version == before:
            raise _NothingToDo(f"{before} is what runs already")
        if order_of(version) < order_of(before) and not wish.request.allow_downgrade:
            raise InvalidInput("version", f"{version} is older than {before}, and a downgrade was not asked for")

    def _build(self, brought: wheel.Wheel) -> None:
        """Make the environment. It lies at its final place from the beginning, for its programs name that place."""
        folder = self._versions.folder_of(brought.version)
        self._versions.remove_unfinished()
        free = shutil.disk_usage(self._installation.versions).free
        if free < FREE_MIN:
            raise Unavailable(f"{free // 2**20} MiB of the disk are free, {FREE_MIN // 2**20} are needed")
        scratch = self._installation.state / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        durable_files.make_folder(scratch)
        python = self._installation.python
        self._must("venv", [python, "-m", "venv", "--system-site-packages", "--without-pip", folder], _VENV_S)
        options = ["--no-input", "--disable-pip-version-check", "--no-cache-dir", "--only-binary=:all:", "--quiet"]
        options += ["--timeout", "30", "--retries", "3"]
        pip = [python, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", *options]
        for what in self._installs(brought, scratch / "requirements.txt"):
            self._must("pip", [*pip, *what], _PIP_S)
        shutil.rmtree(scratch, ignore_errors=True)

    def _installs(self, brought: wheel.Wheel, requirements: Path) -> list[list[str]]:
        """Return what pip is to install, one after the other: by the wheel's own list of hashes where it brings one."""
        extras = self._installation.extras
        whole = f"{brought.path}[{','.join(extras)}]" if extras else str(brought.path)
        if self._installation.wheelhouse.is_dir():
            return [["--no-index", "--find-links", str(self._installation.wheelhouse), whole]]
        architecture, version = pinned.architecture_here(), f"{sys.version_info[0]}.{sys.version_info[1]}"
        listed = None
        if architecture is not None and set(extras) <= {_CLIENT_EXTRA}:
            listed = wheel.pinned_list(brought.path, pinned.list_name(architecture, version))
        if architecture is None or listed is None:
            return [[whole]]
        durable_files.replace_file(requirements, listed)
        unpinned = [one.requirement for one in pinned.elsewhere(architecture, version) if one.debian_package is None]
        by_hash = ["--require-hashes", "--no-deps", "--requirement", str(requirements)]
        return [by_hash, *([unpinned] if unpinned else []), ["--no-deps", "--no-index", str(brought.path)]]

    def _probe(self, version: str) -> None:
        """Start the new programs for a moment, not as root."""
        for program in ("pinthesky", "pinthesky-admin"):
            path = self._versions.folder_of(version) / "bin" / program
            finished = self._installation.run([path, "--version"], timeout_s=_PROBE_S, user=self._installation.user)
            if finished.code != 0:
                raise InvalidInput("wheel", f"{program} --version of {version} fails: {finished.last_line}")
            if version not in finished.output.split():
                raise InvalidInput("wheel", f"{program} --version of {version} says {finished.last_line[:80]!r}")

    def _must(self, what: str, command: Sequence[str | Path], timeout_s: float) -> None:
        finished = self._installation.run(command, timeout_s=timeout_s)
        if finished.code != 0:
            raise Unavailable(f"{what} failed with {finished.code}: {finished.last_line}")

    def _switch(self, wish: Wish) -> UpgradeOutcome:
        """Let the new version run, and wait whether it stays up."""
        version, before = _versions_in(wish)
        if wish.attempts > ATTEMPTS_MAX:
            raise Unavailable(f"cut off {ATTEMPTS_MAX} times before it had stayed up")
        self._versions.point(CURRENT, version)
        self._run_services(wish, connected=wish.connected)
        self._versions.point(STEADY, version)
        gone = self._versions.remove_all_but({version, before})
        logger.info("Kept %s for the way back%s", before, f"; removed {', '.join(gone)}" if gone else "")
        if not wish.services:
            text = f"{version} is in place of {before}; no service was running, so none was tried"
        else:
            connected = " and is connected" if wish.connected else ""
            stayed = f"stayed up for {self._installation.settle_s:.0f} s{connected}"
            text = f"{version} runs in place of {before} and {stayed}"
        return _outcome(wish, text, succeeded=True)

    def _go_back(self, wish: Wish) -> UpgradeOutcome:
        version, before = _versions_in(wish)
        self._versions.point(CURRENT, before)
        try:
            # Without a connection too: the version that was connected cannot be at fault.
            self._run_services(wish, connected=False)
        except PinTheSkyError as error:
            text = f"{wish.reason}; went back to {before}, which does not stay up either: {error}"
        else:
            text = f"{wish.reason}; went back to {before}, which runs"
        # Also where it was pointed at in the last moment before the failure.
        self._versions.point(STEADY, before)
        self._versions.remove(version)
        return _outcome(wish, text)

    def _run_services(self, wish: Wish, *, connected: bool) -> None:
        """Start the services anew. Raises Unavailable with what is wrong unless all stay up for `settle_s`.

        With `connected` the device client has to be connected at the end of it, or soon after.
        """
        for name in wish.services:
            try:
                self._services.restart([name])
            except Unavailable as error:
                raise Unavailable(self._what_happened(name)) from error
        started = {name: self._services.state(name) for name in wish.services}
        settled_at = self._monotonic() + self._installation.settle_s
        while started:
            states = {name: self._services.state(name) for name in started}
            for name, now in states.items():
                if not now.is_up or now.invocation != started[name].invocation:
                    raise Unavailable(self._what_happened(name, started[name].invocation))
            left_s = settled_at - self._monotonic()
            if left_s <= 0 and (not connected or states[CLIENT].is_connected):
                return
            if left_s <= -_CONNECT_S:
                raise Unavailable(f"{unit(CLIENT)} stays up, and was connected before, but is {states[CLIENT].text!r}")
            self._pause(min(_LOOK_EVERY_S, left_s) if left_s > 0 else _LOOK_EVERY_S)

    def _what_happened(self, name: str, invocation: str | None = None) -> str:
        state = self._services.state(name)
        last = self._services.last_words(invocation or state.invocation)
        return f"{unit(name)} did not stay up: {state.in_words}" + (f"; its last words: {last}" if last else "")


class _NothingToDo(Exception):
    """What was asked for is so already."""


def _versions_in(wish: Wish) -> tuple[str, str]:
    """The new version and the one before, which every wish has from `switched` on."""
    if wish.version is None or wish.before is None:
        raise InvariantBroken(f"an upgrade in stage {wish.stage} without its versions")
    return wish.version, wish.before


def _outcome(wish: Wish, text: str, *, succeeded: bool = False, refused: bool = False) -> UpgradeOutcome:
    request = wish.request
    return UpgradeOutcome(request.identity, request.sha256, succeeded=succeeded, refused=refused, text=text)
