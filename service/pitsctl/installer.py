"""Everything that can be done with one machine: what the wizard, the command line and Ansible ask for.

A session is one machine that was reached, what it is, and what is written down on it. It lasts until the answers name
another machine.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import msgspec

from pinthesky.errors import Conflict, NotFound
from pitsctl import answer_texts, answers_file, dev_builds, hub_finder, places, plan
from pitsctl.answers import Answers, Connection
from pitsctl.facts import Facts, cannot_of, facts_of, warnings_of
from pitsctl.home import home_steps, look_at_home
from pitsctl.ledger import Ledger
from pitsctl.local_machine import LocalMachine, RootedMachine
from pitsctl.machine import Machine
from pitsctl.parcel import WHEEL_MAX, Parcel, parcel
from pitsctl.person import Person
from pitsctl.pi_services import Handlers, Services, Units
from pitsctl.pi_software import Version, linked, versions_of
from pitsctl.pi_steps import pi_steps
from pitsctl.pi_system import DebianPackages, Folders, Suitable, User
from pitsctl.plan import Outcome, Plan
from pitsctl.site import Removal, Site
from pitsctl.ssh_machine import SshMachine
from pitsctl.steps import Progress, Step
from pitsctl.wizard.ports import Hub, Planned, Sighting

_HUBS_S = 4.0


@dataclass(frozen=True)
class _Session:
    machine: Machine
    facts: Facts
    ledger: Ledger


class PiInstaller:
    """Installs, updates and removes; made for one machine at a time, used by one thread at a time but for `close`."""

    def __init__(
        self,
        *,
        wheel: Path | None = None,
        wheelhouse: Path | None = None,
        allow_downgrade: bool = False,
        keep_home: bool = False,
    ) -> None:
        """With `keep_home` a camera that was let in needs nothing of its home: no account, no address."""
        self._wheel = wheel
        self._wheelhouse = wheelhouse
        self._allow_downgrade = allow_downgrade
        self._keep_home = keep_home
        self._parcel: Parcel | None = None
        self._machine: tuple[tuple[Connection, str], Machine] | None = None
        self._facts: Facts | None = None

    def machine(self, answers: Answers, person: Person) -> Machine:
        """The machine of these answers; it is reached at its first use."""
        wanted = (answers.connection, answers.paths.root)
        if self._machine is None or self._machine[0] != wanted:
            self.close()
            made: Machine = SshMachine(answers.connection, person) if answers.connection.host else LocalMachine(person)
            if answers.paths.root != "/":
                made = RootedMachine(made, PurePosixPath(answers.paths.root))
            self._machine = (wanted, made)
        return self._machine[1]

    def close(self) -> None:
        """Give back the connection; what is being done in another thread ends with Unavailable."""
        machine, self._machine, self._facts = self._machine, None, None
        if machine is not None:
            machine[1].close()

    # What the wizard asks for (pitsctl.wizard.ports.Installer)

    def look_at_machine(self, answers: Answers, person: Person) -> Sighting:
        """Reach the machine, and look what it is."""
        self._facts = None
        session = self._session(answers, person)
        laid = laid_under(answers, session.ledger.answers) if session.ledger.exists else None
        return replace(sighting_of(session.facts), answers=laid)

    def hubs(self) -> Sequence[Hub]:
        """Hubs that announce themselves in this network."""
        return [Hub(found.name, found.address) for found in hub_finder.find_hubs(_HUBS_S)]

    def look_at_home(self, answers: Answers, person: Person) -> Sighting:
        """Reach the home, and look what it is."""
        return look_at_home(answers, self.machine(answers, person), person)

    def plan(self, answers: Answers, person: Person) -> Sequence[Planned]:
        """Let each step look."""
        return [Planned(item.step, item.found) for item in self.looked(answers, person).items]

    def carry_out(
        self, answers: Answers, person: Person, *, progress: Progress, stop: threading.Event
    ) -> Sequence[str]:
        """Do what is needed. Raises what the step that failed has raised."""
        outcome = self.install(answers, person, progress=progress, stop=stop)
        if outcome.error is not None:
            raise outcome.error
        return self.where_to_look(answers, person) if outcome.is_complete else ()

    def take_back(self, answers: Answers, person: Person, *, progress: Progress, stop: threading.Event) -> None:
        """Undo what was done, certificate included; clips stay."""
        removal = Removal(certificates=True)
        outcome = self.remove(answers, person, removal=removal, progress=progress, stop=stop)
        if outcome.error is not None:
            raise outcome.error

    def save(self, answers: Answers, path: Path) -> None:
        """Write the answers as YAML."""
        answers_file.write(answers, path)

    # What the command line asks for beside that

    def facts(self, answers: Answers, person: Person) -> Facts:
        """What the machine is."""
        return self._session(answers, person).facts

    def ledger(self, answers: Answers, person: Person) -> Ledger:
        """What is written down on the machine."""
        return self._session(answers, person).ledger

    def parcel(self) -> Parcel:
        """What travels to the machine."""
        if self._parcel is None:
            self._parcel = parcel(self._wheel)
        return self._parcel

    def looked(self, answers: Answers, person: Person) -> Plan:
        """Let each step of the installation look."""
        session = self._session(answers, person)
        return plan.look(self._steps(session, answers, person, stop=threading.Event()))

    def install(self, answers: Answers, person: Person, *, progress: Progress, stop: threading.Event) -> Outcome:
        """Do what is needed, and write down what was answered."""
        session = self._session(answers, person)
        steps = self._steps(session, answers, person, stop=stop)
        session.ledger.remember(msgspec.structs.replace(answers, connection=Connection()))
        self._facts = None  # they change now
        return plan.carry_out(steps, session.ledger, progress=progress, stop=stop)

    def register(self, answers: Answers, person: Person, *, progress: Progress, stop: threading.Event) -> Outcome:
        """Let the camera in, and do nothing else but what that needs."""
        session = self._session(answers, person)
        site = self._site(session, answers)
        home = home_steps(answers, session.machine, session.facts, ledger=session.ledger, person=person, stop=stop)
        steps: list[Step] = [Suitable(site), DebianPackages(site), User(site), Folders(site), *home]
        session.ledger.remember(msgspec.structs.replace(answers, connection=Connection()))
        self._facts = None  # they change now
        return plan.carry_out(steps, session.ledger, progress=progress, stop=stop)

    def go_back(self, answers: Answers, person: Person, *, progress: Progress, stop: threading.Event) -> Outcome:
        """Let the version before run again. Raises NotFound where there is none."""
        session = self._session(answers, person)
        site = self._site(session, answers)
        current, _ = linked(site)
        others = [version for version in versions_of(session.machine) if version != current]
        if current is None or not others:
            raise NotFound(f"{session.machine.name} has no version to go back to")
        older = self._parcel_there(session.machine, others[-1])
        site = replace(site, parcel=lambda: older, allow_downgrade=True)
        steps: list[Step] = [Version(site), Handlers(site), Units(site), Services(site)]
        return plan.carry_out(steps, session.ledger, progress=progress, stop=stop)

    def remove(
        self, answers: Answers, person: Person, *, removal: Removal, progress: Progress, stop: threading.Event
    ) -> Outcome:
        """Undo what was installed. What was made at home, and the certificate, go only if `removal` says so."""
        session = self._session(answers, person)
        ledger, self._facts = session.ledger, None
        if not ledger.begun:
            return Outcome(())
        known = ledger.answers
        home: Sequence[Step] = ()
        if removal.certificates and known.home.kind:
            home = home_steps(known, session.machine, session.facts, ledger=ledger, person=person, stop=stop)
        site = replace(self._site(session, known), removal=removal)
        steps = pi_steps(site, home, wheelhouse=self._wheelhouse)
        outcome = plan.take_back(steps, ledger, progress=progress, stop=stop)
        if outcome.is_complete:
            for name in ledger.begun:  # what stays at home, or is a step of another version of pitsctl
                ledger.forget(name)
        return outcome

    def where_to_look(self, answers: Answers, person: Person) -> Sequence[str]:
        """Where the camera is to be seen now, a line each."""
        home = self.ledger(answers, person).home
        host = f" --host {answers.connection.host}" if answers.connection.host else ""
        lines = [f"pitsctl doctor{host}", f"pitsctl view{host}"]
        return [f"The camera is the thing {home.thing_name}.", *lines] if home is not None else lines

    def _session(self, answers: Answers, person: Person) -> _Session:
        machine = self.machine(answers, person)
        if self._facts is None:
            self._facts = facts_of(machine)
        return _Session(machine, self._facts, Ledger(machine))

    def _site(self, session: _Session, answers: Answers) -> Site:
        @functools.cache
        def fitting() -> Parcel:
            return dev_builds.fitting(self.parcel(), versions_of(session.machine))

        allowed = self._allow_downgrade
        return Site(session.machine, session.ledger, session.facts, answers, fitting, allow_downgrade=allowed)

    def _steps(self, session: _Session, answers: Answers, person: Person, *, stop: threading.Event) -> list[Step]:
        site = self._site(session, answers)
        home: Sequence[Step] = ()
        is_let_in = session.ledger.home is not None
        if (answers.home.kind and not (is_let_in and self._keep_home)) or not (is_let_in or session.facts.has_daemon):
            home = home_steps(answers, session.machine, session.facts, ledger=session.ledger, person=person, stop=stop)
        return pi_steps(site, home, wheelhouse=self._wheelhouse)

    def _parcel_there(self, machine: Machine, version: str) -> Parcel:
        path = places.WHEELS / f"pinthesky-{version}-py3-none-any.whl"
        data = machine.read(path, root=True, limit=WHEEL_MAX)
        if data is None:
            raise Conflict(
                f"the wheel of {version} is not at {path} any more: update with that version's pitsctl instead"
            )
        return Parcel.of(path.name, data)


def laid_under(answers: Answers, found: Answers) -> Answers:
    """The answers, and where nothing was answered what was found."""
    default = Answers()
    values = {}
    for path in answer_texts.PATHS:
        section, _, name = path.partition(".")
        given, usual = (getattr(getattr(told, section), name) for told in (answers, default))
        if given == usual and section != "connection":
            values[path] = getattr(getattr(found, section), name)
    return answer_texts.with_values(answers, values)


def sighting_of(facts: Facts) -> Sighting:
    """What a person is shown of a machine."""
    rows = [
        ("Model", facts.pi_model or "no Raspberry Pi that is known"),
        ("System", f"{facts.os_id} {facts.codename or facts.os_version} ({facts.architecture})"),
        ("Python", facts.python_text),
        (
            "Camera",
            " by ".join(filter(None, (facts.sensor, "" if facts.stack == "none" else facts.stack))) or "not seen",
        ),
        ("Memory", f"{facts.memory_mb} MB"),
        ("Disk", f"{facts.disk_free_mb} MB free"),
    ]
    if facts.current:
        rows.append(("Installed", facts.current))
    elif facts.has_daemon:
        rows.append(("Installed", "an older version, which is taken over"))
    return Sighting(
        rows=tuple(rows),
        warnings=warnings_of(facts),
        cannot=cannot_of(facts),
        pi_model=facts.pi_model,
        sensor=facts.sensor,
        cameras=facts.usb_cameras,
    )
