"""A running camera seen by `pitsctl doctor` and `pitsctl view`: a real hub, its daemon and its device client.

Systemd and the journal stand in, since this machine runs none: `systemctl`, `journalctl` and `runuser` are scripts.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pinthesky.model.findings import Findings, found
from pinthesky.version import __version__
from pitsctl import doctor, places, view
from pitsctl.camera_home import CameraHome
from pitsctl.facts import Facts
from pitsctl.ledger import Ledger
from tests.support.aws_servers import CertificateAuthority, closed_port
from tests.support.daemon_process import PROJECT, eventually
from tests.support.fleet import Fleet, FleetCamera, pits_hub
from tests.support.folder_machine import FolderMachine

pytestmark = pytest.mark.needs_av

RUNS = """Id=pinthesky.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
NRestarts=0
MemoryCurrent=73400320
ActiveEnterTimestamp=Sat 2026-11-21 10:00:00 UTC

Id=pits-device-client.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
NRestarts=0
MemoryCurrent=[not set]
ActiveEnterTimestamp=Sat 2026-11-21 10:00:01 UTC
"""
FACTS = Facts(
    pi_model="Raspberry Pi 4 Model B Rev 1.4",
    sensor="imx708",
    os_id="debian",
    os_version=12,
    architecture="arm64",
    python=(3, 11),
    disk_free_mb=20_000,
    clock_synced=True,
    installed=True,
    current=__version__,
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        yield made
    finally:
        codes = made.close()
    assert set(codes) == {0}, codes


@pytest.fixture(scope="module")
def garden(fleet: Fleet) -> FleetCamera:
    made = fleet.add("garden")
    made.start()
    return made


@pytest.fixture
def machine(tmp_path: Path, garden: FleetCamera) -> FolderMachine:
    """The camera's machine, as an installation leaves it."""
    made = FolderMachine(tmp_path / "machine")
    installed = made.path(doctor.PROGRAM)
    installed.parent.mkdir(parents=True)
    installed.write_text(
        f"#!/bin/sh\nexec '{sys.executable}' -m pinthesky.doctor --daemon-file '{garden.folder}/pinthesky.env'"
        f" --client-file '{garden.folder}/device-client.json' \"$@\"\n"
    )
    installed.chmod(0o755)
    made.path(places.OPT / __version__).mkdir()
    made.path(places.CLIENT_FILE).symlink_to(garden.folder / "device-client.json")
    made.path(places.STATE / "health.json").symlink_to(garden.folder / "state" / "health.json")
    made.stand_in("runuser", 'shift 3; exec "$@"')
    made.stand_in("systemctl", f"cat <<'END'\n{RUNS}END")
    made.stand_in("journalctl", "exit 0")
    # The camera's own folder is outside of the machine's: what it is told names its files where they are.
    made.path = lambda path, inner=made.path: Path(path) if str(path).startswith(str(garden.folder)) else inner(path)  # type: ignore[method-assign,misc]  # this machine maps one folder more
    return made


def document_of(run: Any, machine: FolderMachine, facts: Facts = FACTS) -> tuple[int, dict[str, Any]]:
    out = io.StringIO()
    code = run(machine, Ledger(machine), facts, json=True, out=out)
    assert out.getvalue().count("\n") == 1, "one object on one line"
    return code, json.loads(out.getvalue())


def text_of(run: Any, machine: FolderMachine, facts: Facts = FACTS) -> tuple[int, str]:
    out = io.StringIO()
    code = run(machine, Ledger(machine), facts, json=False, out=out)
    return code, out.getvalue()


def states(document: dict[str, Any]) -> dict[str, str]:
    return {finding["check"]: finding["state"] for finding in document["findings"]}


def test_a_camera_that_is_well_is_well_from_end_to_end(machine: FolderMachine, garden: FleetCamera) -> None:
    code, document = document_of(doctor.run, machine)
    findings = states(document)
    assert {check for check, state in findings.items() if state == "failed"} == set(), document
    assert code == 0
    assert document["well"] is True
    for check in (
        "service pinthesky",
        "service pits-device-client",
        "version",
        "certificate",
        "reach MQTT",
        "reach credentials",
        "credentials",
        "test PUT",
        "daemon",
        "frames",
        "MQTT publish",
        "shadow round trip",
    ):
        assert findings[check] == "ok", (check, document)
    events = list((garden.folder / "files" / "event-queue").iterdir())
    assert events == [], "nothing of the test is left"


def test_people_get_a_line_for_each_check_and_a_verdict(machine: FolderMachine) -> None:
    told = Findings(
        version=__version__,
        findings=[found("clock", "ok", "synchronised"), found("disk", "failed", "0.1 GB", advice="Buy")],
    )
    machine.path(doctor.PROGRAM).write_text(f"#!/bin/sh\necho '{msgspec.json.encode(told).decode()}'\nexit 1\n")
    code, text = text_of(doctor.run, machine)
    assert code == 1
    assert "  ok   clock: synchronised\nFAIL   disk: 0.1 GB\n       → Buy\n" in text
    assert text.splitlines()[-1] == "camera.test: 1 failed"


def test_view_shows_what_is_in_force_what_is_desired_and_what_was_rejected(
    fleet: Fleet, machine: FolderMachine, garden: FleetCamera
) -> None:
    fleet.planes.edit("garden", "view-1", camera={"rotation": 45}, health={"interval": 1800})
    reported = lambda: fleet.planes.reported("garden")  # noqa: E731 - asked again and again
    eventually(lambda: "camera.rotation" in reported().get("sync", {}).get("rejected", {}), "the reason")
    shown = lambda: document_of(view.run, machine)[1]["configuration"]  # noqa: E731 - the same
    eventually(lambda: shown()["desired"].get("camera") == {"rotation": 45}, "the document is there")
    configuration = shown()
    assert configuration["effective"]["health"] == {"interval": 1800}
    assert configuration["effective"]["camera"]["resolution"] == "160x120"
    assert "camera.rotation" in configuration["rejected"]
    _, text = text_of(view.run, machine)
    assert "  desired, not in force: camera.rotation = 45" in text.splitlines()
    assert any(line.startswith("  rejected: camera.rotation: ") for line in text.splitlines())
    fleet.planes.edit("garden", "view-2", camera={"rotation": None}, health=None)


def test_view_shows_versions_state_services_home_and_the_last_events(
    machine: FolderMachine, garden: FleetCamera
) -> None:
    lines: list[dict[str, Any]] = [
        {"MESSAGE": "event_reporter: Motion began (event ab, score 3.0)", "PRIORITY": "6"},
        {"MESSAGE": "event_reporter: nothing of interest", "PRIORITY": "6"},
        {"MESSAGE": "uploader: The store cannot be reached", "PRIORITY": "4"},
        {"MESSAGE": [1, 2], "PRIORITY": "4"},
    ]
    stamped = [json.dumps(dict(line) | {"__REALTIME_TIMESTAMP": "1795000000000000"}) for line in lines]
    machine.stand_in("journalctl", "cat <<'END'\n" + "\n".join([*stamped, "no JSON"]) + "\nEND")
    ledger = Ledger(machine)
    ledger.keep_home(
        CameraHome(thing_name="garden", mqtt_host="hub.test", credentials_endpoint="hub.test:8444", role_alias="a")
    )
    model = lambda: document_of(view.run, machine)[1]["state"].get("camera_model")  # noqa: E731 - asked again
    eventually(model, "the first report", 30.0)
    code, document = document_of(view.run, machine)
    assert code == 0
    assert [event["text"] for event in document["events"]] == [
        "Motion began (event ab, score 3.0)",
        "The store cannot be reached",
    ]
    assert document["versions"]["installed"] == [__version__]
    assert document["home"]["thing_name"] == "garden"
    assert document["services"]["pinthesky"]["memory_bytes"] == 73_400_320
    assert document["services"]["pits-device-client"]["memory_bytes"] is None
    _, text = text_of(view.run, machine)
    assert "Motion began" in text
    assert max(map(len, text.splitlines())) < 300


def test_a_machine_that_cannot_be_read_is_one_line(machine: FolderMachine) -> None:
    machine.is_reachable = False
    for run in (doctor.run, view.run):
        code, text = text_of(run, machine)
        assert code == 1
        assert "the connection is lost" in text
    code, document = document_of(view.run, machine)
    assert code == 1
    assert document == {"error": "camera.test cannot be reached: the connection is lost"}


def test_services_that_do_not_run_are_named_with_what_to_do(machine: FolderMachine) -> None:
    dead = RUNS.replace("ActiveState=active", "ActiveState=failed", 1).replace("Result=success", "Result=exit-code", 1)
    gone = dead.replace("LoadState=loaded\nActiveState=active", "LoadState=not-found\nActiveState=inactive")
    machine.stand_in("systemctl", f"cat <<'END'\n{gone}END")
    machine.stand_in("runuser", "exit 1")
    code, text = text_of(doctor.run, machine)
    assert code == 1
    assert "FAIL   service pinthesky: does not run: failed (exit-code)" in text
    assert "FAIL   service pits-device-client: its unit is not there" in text
    assert "→ `pitsctl logs pinthesky` says why" in text


@pytest.mark.parametrize(
    "change, state",
    [
        (("NRestarts=0", "NRestarts=9"), "warning"),
        (("ActiveState=active", "ActiveState=activating"), "warning"),
    ],
)
def test_services_that_falter_are_to_be_looked_at(machine: FolderMachine, change: tuple[str, str], state: str) -> None:
    machine.stand_in("systemctl", f"cat <<'END'\n{RUNS.replace(*change)}END")
    first = next(iter(doctor.findings_of(machine, Ledger(machine), FACTS)))
    assert first.state == state


def test_without_systemd_it_is_said(machine: FolderMachine) -> None:
    machine.stand_in("systemctl", "echo 'System has not been booted with systemd' >&2; exit 1")
    code, text = text_of(doctor.run, machine)
    assert code == 1
    assert "has not been booted with systemd" in text


def test_where_nothing_is_installed_what_can_be_said_of_the_machine_is(machine: FolderMachine) -> None:
    bare = Facts(disk_free_mb=100, clock_synced=False, throttled=frozenset({"undervoltage now"}))
    code, document = document_of(doctor.run, machine, bare)
    assert code == 1
    assert states(document) == {"installation": "failed", "clock": "warning", "disk": "failed", "power": "failed"}
    assert all(finding["advice"] for finding in document["findings"])


def test_an_installation_that_is_broken_or_too_old_is_named(machine: FolderMachine) -> None:
    machine.path(doctor.PROGRAM).unlink()
    code, document = document_of(doctor.run, machine)
    assert code == 1
    assert states(document)["self-test"] == "failed"
    assert "pitsctl update" in next(f["advice"] for f in document["findings"] if f["check"] == "self-test")
    assert doctor.version_finding("0.0.1").state == "warning"
    assert doctor.version_finding("not a version").state == "warning"


# What the self-test finds where something is wrong: each fault is a real one.


def self_test(folder: Path, **files: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run `pinthesky-doctor` on a camera's folder, with other files if given."""
    command = [sys.executable, "-m", "pinthesky.doctor", "--json", "--wait", "0.5"]
    for name, default in (("daemon_file", "pinthesky.env"), ("client_file", "device-client.json")):
        command += [f"--{name.replace('_', '-')}", str(files.get(name, folder / default))]
    done = subprocess.run(
        command, capture_output=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )
    assert b"Traceback" not in done.stderr, done.stderr
    told = msgspec.json.decode(done.stdout, type=Findings)
    return done.returncode, {finding.check: (finding.state, finding.what) for finding in told.findings}


def test_a_camera_without_a_device_client_is_looked_at_all_the_same(garden: FleetCamera, tmp_path: Path) -> None:
    code, findings = self_test(garden.folder, client_file=tmp_path / "none.json")
    assert code == 0, findings
    assert findings["reach MQTT"] == ("skipped", "no device client is configured")
    assert findings["certificate"][0] == findings["frames"][0] == "ok"
    assert "MQTT publish" not in findings


def test_people_on_the_pi_get_lines_and_a_wrong_word_is_named(garden: FleetCamera, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pinthesky.doctor", "--daemon-file", str(tmp_path / "none")]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 1
    assert done.stdout.startswith(f"FAIL   configuration: {tmp_path}/none: cannot be read")
    assert "→ Run `pitsctl install` again" in done.stdout
    command += ["--wait", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 2
    assert "0.1 to 300" in done.stderr


def failed(findings: dict[str, tuple[str, str]]) -> set[str]:
    return {check for check, (state, _) in findings.items() if state == "failed"}


def test_closed_ports_and_another_authority_are_told_apart(garden: FleetCamera, tmp_path: Path) -> None:
    client = json.loads((garden.folder / "device-client.json").read_text())
    client["port"] = closed_port()
    other = CertificateAuthority(tmp_path)
    client_file, daemon_file = tmp_path / "client.json", tmp_path / "daemon.env"
    client_file.write_text(json.dumps(client))
    text = (garden.folder / "pinthesky.env").read_text()
    root = str(garden.folder / "certificates" / "root-ca.pem")
    daemon_file.write_text(text.replace(f"--ca-cert {root}", f"--ca-cert {other.cert}"))
    code, findings = self_test(garden.folder, client_file=client_file, daemon_file=daemon_file)
    assert code == 1
    assert failed(findings) == {"reach MQTT", "reach credentials", "credentials"}, findings
    assert "connection refused" in findings["reach MQTT"][1]
    assert "of an authority that" in findings["reach credentials"][1]
    assert findings["test PUT"] == ("skipped", "there are no credentials")


def test_a_camera_that_was_removed_from_its_hub_is_refused_everywhere(fleet: Fleet, garden: FleetCamera) -> None:
    lost = fleet.add("lost")
    pits_hub(fleet.hub.data, "remove-camera", "lost")
    code, findings = self_test(lost.folder)
    assert code == 1
    assert {"credentials", "daemon"} <= failed(findings), findings
    assert findings["certificate"][0] == "ok"


WRONG_FLAGS = ("--rotation 45", "it's", "--no-such-flag")


@pytest.mark.parametrize("text", [*(f'PINTHESKY_FLAGS="{flags}"' for flags in WRONG_FLAGS), None])
def test_flags_that_cannot_be_read_are_one_finding(garden: FleetCamera, tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "pinthesky.env"
    if text is not None:
        path.write_text(text)
    code, findings = self_test(garden.folder, daemon_file=path)
    assert code == 1
    assert failed(findings) == {"configuration"}


def test_a_daemon_and_a_client_that_do_not_run_are_told_apart(garden: FleetCamera) -> None:
    """The last one: nothing runs after it."""
    garden.client.stop()
    code, findings = self_test(garden.folder)
    assert code == 1
    assert failed(findings) == {"MQTT publish", "shadow round trip"}, findings
    assert findings["daemon"][0] == "ok"
    garden.daemon.stop()
    _, findings = self_test(garden.folder)
    assert failed(findings) == {"daemon", "shadow round trip"}, findings
