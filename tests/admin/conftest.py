"""A machine with systemd, on which a hub, its camera's device client and version after version of it run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.house.source import ROOT
from tests.support.small_wheels import LIVES, LOOKS_AROUND, WHOLE, SmallWheel, build_wheel, make_wheel
from tests.support.throwaway_machine import BOOT_ID, BOOT_ID_SHOWN, ThrowawayMachine, missing

STATE = "/var/lib/pinthesky"
ADMIN_STATE = "/var/lib/pinthesky-admin"
HUB_STATE = "/var/lib/pits-hub"
HANDLERS = "/opt/pinthesky/jobs"
OPERATOR = "/opt/pits-hub/operator.py"
SERVICES = ("pinthesky", "pits-device-client")
PROBED = (
    *("/etc/x", "/usr/x", "/opt/pinthesky/x", "/opt/pinthesky/current/x", "/var/lib/pinthesky-admin/x", "/x"),
    *("/var/log/x", "/proc/sys/kernel/hostname", "/home/x", f"{STATE}/x", "/tmp/x"),
)
"""What the daemon of version 1.0.0, and a handler, try to write."""


class Result(NamedTuple):
    """How a job of one step ended, as the hub has heard it."""

    status: str
    reason: str
    stdout: str
    stderr: str


class Pi:
    """The machine, and what a test does with it."""

    def __init__(self, machine: ThrowawayMachine, built: Path) -> None:
        self.machine = machine
        self._built = built
        self._jobs = 0

    def install(self) -> None:
        """Do what an installer does: a hub, and on the same machine a camera of it with version 1.0.0."""
        machine = self.machine
        machine.show_packages()
        machine.must("useradd", "--system", "--user-group", "--no-create-home", "pinthesky")
        machine.must("install", "-d", "-o", "pinthesky", "-g", "pinthesky", "-m", "745", STATE)
        for folder in ("wheels", "wheelhouse"):
            machine.path(f"{ADMIN_STATE}/{folder}").mkdir(parents=True)
        self._install_wheel("/opt/pits-hub", make_wheel(self._built, "9.0.0", WHOLE))
        shutil.copy(ROOT / "tests" / "support" / "hub_operator.py", machine.path(OPERATOR))
        first = self.wheel("1.0.0", LOOKS_AROUND)
        self._install_wheel("/opt/pinthesky/1.0.0", first)
        machine.path("/opt/pinthesky/1.0.0/wheel.sha256").write_text(first.sha256)
        for link in ("current", "steady"):
            machine.must("ln", "-s", "1.0.0", f"/opt/pinthesky/{link}")
        self._install_units()
        machine.must("systemctl", "enable", "--now", "pits-hub.service")
        self._add_camera()
        machine.must("systemctl", "enable", "--now", *(f"{name}.service" for name in SERVICES))
        machine.must("systemctl", "enable", "--now", "pinthesky-admin.socket")
        machine.must("systemctl", "enable", "pinthesky-upgrade.service")
        self.wait_connected()

    def _install_wheel(self, folder: str, wheel: SmallWheel) -> None:
        machine = self.machine
        machine.must(machine.python, "-m", "venv", "--system-site-packages", "--without-pip", folder)
        shutil.copy(wheel.path, machine.path("/tmp"))
        pip = [machine.python, "-m", "pip", "--python", f"{folder}/bin/python", "install", "--no-index", "--quiet"]
        machine.must(*pip, "--no-deps", f"/tmp/{wheel.path.name}")

    def _install_units(self) -> None:
        machine = self.machine
        shipped = {
            kind: machine.must("/opt/pits-hub/bin/pinthesky-admin", "where", kind).strip()
            for kind in ("systemd", "handlers")
        }
        machine.must("sh", "-c", f"cp {shipped['systemd']}/* /etc/systemd/system/")
        machine.must("install", "-d", "-o", "pinthesky", "-g", "pinthesky", HANDLERS)
        machine.must("sh", "-c", f"install -o pinthesky -g pinthesky -m 700 {shipped['handlers']}/* {HANDLERS}/")
        self._drop_in("pinthesky", f"Environment='PROBE={' '.join(PROBED)}'")
        # The kernel is shared: what stands for a boot's identity has to be shown to the unit as well.
        self._drop_in("pits-device-client", f"BindReadOnlyPaths={BOOT_ID}:{BOOT_ID_SHOWN}", "After=pits-hub.service")
        machine.must("systemctl", "daemon-reload")

    def _drop_in(self, service: str, setting: str, of_unit: str = "") -> None:
        folder = self.machine.path(f"/etc/systemd/system/{service}.service.d")
        folder.mkdir()
        folder.joinpath("test.conf").write_text(f"[Unit]\n{of_unit}\n[Service]\n{setting}\n")

    def _add_camera(self) -> None:
        """The folder of the new camera is the daemon's and the client's; their settings are the owner's."""
        machine, etc, place = self.machine, "/etc/pinthesky", f"{STATE}/garden"
        machine.must("/opt/pits-hub/bin/pits-hub", "add-camera", "garden", "--to", place, "--hub", "localhost")
        machine.must("chown", "-R", "pinthesky:pinthesky", place)
        machine.must("install", "-d", "-m", "745", etc)
        told = json.loads(machine.path(f"{place}/device-client.json").read_text())
        told["jobs"]["handler-directory"] = HANDLERS
        machine.path(f"{etc}/device-client.json").write_text(json.dumps(told))
        machine.path(f"{etc}/device-client.json").chmod(0o640)
        machine.must("chgrp", "pinthesky", f"{etc}/device-client.json")
        flags = machine.path(f"{place}/pinthesky.env").read_text().rstrip().removesuffix('"')
        machine.path(f"{etc}/pinthesky.env").write_text(f'{flags} --camera synthetic:?script=quiet:1,walk:60&loop=1"\n')
        self.settle(0.6)

    def settle(self, seconds: float) -> None:
        """Set how long a version that is begun from now on has to stay up."""
        self.machine.path("/etc/pinthesky/admin.env").write_text(f"PINTHESKY_SETTLE_S={seconds}\n")

    def wheel(self, version: str, behaviour: str = LIVES, *, needs_python: str = ">=3.9") -> SmallWheel:
        """Make a wheel, and put it where root puts wheels."""
        made = make_wheel(self._built, version, behaviour, needs_python=needs_python)
        shutil.copy(made.path, self.machine.path(f"{ADMIN_STATE}/wheels"))
        return made

    def begin(self, handler: str, *arguments: str, as_root: bool = True) -> None:
        """Have the hub queue a job of one step for the camera."""
        self._jobs += 1
        action = {"name": handler, "type": "runHandler", "runAsUser": "root" if as_root else ""}
        step = {"action": {**action, "input": {"handler": handler, "args": list(arguments)}}}
        document = {"version": "1.0", "includeStdOut": True, "steps": [step]}
        self._operate("create", json.dumps(document))

    def result(self) -> Result:
        """Wait for the end of the job, and return how it ended."""
        told = json.loads(self._operate("wait"))
        return Result(*(told.get(name, "") for name in Result._fields))

    def _operate(self, what: str, given: str = "") -> str:
        command = ("/opt/pits-hub/bin/python", OPERATOR, HUB_STATE, what, f"job-{self._jobs}", "garden")
        return self.machine.must(*command, given=given)

    def job(self, handler: str, *arguments: str, as_root: bool = True) -> Result:
        """Run a job to its end."""
        self.begin(handler, *arguments, as_root=as_root)
        return self.result()

    def upgrade(self, wheel: SmallWheel, *options: str) -> Result:
        """Run a job that upgrades to the end."""
        return self.job("upgrade-pinthesky", wheel.path.name, wheel.sha256, *options)

    def link(self, name: str) -> str:
        """Return which version a link leads to."""
        return str(self.machine.path(f"/opt/pinthesky/{name}").readlink())

    def versions(self) -> list[str]:
        """Return the folders of versions."""
        return sorted(p.name for p in self.machine.path("/opt/pinthesky").iterdir() if p.name[0].isdigit())

    def is_up(self, *services: str) -> bool:
        """Whether the services run."""
        return all(self.show(name, "ActiveState") == "active" for name in services or SERVICES)

    def wait_connected(self) -> None:
        """Wait until the device client says that it has reached the hub."""
        self.machine.wait_for(
            lambda: self.show("pits-device-client", "StatusText").startswith("connected to"), "the client's connection"
        )

    def runs(self) -> tuple[str, ...]:
        """Return which run of each service this is: another one after a restart."""
        return tuple(self.show(name, "InvocationID") for name in SERVICES)

    def show(self, service: str, property_name: str) -> str:
        """Return one property of a unit."""
        return self.machine.must("systemctl", "show", "--value", "--property", property_name, service).strip()

    def pinthesky_admin(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command as a person who is root; returns exit code, stdout and stderr."""
        ended = self.machine.run("/opt/pinthesky/current/bin/pinthesky-admin", *arguments)
        return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """One machine with a hub and version 1.0.0 of a camera installed, and everything running."""
    if reason := missing():
        pytest.skip(reason)
    machine = ThrowawayMachine()
    try:
        machine.boot()
        installed = Pi(machine, build_wheel(tmp_path_factory.mktemp("wheels")))
        installed.install()
        yield installed
    finally:
        machine.throw_away()
