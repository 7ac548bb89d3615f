"""A machine with systemd, on which two versions' worth of `pinthesky` can come and go."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.house.source import ROOT
from tests.support.small_wheels import LOOKS_AROUND, SmallWheel, make_wheel
from tests.support.throwaway_machine import BOOT_ID, BOOT_ID_SHOWN, ThrowawayMachine, missing

WHEELHOUSE = ROOT / ".wheelhouse"
STATE = "/var/lib/pinthesky"
ADMIN_STATE = "/var/lib/pinthesky-admin"
PROBED = (
    *("/etc/x", "/usr/x", "/opt/pinthesky/x", "/opt/pinthesky/current/x", "/var/lib/pinthesky-admin/x", "/x"),
    *("/var/log/x", "/proc/sys/kernel/hostname", "/home/x", f"{STATE}/x", "/tmp/x"),
)
"""What the daemon of version 1.0.0 tries to write."""


class Pi:
    """The machine, and what a test does with it."""

    def __init__(self, machine: ThrowawayMachine, wheels: Path) -> None:
        self.machine = machine
        self._wheels = wheels
        self._jobs = 0

    def install(self) -> None:
        """Do what an installer does: user, units, handlers, the first version, links."""
        machine = self.machine
        machine.must("useradd", "--system", "--user-group", "--no-create-home", "--groups", "video", "pinthesky")
        for unit in (ROOT / "service" / "systemd").glob("*pi*"):
            if "hub" not in unit.name:
                shutil.copy(unit, machine.path("/etc/systemd/system"))
        # The kernel is shared: what stands for a boot's identity has to be shown to the unit as well.
        shown = machine.path("/etc/systemd/system/pits-device-client.service.d")
        shown.mkdir()
        shown.joinpath("boot.conf").write_text(f"[Service]\nBindReadOnlyPaths={BOOT_ID}:{BOOT_ID_SHOWN}\n")
        jobs = machine.path("/opt/pinthesky/jobs")
        jobs.mkdir(parents=True)
        for handler in (ROOT / "service" / "handlers").iterdir():
            shutil.copy(handler, jobs)
            (jobs / handler.name).chmod(0o700)
        machine.must("chown", "-R", "pinthesky:pinthesky", "/opt/pinthesky/jobs")
        machine.path("/etc/pinthesky").mkdir()
        machine.path("/etc/pinthesky/admin.env").write_text("PINTHESKY_SETTLE_S=0.6\n")
        for folder in ("wheels", "wheelhouse"):
            machine.path(f"{ADMIN_STATE}/{folder}").mkdir(parents=True)
        for wheel in WHEELHOUSE.glob("msgspec-*"):
            shutil.copy(wheel, machine.path(f"{ADMIN_STATE}/wheelhouse"))
        probe = machine.path("/etc/systemd/system/pinthesky.service.d")
        probe.mkdir()
        probe.joinpath("probe.conf").write_text(f"[Service]\nEnvironment='PROBE={' '.join(PROBED)}'\n")
        first = self.wheel("1.0.0", LOOKS_AROUND)
        folder = "/opt/pinthesky/1.0.0"
        machine.must(machine.python, "-m", "venv", "--system-site-packages", "--without-pip", folder)
        pip = [machine.python, "-m", "pip", "--python", f"{folder}/bin/python", "install", "--no-index", "--quiet"]
        machine.must(*pip, "--find-links", f"{ADMIN_STATE}/wheelhouse", f"{ADMIN_STATE}/wheels/{first.path.name}")
        machine.path(f"{folder}/wheel.sha256").write_text(first.sha256)
        machine.must("ln", "-s", "1.0.0", "/opt/pinthesky/current")
        machine.must("ln", "-s", "1.0.0", "/opt/pinthesky/steady")
        machine.must("systemctl", "daemon-reload")
        units = ("pinthesky.service", "pits-device-client.service", "pinthesky-admin.socket")
        machine.must("systemctl", "enable", "--now", *units)
        machine.must("systemctl", "enable", "pinthesky-upgrade.service")

    def wheel(self, version: str, *arguments: str, **options: str) -> SmallWheel:
        """Make a wheel, and put it where root puts wheels."""
        made = make_wheel(self._wheels, version, *arguments, **options)
        shutil.copy(made.path, self.machine.path(f"{ADMIN_STATE}/wheels"))
        return made

    def begin(self, handler: str, *arguments: str) -> None:
        """Have the device client begin a step."""
        self._jobs += 1
        self.machine.path(f"{STATE}/result.json").unlink(missing_ok=True)
        step = {"handler": handler, "args": arguments, "job": f"job-{self._jobs}"}
        self.machine.path(f"{STATE}/step.new").write_text(json.dumps(step))
        self.machine.must("chown", "pinthesky:", f"{STATE}/step.new")
        self.machine.path(f"{STATE}/step.new").rename(self.machine.path(f"{STATE}/step.json"))

    def result(self) -> dict[str, object]:
        """Wait for the end of the step, and return what it left."""
        path = self.machine.path(f"{STATE}/result.json")
        self.machine.wait_for(path.exists, "the result of a step")
        return json.loads(path.read_text())

    def step(self, handler: str, *arguments: str) -> dict[str, object]:
        """Run one step to its end."""
        self.begin(handler, *arguments)
        return self.result()

    def upgrade(self, wheel: SmallWheel, *options: str) -> dict[str, object]:
        """Run a step that upgrades to the end."""
        return self.step("upgrade-pinthesky", wheel.path.name, wheel.sha256, *options)

    def link(self, name: str) -> str:
        """Return which version a link leads to."""
        return str(self.machine.path(f"/opt/pinthesky/{name}").readlink())

    def versions(self) -> list[str]:
        """Return the folders of versions."""
        return sorted(p.name for p in self.machine.path("/opt/pinthesky").iterdir() if p.name[0].isdigit())

    def found(self) -> dict[str, object]:
        """Return what a daemon that looks around has found."""
        return json.loads(self.machine.path(f"{STATE}/found.json").read_text())

    def is_up(self, *services: str) -> bool:
        """Whether the services run."""
        names = services or ("pinthesky", "pits-device-client")
        return all(self.show(name, "ActiveState") == "active" for name in names)

    def show(self, service: str, property_name: str) -> str:
        """Return one property of a unit."""
        return self.machine.must("systemctl", "show", "--value", "--property", property_name, service).strip()

    def pinthesky_admin(self, *arguments: str) -> Sequence[object]:
        """Run the command as a person who is root; returns exit code, stdout and stderr."""
        ended = self.machine.run("/opt/pinthesky/current/bin/pinthesky-admin", *arguments)
        return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """One machine with version 1.0.0 installed and everything running."""
    if reason := missing():
        pytest.skip(reason)
    if not WHEELHOUSE.is_dir():
        pytest.skip("no .wheelhouse; `make setup` fills it")
    machine = ThrowawayMachine()
    try:
        machine.boot()
        installed = Pi(machine, tmp_path_factory.mktemp("wheels"))
        installed.install()
        yield installed
    finally:
        machine.throw_away()
