"""pitsctl over a real ssh onto a machine with a real systemd: install, again, update, back, remove.

The tests go in this order on one machine. Real there: sshd, sudo, apt and dpkg (with made-up packages), useradd, venv
and pip (with made-up wheels and their hashes), systemd, units, root helper and device client. The daemon is a small one
that lives or dies, and the home lets the camera in at once.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinthesky.errors import Unavailable
from pitsctl import places, plan
from pitsctl.answers import Answers, Camera, Connection
from pitsctl.facts import facts_of
from pitsctl.ledger import Ledger
from pitsctl.parcel import Parcel
from pitsctl.pi_steps import pi_steps
from pitsctl.plan import Outcome
from pitsctl.site import Site
from pitsctl.ssh_machine import SshMachine
from pitsctl.steps import Step
from tests.pitsctl.conftest import ZERO_2, Heard, MadeUpHome
from tests.pitsctl.test_ssh_machine import Asked
from tests.support.house.source import ROOT
from tests.support.pi_over_ssh import PiOverSsh, made_up_wheel, missing
from tests.support.small_wheels import DIES_AT_START, LIVES, build_wheel, make_wheel

pytestmark = pytest.mark.soak

PACKAGES = {"python3-picamera2": "python3-libcamera-made-up", "python3-libcamera-made-up": ""}


class Pi:
    """The machine, and pitsctl on this side."""

    def __init__(self, over_ssh: PiOverSsh, folder: Path) -> None:
        self.over_ssh = over_ssh
        self.inside = over_ssh.machine
        self.folder = folder
        self.wheelhouse = folder / "wheelhouse"
        self.wheelhouse.mkdir()
        name, data, digest = made_up_wheel("made-up")
        (self.wheelhouse / name).write_bytes(data)
        self.digest = digest
        self._pinned = f"made-up==1.0 --hash=sha256:{digest}\n".encode()
        self._built = build_wheel(folder)
        self.answers = Answers(connection=Connection(host="pi"), camera=Camera(rotation=180))
        self.heard = Heard()
        self.machine = SshMachine(self.answers.connection, Asked())
        self._identity = self_signed(folder)
        self.parcel = self.wheel("1.0.0")

    def wheel(self, version: str, behaviour: str = LIVES, *, pinned: bytes | None = None) -> Parcel:
        made = make_wheel(self._built, version, behaviour)
        parcel = Parcel.of(made.path.name, made.path.read_bytes())
        for architecture in ("arm64", "amd64"):
            pins = {("requirements", f"{architecture}-python3.11.txt"): self._pinned if pinned is None else pinned}
            parcel = dataclasses.replace(parcel, shared=parcel.shared | pins)
        return parcel

    def steps(self) -> tuple[list[Step], Ledger]:
        facts = facts_of(self.machine)
        # A camera and a card, which this machine has not.
        facts = dataclasses.replace(
            facts,
            pi_model=ZERO_2.pi_model,
            sensor=ZERO_2.sensor,
            stack="libcamera",
            on_card=True,
            tmp_in_memory=False,
        )
        ledger = Ledger(self.machine)
        parcel = self.parcel
        site = Site(self.machine, ledger, facts, self.answers, lambda: parcel)
        home = [MadeUpHome(self.machine, ledger, self._identity)]
        return pi_steps(site, home, wheelhouse=self.wheelhouse), ledger

    def install(self) -> Outcome:
        steps, ledger = self.steps()
        ledger.remember(self.answers)
        return plan.carry_out(steps, ledger, progress=self.heard, stop=threading.Event())

    def links(self) -> tuple[str, str]:
        return tuple(str(self.inside.path(str(path)).readlink()) for path in (places.CURRENT, places.STEADY))  # type: ignore[return-value]  # of two paths

    def show(self, unit: str, name: str) -> str:
        return self.inside.must("systemctl", "show", "--value", "--property", name, unit).strip()


def self_signed(folder: Path) -> tuple[bytes, bytes]:
    """A key and a certificate that the device client can read."""
    new = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=garden")
    files = ("-keyout", str(folder / "key"), "-out", str(folder / "certificate"))
    subprocess.run(["openssl", "req", *new, *files], check=True, capture_output=True, timeout=60)
    return (folder / "key").read_bytes(), (folder / "certificate").read_bytes()


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    if reason := missing():
        pytest.skip(reason)
    over_ssh = PiOverSsh(tmp_path_factory.mktemp("pi"))
    before = os.environ["PATH"]
    try:
        over_ssh.boot()
        over_ssh.know_host()
        over_ssh.make_apt(PACKAGES)
        os.environ["PATH"] = over_ssh.environment["PATH"]
        installed = Pi(over_ssh, tmp_path_factory.mktemp("pitsctl"))
        installed.machine.run("true")
        yield installed
        installed.machine.close()
    finally:
        os.environ["PATH"] = before
        over_ssh.throw_away()


@pytest.fixture(scope="module")
def bare(pi: Pi) -> set[str]:
    """What was there before anything was installed."""
    return pi.over_ssh.written()


@pytest.fixture(scope="module")
def installed(pi: Pi, bare: set[str]) -> Outcome:
    """Version 1.0.0, installed for the first time."""
    assert bare
    return pi.install()


def test_it_is_installed_over_ssh_and_runs(pi: Pi, installed: Outcome):
    assert installed.is_complete, (installed, pi.heard.lines)
    assert pi.links() == ("1.0.0", "1.0.0")
    for unit in ("pinthesky.service", "pits-device-client.service", "pinthesky-admin.socket"):
        assert pi.show(unit, "ActiveState") == "active", pi.inside.log()
        assert pi.show(unit, "UnitFileState") == "enabled"
    assert pi.show("pinthesky.service", "MemoryMax").isdecimal()
    assert pi.inside.must("dpkg-query", "-W", "-f", "${db:Status-Status}", "python3-libcamera-made-up") == "installed"


def test_modes_are_those_that_the_device_clients_compare(pi: Pi, installed: Outcome):
    wanted = {
        "/etc/pinthesky": "745 root root",
        "/etc/pinthesky/certificates": "700 pinthesky pinthesky",
        "/etc/pinthesky/certificates/private.key": "600 pinthesky pinthesky",
        "/etc/pinthesky/certificates/certificate.pem": "644 pinthesky pinthesky",
        "/etc/pinthesky/certificates/root-ca.pem": "644 pinthesky pinthesky",
        "/etc/pinthesky/device-client.json": "640 root pinthesky",
        "/etc/pinthesky/pinthesky.env": "640 root pinthesky",
        "/var/lib/pinthesky": "745 pinthesky pinthesky",
        "/opt/pinthesky/jobs/reboot": "700 pinthesky pinthesky",
        "/var/lib/pinthesky-install/state.json": "600 root root",
    }
    told = pi.inside.must("stat", "-c", "%a %U %G", *wanted).splitlines()
    assert dict(zip(wanted, told, strict=True)) == wanted


def test_systemd_has_nothing_to_say_about_what_was_put_there(pi: Pi, installed: Outcome):
    units = pi.inside.must("sh", "-c", "ls /etc/systemd/system/p*.service /etc/systemd/system/tmp.mount").split()
    assert len(units) == 5
    verified = pi.inside.run("systemd-analyze", "verify", "--man=no", *units)
    said = [
        line for line in verified.stderr.splitlines() if "pinthesky" in line or "pits-" in line or "tmp.mount" in line
    ]
    assert (verified.returncode, said) == (0, [])


def test_the_second_time_there_is_nothing_to_do_and_nothing_restarts(pi: Pi, installed: Outcome):
    before = pi.show("pinthesky.service", "InvocationID")
    assert pi.install() == Outcome(())
    assert pi.show("pinthesky.service", "InvocationID") == before


def test_an_answer_that_changes_is_written_and_what_the_owner_has_set_stays(pi: Pi, installed: Outcome):
    for name, line in (("admin", "PINTHESKY_SETTLE_S=0.6\n"), ("pinthesky", "CLOUDWATCH=no\n")):
        path = pi.inside.path(f"/etc/pinthesky/{name}.env")
        path.write_text(line + path.read_text())
    before = pi.show("pinthesky.service", "InvocationID")
    pi.answers = Answers(connection=pi.answers.connection, camera=Camera(rotation=90))
    assert pi.install().done == ("daemon", "services")
    daemon = pi.inside.path("/etc/pinthesky/pinthesky.env").read_text()
    assert "rotation 90" in daemon
    assert daemon.startswith("CLOUDWATCH=no\n")
    assert pi.inside.path("/etc/pinthesky/admin.env").read_text().startswith("PINTHESKY_SETTLE_S=0.6\n")
    assert pi.show("pinthesky.service", "InvocationID") != before


def test_an_update_is_tried_by_the_root_helper_and_the_version_before_can_come_back(pi: Pi, installed: Outcome):
    before, _ = pi.links()
    pi.parcel = pi.wheel("1.1.0")
    outcome = pi.install()
    assert outcome.done == ("environment", "version"), (outcome, pi.heard.lines[-20:], pi.inside.log())
    assert pi.links() == ("1.1.0", "1.1.0")
    assert pi.inside.path(f"/opt/pinthesky/{before}/wheel.sha256").exists(), "the way back"
    ended = pitsctl(pi, "back", "--yes", "--json", "--host", "pi")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    last = json.loads(ended.stdout.splitlines()[-1])
    assert (last["event"], last["changed"], last["failed"]) == ("result", True, None)
    assert pi.links() == (before, before)
    assert pi.show("pinthesky.service", "ActiveState") == "active"


def test_a_library_with_another_hash_is_not_installed(pi: Pi, installed: Outcome):
    before = pi.links()
    # The digest in the comment has the wheel sent; it is pip that refuses it.
    pi.parcel = pi.wheel("1.2.0", pinned=f"# {pi.digest}\nmade-up==1.0 --hash=sha256:{'0' * 64}\n".encode())
    outcome = pi.install()
    assert outcome.failed == "environment", pi.heard.lines
    assert "hash" in str(outcome.error).lower()
    assert not pi.inside.path("/opt/pinthesky/1.2.0/wheel.sha256").exists()
    assert pi.links() == before


def test_a_version_that_does_not_stay_up_goes_back_and_says_why(pi: Pi, installed: Outcome):
    before = pi.links()
    pi.parcel = pi.wheel("1.3.0", DIES_AT_START)
    outcome = pi.install()
    assert outcome.failed == "version"
    assert "no camera in this version" in str(outcome.error)
    assert pi.links() == before
    assert pi.show("pinthesky.service", "ActiveState") == "active"


def test_a_connection_that_is_lost_in_the_middle_is_gone_on_with(pi: Pi, installed: Outcome):
    pi.parcel = pi.wheel("1.4.0")
    steps, ledger = pi.steps()
    is_over = threading.Event()

    def cut() -> None:
        while not is_over.wait(0.05):
            pi.over_ssh.end_sessions()

    class Cuts(Heard):
        def said(self, step: Step, line: str) -> None:
            super().said(step, line)
            if line.startswith("making"):
                cutting.start()

    cutting = threading.Thread(target=cut)
    outcome = plan.carry_out(steps, ledger, progress=Cuts(), stop=threading.Event())
    is_over.set()
    cutting.join()
    assert (outcome.failed, type(outcome.error)) == ("environment", Unavailable)
    outcome = pi.install()
    assert outcome.is_complete, (outcome, pi.heard.lines[-20:])
    assert pi.links() == ("1.4.0", "1.4.0")
    assert len(list(pi.inside.path("/opt/pinthesky").glob("1.*"))) == 2, "two versions are kept"


def test_the_logs_are_shown(pi: Pi, installed: Outcome):
    ended = pitsctl(pi, "logs", "pits-device-client", "--lines", "5", "--host", "pi")
    assert (ended.returncode, ended.stdout.count("\n") <= 6) == (0, True), ended.stderr
    assert "pits-device-client" in ended.stdout


def test_it_is_removed_without_a_trace_and_clips_stay(pi: Pi, bare: set[str], installed: Outcome):
    pi.inside.must("sh", "-c", "mkdir -p /var/lib/pinthesky/spool && echo clip > /var/lib/pinthesky/spool/one.mp4")
    ended = pitsctl(pi, "remove", "--yes", "--host", "pi")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    left = pi.over_ssh.written() - bare
    keys = {f"/etc/pinthesky/certificates/{name}" for name in ("private.key", "certificate.pem", "root-ca.pem")}
    clips = {"/var/lib/pinthesky", "/var/lib/pinthesky/spool", "/var/lib/pinthesky/spool/one.mp4"}
    assert left == {"/etc/pinthesky", "/etc/pinthesky/certificates"} | keys | clips
    assert pi.inside.run("getent", "passwd", "pinthesky").returncode != 0
    assert pi.inside.run("dpkg-query", "-W", "python3-picamera2").returncode != 0
    assert pi.inside.must("systemctl", "is-system-running").strip() == "running"


def pitsctl(pi: Pi, *words: str) -> subprocess.CompletedProcess[str]:
    """The program itself, as a person starts it."""
    program = [sys.executable, "-m", "pitsctl", *words]
    return subprocess.run(
        program, cwd=ROOT, env=pi.over_ssh.environment, capture_output=True, text=True, timeout=120, check=False
    )
