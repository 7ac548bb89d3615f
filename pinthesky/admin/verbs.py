"""What each verb does."""

from __future__ import annotations

import time
from collections.abc import Callable

from pinthesky.admin import requests
from pinthesky.admin.installation import Installation
from pinthesky.admin.requests import SERVICES, Answer
from pinthesky.admin.services import UPGRADE_UNIT, Services
from pinthesky.admin.upgrade_record import UpgradeOutcome, UpgradeRecord
from pinthesky.admin.versions import CURRENT, STEADY, Versions
from pinthesky.errors import Conflict, InvalidInput, InvariantBroken, NotAuthorized, PinTheSkyError, Unavailable

UPGRADE_WAIT_S = 3600.0
"""After this an answer is given in any case; the upgrade goes on, and asking again waits again."""
_LOOK_EVERY_S = 0.5
_STAGES = {
    "asked": "the new version is being fetched and installed beside the old one",
    "switched": "the services run the new version; waiting whether it stays up",
    "back": "going back to the version before",
}

Tell = Callable[[str], None]
"""Sends one line on the way to the answer."""


class Verbs:
    """Carries requests out. Never raises what was foreseen: that is an answer too."""

    def __init__(
        self,
        installation: Installation,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._installation = installation
        self._services = Services(installation, pause=pause)
        self._versions = Versions(installation.versions)
        self._record = UpgradeRecord(installation.state)
        self._monotonic = monotonic
        self._pause = pause

    def carry_out(self, request: requests.Request, tell: Tell) -> Answer:
        """Do what is asked, telling lines on the way, and return the answer."""
        try:
            return self._carry_out(request, tell)
        except (InvalidInput, NotAuthorized) as error:
            return Answer("refused", str(error))
        except Conflict as error:
            return Answer("busy", str(error))
        except (PinTheSkyError, OSError) as error:
            return Answer("failed", str(error))

    def _carry_out(self, request: requests.Request, tell: Tell) -> Answer:
        if isinstance(request, requests.Status):
            return self._status()
        if isinstance(request, requests.ReadServiceLogs):
            return self._log(request, tell)
        if isinstance(request, requests.Upgrade):
            return self._upgrade(request, tell)
        if isinstance(request, requests.RotateCertificate):
            return Answer("refused", "rotate-certificate is not offered by this version")
        if isinstance(request, requests.Reboot):
            self._not_while_upgrading(request)
            self._services.reboot()
            return Answer("done", "the reboot is on its way")
        if isinstance(request, requests.Shutdown):
            self._not_while_upgrading(request)
            self._services.power_off()
            return Answer("done", "the machine is switching itself off")
        return self._change_services(request)

    def _change_services(
        self, request: requests.StartServices | requests.StopServices | requests.RestartServices
    ) -> Answer:
        self._not_while_upgrading(request)
        names = [name for name in SERVICES if name in request.services]
        if isinstance(request, requests.StartServices):
            self._services.start(names)
            done = "started"
        elif isinstance(request, requests.StopServices):
            self._services.stop(names)
            done = "stopped"
        else:
            self._services.restart(names)
            done = "restarted"
        return Answer("done", f"{done} {' and '.join(names)}")

    def _not_while_upgrading(self, request: requests.Request) -> None:
        """An upgrade watches the services, and would take this for a fault of the new version.

        One that systemd has given up, over a full disk perhaps, does not: nothing stands in the way of what may help.
        """
        if self._record.has_wish and self._services.state(UPGRADE_UNIT).active != "failed":
            raise Conflict(f"{request.name} waits until the upgrade that is under way is over")

    def _status(self) -> Answer:
        states = {name: self._services.state(name) for name in SERVICES}
        current, steady = self._versions.pointed_at(CURRENT), self._versions.pointed_at(STEADY)
        under_way, outcome = self._upgrade_under_way(), self._record.outcome()
        lines = [f"{name}: {state.in_words}" for name, state in states.items()]
        lines.append(f"version {current or 'not installed'}, kept beside it: {self._others(current)}")
        if under_way is not None:
            lines.append(under_way)
        if outcome is not None:
            lines.append(f"the last upgrade: {outcome.text}")
        facts: dict[str, str | bool | None] = {name: state.active for name, state in states.items()}
        all_up = all(state.is_up for state in states.values())
        facts |= {"current": current, "steady": steady, "upgrading": under_way is not None, "all_up": all_up}
        return Answer("done", "\n".join(lines), facts)

    def _upgrade_under_way(self) -> str | None:
        try:
            wish = self._record.wish()
        except InvariantBroken as error:
            return str(error)
        return None if wish is None else f"an upgrade is under way: {_STAGES[wish.stage]}"

    def _others(self, current: str | None) -> str:
        try:
            others = [name for name in self._versions.present() if name != current]
        except FileNotFoundError:
            others = []
        return ", ".join(others) or "none"

    def _log(self, request: requests.ReadServiceLogs, tell: Tell) -> Answer:
        lines = self._services.log(request.service, request.lines)
        for line in lines:
            tell(line)
        return Answer("done", f"{len(lines)} lines of {request.service}")

    def _upgrade(self, request: requests.Upgrade, tell: Tell) -> Answer:
        """Have the upgrade carried out by its own unit, and wait for it: this process may end before it does."""
        outcome = self._record.outcome()
        if outcome is not None and outcome.identity == request.identity and not self._record.has_wish:
            return _answer(outcome)
        self._installation.check_source(request.source)
        is_new = self._record.ask(request)
        try:
            # Also for one that is under way: it may have been given up, and then goes on.
            self._services.begin_upgrade()
        except Unavailable:
            if is_new:
                self._record.drop()
            raise
        if not is_new:
            self._check_whose(request)
        return self._wait_for_upgrade(request, tell)

    def _check_whose(self, request: requests.Upgrade) -> None:
        try:
            wish = self._record.wish()
        except InvariantBroken as error:
            raise Conflict(f"{error}; it is being cleared away") from error
        if wish is not None and wish.request.identity != request.identity:
            raise Conflict(f"another upgrade is under way: {wish.request.shown_source}")

    def _wait_for_upgrade(self, request: requests.Upgrade, tell: Tell) -> Answer:
        deadline = self._monotonic() + UPGRADE_WAIT_S
        told = None
        while self._monotonic() < deadline:
            wish = self._record.wish()
            if wish is None:
                outcome = self._record.outcome()
                if outcome is not None and outcome.identity == request.identity:
                    return _answer(outcome)
                raise Unavailable("the upgrade ended without an outcome; read-service-logs pinthesky-upgrade says more")
            if wish.stage != told:
                tell(_STAGES[wish.stage])
                told = wish.stage
            if self._services.state(UPGRADE_UNIT).active == "failed":
                raise Unavailable("the upgrade was given up; read-service-logs pinthesky-upgrade says more")
            self._pause(_LOOK_EVERY_S)
        return Answer("busy", "the upgrade is still under way; ask again later")


def _answer(outcome: UpgradeOutcome) -> Answer:
    if outcome.succeeded:
        return Answer("done", outcome.text)
    return Answer("refused" if outcome.refused else "failed", outcome.text)
