"""A root file system to install into, a home that lets every camera in, and one line for what a test wants of both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pitsctl import places, plan
from pitsctl.answers import Answers, Home
from pitsctl.camera_home import CameraHome
from pitsctl.facts import Facts
from pitsctl.ledger import Ledger
from pitsctl.machine import Machine
from pitsctl.parcel import Parcel
from pitsctl.pi_steps import pi_steps
from pitsctl.plan import Outcome, Plan
from pitsctl.site import Removal, Site
from pitsctl.steps import Found, Say, Step, Verdict
from tests.support.pretend_root import PretendRoot, made_up_parcel, missing

ZERO_2 = Facts(
    pi_model="Raspberry Pi Zero 2 W Rev 1.0",
    sensor="imx708_wide",
    stack="libcamera",
    os_id="debian",
    os_version=12,
    codename="bookworm",
    architecture="arm64",
    python=(3, 11),
    memory_mb=416,
    disk_free_mb=10_000,
    host_name="garden",
    booted=True,
    has_systemd=True,
    has_apt=True,
    on_card=True,
)
AT_HOME = CameraHome(
    thing_name="garden",
    mqtt_host="hub.local",
    mqtt_port=8883,
    credentials_endpoint="hub.local:8444",
    role_alias="camera",
    region="hub",
    bucket="media",
    s3_endpoint="https://hub.local:8444",
    dataplane_endpoint="https://hub.local:8444",
    dataplane_region="hub",
    own_authority=True,
    upgrade_sources=("https://hub.local:8444/releases/",),
)


class MadeUpHome:
    """Lets the camera in at once."""

    name = "made-up-home"
    title = "Let the camera in"

    def __init__(
        self, machine: Machine, ledger: Ledger, identity: tuple[bytes, bytes] = (b"key", b"certificate")
    ) -> None:
        self._machine = machine
        self._ledger = ledger
        self._key, self._certificate = identity

    def check(self) -> Found:
        is_there = self._machine.mode_of(places.KEY) == places.KEY_MODE and self._ledger.home is not None
        return Found(Verdict.DONE if is_there else Verdict.NEEDED, "let it in")

    def apply(self, say: Say) -> None:
        self._machine.write(places.KEY, self._key, places.KEY_MODE)
        self._machine.write(places.CERTIFICATE, self._certificate, places.CERTIFICATE_MODE)
        self._machine.write(places.ROOT_CA, self._certificate, places.CERTIFICATE_MODE)
        self._ledger.keep_home(AT_HOME)
        say("it is let in")

    def undo(self, say: Say) -> None:
        self._machine.run("rm", "-f", str(places.KEY), str(places.CERTIFICATE), str(places.ROOT_CA), root=True)


@dataclass
class Heard:
    """A `Progress` that remembers."""

    lines: list[str] = field(default_factory=list)

    def began(self, step: Step) -> None:
        self.lines.append(f"began {step.name}")

    def said(self, step: Step, line: str) -> None:
        self.lines.append(f"{step.name}: {line}")

    def ended(self, step: Step, error: str | None) -> None:
        self.lines.append(f"ended {step.name}" if error is None else f"failed {step.name}: {error}")


class Installation:
    """What is asked of one machine."""

    def __init__(self, machine: Machine, facts: Facts = ZERO_2) -> None:
        self.machine = machine
        self.facts = facts
        self.answers = Answers(home=Home(kind="hub", address="hub.local"))
        self.parcel = made_up_parcel()
        self.heard = Heard()
        self.home: Callable[[Machine, Ledger], Sequence[Step]] = lambda machine, ledger: [MadeUpHome(machine, ledger)]

    def steps(self, machine: Machine | None = None, removal: Removal | None = None) -> tuple[list[Step], Ledger]:
        machine = machine or self.machine
        ledger = Ledger(machine)
        parcel: Parcel = self.parcel
        site = Site(machine, ledger, self.facts, self.answers, lambda: parcel, removal or Removal())
        return pi_steps(site, self.home(machine, ledger)), ledger

    def look(self) -> Plan:
        return plan.look(self.steps()[0])

    def install(self, machine: Machine | None = None) -> Outcome:
        steps, ledger = self.steps(machine)
        ledger.remember(self.answers)
        return plan.carry_out(steps, ledger, progress=self.heard, stop=threading.Event())

    def remove(self, machine: Machine | None = None, *, clips: bool = False, certificates: bool = True) -> Outcome:
        steps, ledger = self.steps(machine, Removal(clips=clips, certificates=certificates))
        return plan.take_back(steps, ledger, progress=self.heard, stop=threading.Event())


@pytest.fixture
def pi() -> Iterator[PretendRoot]:
    """A Pi on which nothing of ours is."""
    if reason := missing():
        pytest.skip(reason)
    machine = PretendRoot()
    try:
        yield machine
    finally:
        machine.close()


@dataclass(frozen=True)
class Installed:
    """What an installation has left, to be copied; and what was there before it."""

    upper: Path
    bare: dict[str, str]
    whole: dict[str, str]


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    """One installation for all that begins with one."""
    if reason := missing():
        pytest.skip(reason)
    machine = PretendRoot()
    try:
        bare = machine.tree()
        made = Installation(machine)
        assert made.install().is_complete, made.heard.lines
        yield Installed(machine.upper, bare, machine.tree())
    finally:
        machine.close()


@pytest.fixture
def installed_pi(installed: Installed) -> Iterator[PretendRoot]:
    """A Pi on which everything is installed."""
    machine = PretendRoot(installed.upper)
    try:
        yield machine
    finally:
        machine.close()


@pytest.fixture
def installation(pi: PretendRoot) -> Installation:
    """A Zero 2 W with a camera, and a home."""
    return Installation(pi)
