"""An installer with made-up machine, home and steps, that behaves: what the wizard is tested with.

As a program it puts the wizard on the terminal, before a scene: `python -m tests.support.made_up_installer SCENE`.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, Unavailable
from pitsctl.answers import Answers, Cloud, Connection, Home
from pitsctl.person import Person, Registration
from pitsctl.steps import Found, Progress, Say, Verdict
from pitsctl.wizard.ports import Hub, Planned, Sighting

ZERO_2 = Sighting(
    rows=(
        ("Model", "Raspberry Pi Zero 2 W Rev 1.0"),
        ("System", "Raspberry Pi OS, Debian 12 (bookworm), 64-bit"),
        ("Python", "3.11.2"),
        ("Camera", "imx708_wide, by libcamera"),
        ("Disk", "23.1 GB free of 29.0 GB"),
        ("Clock", "set, by the network"),
    ),
    warnings=("It had too little power since its last start: use a better supply or a shorter cable.",),
    cannot=("Live view by WebRTC stops at two viewers: this model has 512 MB of memory.",),
    pi_model="Raspberry Pi Zero 2 W Rev 1.0",
    sensor="imx708_wide",
    cameras=(("/dev/video0", "HD Webcam C270, by USB"),),
)
REGISTRATION = Registration(
    user_code="WDJB-MJHT",
    address="https://hub.local:8443/register",
    fingerprint="3f:8a:02:c1:77:de:41:90:0b:5e:2c:d8:66:f3:19:ab:3f:8a:02:c1:77:de:41:90:0b:5e:2c:d8:66:f3:19:ab",
    expires_in_s=900,
)


@dataclass
class MadeUpStep:
    """A step that says some lines; `broken` is raised at each of its first applications."""

    name: str
    title: str
    found: Found
    lines: tuple[str, ...] = ()
    broken: list[Exception] = field(default_factory=list)
    done: bool = False

    def check(self) -> Found:
        return Found(Verdict.DONE, "was done") if self.done else self.found

    def apply(self, say: Say) -> None:
        for line in self.lines:
            say(line)
        if self.broken:
            raise self.broken.pop(0)
        self.done = True

    def undo(self, say: Say) -> None:
        say(f"removing what {self.name} did")
        self.done = False


def steps() -> list[MadeUpStep]:
    """A plan as it may be: one thing is there, the others are needed."""

    def needed(what: str) -> Found:
        return Found(Verdict.NEEDED, what)

    return [
        MadeUpStep("user", "Make the user pinthesky", Found(Verdict.DONE, "user pinthesky, in group video")),
        MadeUpStep(
            "packages",
            "Install Debian packages",
            needed("python3-picamera2 and 2 others are missing: 14.2 MB are fetched"),
            ("Reading package lists...", "Unpacking python3-picamera2 (0.3.18-1) ...", "Setting up python3-picamera2"),
        ),
        MadeUpStep("wheel", "Install pinthesky 1.0.0", needed("into /opt/pinthesky/1.0.0, with the link current")),
        MadeUpStep("certificate", "Get the camera's certificate", needed("the key is made on the Pi and stays there")),
        MadeUpStep("units", "Install and start the services", needed("pinthesky, pits-device-client")),
    ]


class MadeUpInstaller:
    """Behaves as the port says. What tests look at: `saved`, `told`, `closed`, and the steps themselves."""

    def __init__(self, made_up: Sequence[MadeUpStep] | None = None) -> None:
        self.steps = list(steps() if made_up is None else made_up)
        self.machine_errors: list[Exception] = []
        self.home_errors: list[Exception] = []
        self.hub_errors: list[Exception] = []
        self.plan_errors: list[Exception] = []
        self.asks_for_host_key = False
        self.asks_for_password = False
        self.registers = False
        self.heard = [Hub("cellar", "https://cellar.local:8443")]
        self.saved: dict[Path, Answers] = {}
        self.told: list[object] = []
        self.looked_at: list[Answers] = []
        self.closed = threading.Event()
        self.hangs = threading.Event()
        """Set: looking at the machine waits until it is closed."""
        self.approved = threading.Event()
        self.gate: Callable[[MadeUpStep], object] = lambda step: None
        """Called before a step is applied."""

    def hold(self, name: str) -> threading.Event:
        """Hold a step up until the event is set, or nobody wants it any more."""
        event = threading.Event()

        def gate(step: MadeUpStep) -> None:
            while step.name == name and not event.wait(0.02):
                if self.closed.is_set():
                    raise Unavailable("the connection was closed")

        self.gate = gate
        return event

    def look_at_machine(self, answers: Answers, person: Person) -> Sighting:
        self.looked_at.append(answers)
        if self.hangs.is_set():
            self.closed.wait(30)
            raise Unavailable(f"{answers.connection.host} does not answer")
        if self.asks_for_host_key:
            self.told.append(person.confirm("Is this pi@camera.local?", "ED25519 SHA256:mVPwvezndPv/ARoIadVY98vAC0g"))
            if not self.told[-1]:
                raise NotAuthorized("the host key was not trusted")
            self.asks_for_host_key = False
        if self.machine_errors:
            raise self.machine_errors.pop(0)
        return ZERO_2

    def hubs(self) -> Sequence[Hub]:
        if self.hub_errors:
            raise self.hub_errors.pop(0)
        return self.heard

    def look_at_home(self, answers: Answers, person: Person) -> Sighting:
        if self.home_errors:
            raise self.home_errors.pop(0)
        rows = {
            "aws": (("Account", "123456789012"), ("Deployment", "PinTheSky in eu-central-1")),
            "hub": (("Hub", answers.home.address),),
        }.get(answers.home.kind, (("Address", answers.home.address),))
        return Sighting(rows=rows)

    def plan(self, answers: Answers, person: Person) -> Sequence[Planned]:
        if self.plan_errors:
            raise self.plan_errors.pop(0)
        if self.asks_for_password:
            self.told.append(person.secret("Password of pi on camera.local, for sudo"))
            self.asks_for_password = False
        return [Planned(step, step.check()) for step in self.steps]

    def carry_out(
        self, answers: Answers, person: Person, *, progress: Progress, stop: threading.Event
    ) -> Sequence[str]:
        for step in self.steps:
            if stop.is_set():
                return []
            if step.check().verdict is Verdict.DONE:
                continue
            progress.began(step)
            try:
                self.gate(step)
                if step.name == "certificate" and self.registers:
                    self._register(person, stop)
                step.apply(partial(progress.said, step))
            except (Unavailable, Conflict, InvalidInput) as error:
                progress.ended(step, str(error))
                raise
            progress.ended(step, None)
        return ["Console   https://hub.local:8443", "Logs      pitsctl logs --host pi@camera.local"]

    def _register(self, person: Person, stop: threading.Event) -> None:
        person.show_registration(REGISTRATION)
        while not self.approved.wait(0.02) and not stop.is_set():
            pass
        person.show_registration(None)

    def take_back(self, answers: Answers, person: Person, *, progress: Progress, stop: threading.Event) -> None:
        for step in reversed(self.steps):
            if step.done:
                progress.began(step)
                step.undo(partial(progress.said, step))
                progress.ended(step, None)

    def save(self, answers: Answers, path: Path) -> None:
        self.saved[path] = answers
        path.write_text(msgspec.json.encode(answers).decode(), encoding="utf-8")

    def close(self) -> None:
        self.closed.set()


def scene(name: str) -> tuple[Answers, MadeUpInstaller]:
    """Answers and installer by a scene's name."""
    installer = MadeUpInstaller()
    answers = Answers(connection=Connection(host="pi@camera.local"), home=Home(kind="aws"), cloud=Cloud(thing="garden"))
    if name == "slow":
        pause = threading.Event()
        installer.gate = lambda step: bool(pause.wait(1.0))
    elif name == "lost":
        installer.asks_for_host_key = installer.asks_for_password = True
        installer.steps[2].broken.append(Unavailable("pi@camera.local: the connection was closed"))
    elif name == "fails":
        installer.steps[2].broken += [Conflict("the disk is full: 3 MB are left, 90 MB are needed")] * 5
    elif name == "impossible":
        installer.steps[1].found = Found(
            Verdict.IMPOSSIBLE, "no network: the package lists cannot be fetched. Connect it, then look again"
        )
    elif name == "register":
        answers = Answers(connection=Connection(host="pi@camera.local"), home=Home(kind="hub"))
        installer.registers = True
    elif name == "held":
        answers = Answers(connection=Connection(host="pi@camera.local"), home=Home(kind="hub"))
        installer.hold("wheel")
    elif name == "hangs":
        installer.hangs.set()
    elif name == "bare":
        answers = Answers()
    return answers, installer


def main() -> int:
    """Put the wizard on the terminal."""
    from pitsctl import wizard

    parser = argparse.ArgumentParser()
    parser.add_argument("scene", nargs="?", default="plain")
    parser.add_argument("--text", action="store_true")
    args = parser.parse_args()
    answers, installer = scene(args.scene)
    return wizard.run(answers, installer, text=args.text)


if __name__ == "__main__":
    sys.exit(main())
