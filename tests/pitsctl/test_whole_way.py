"""From a bare machine to a running camera and back, whole: pitsctl over ssh, a hub, an owner who types the code.

The tests go in this order on one machine. Real there: the command line, sshd, sudo, the system's own Python, venv and
pip, every library that the pinned list names (by its hash, from wheels on this side), systemd and the units, the
daemon, the device client, the root helper, and the hub with its broker and its API. What stands in: apt's source is a
folder without packages (nothing is missing), the camera is the synthetic one, and the hub is reached over loopback.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pinthesky.machine import pinned
from pinthesky.version import __version__
from pitsctl import places
from pitsctl.device_key import fingerprint_of_certificate, first_certificate
from tests.support.daemon_process import eventually
from tests.support.house.source import ROOT
from tests.support.hub_console import Console
from tests.support.hub_process import HubProcess
from tests.support.pi_over_ssh import PiOverSsh, missing
from tests.support.reached_inside import ReachedInside
from tests.support.small_wheels import WHOLE, build_wheel, make_wheel
from tests.support.terminal import Terminal, terminal

WHEELHOUSE = ROOT / ".wheelhouse"
PYTHON = "/usr/bin/python3"
"""The system's own, which nothing but Debian's packages can be imported from."""
CAMERA = (
    *("--camera-device", "synthetic:?script=quiet:3600"),
    *("--camera-resolution", "320x240", "--camera-framerate", "10", "--camera-bitrate", "200000"),
)
PITSCTL_S = 240.0
NEWER = "9.0.0"
UNITS = ("pinthesky.service", "pits-device-client.service", "pinthesky-admin.socket")
KEYS = frozenset(str(path) for path in (places.KEY, places.CERTIFICATE, places.ROOT_CA))
pytestmark = [pytest.mark.soak, pytest.mark.needs_av]


def lacking() -> str | None:
    """Why it cannot be done on this machine, or None."""
    told = subprocess.run(
        [PYTHON, "-c", "import pip, venv, sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode != 0:
        return f"the system's own Python with pip and venv is needed: {PYTHON}"
    if not (ROOT / "service" / "requirements" / list_of(told.stdout.strip())).is_file() or not WHEELHOUSE.is_dir():
        return "the pinned libraries for the system's own Python are needed as wheels; `make setup` fetches them"
    return missing()


def list_of(python: str) -> str:
    """The list of pinned versions of this machine and a Python."""
    architecture = pinned.architecture_named(os.uname().machine)
    return pinned.list_name(str(architecture), python)


@dataclass(frozen=True)
class Told:
    """What one run of pitsctl has said."""

    code: int
    events: list[dict[str, Any]]
    error: str

    def of(self, event: str) -> list[dict[str, Any]]:
        return [said for said in self.events if said.get("event") == event]

    @property
    def result(self) -> dict[str, Any]:
        (found,) = self.of("result")
        return found


class Stage:
    """A bare machine, a workstation, and a hub with its owner."""

    def __init__(self, over_ssh: PiOverSsh, hub: HubProcess, owner: Console, folder: Path) -> None:
        self.over_ssh = over_ssh
        self.inside = over_ssh.machine
        self.hub = hub
        self.owner = owner
        self.home = folder / "home"
        self.home.mkdir()
        built = build_wheel(folder)
        self.wheel, self.newer = built, make_wheel(built, NEWER, WHOLE).path
        self._reached: ReachedInside | None = None
        self.seen: list[dict[str, Any]] = []
        """What the owner was shown of each machine that they let in."""

    def reach_hub(self) -> None:
        """Let the machine, as it is booted now, reach the hub."""
        self.leave_hub()
        ports = [self.hub.console_port, self.hub.device_port, self.hub.mqtt_port]
        self._reached = ReachedInside(self.inside.first, ports)

    def leave_hub(self) -> None:
        """Let it reach the hub no more."""
        reached, self._reached = self._reached, None
        if reached is not None:
            reached.close()

    def program(self, *words: str) -> list[str]:
        """pitsctl, to be run here in the project's folder."""
        return [sys.executable, "-m", "pitsctl", *words, "--host", "pi"]

    @property
    def environment(self) -> dict[str, str]:
        """With it."""
        return {**self.over_ssh.environment, "HOME": str(self.home)}

    def pitsctl(self, *words: str) -> Told:
        """The program itself, as a script starts it; the owner lets in whatever shows a code."""
        command = self.program(*words, "--json")
        events = []
        with (
            (self.home / "error").open("w+") as error,
            subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=error
            ) as program,
        ):
            assert program.stdout is not None
            for line in program.stdout:
                events.append(json.loads(line))
                if events[-1].get("user_code"):
                    self.let_in(events[-1]["user_code"], events[-1]["fingerprint"])
            code = program.wait(PITSCTL_S)
            error.seek(0)
            return Told(code, events, error.read())

    def install(self) -> Told:
        """The line of the guide, for a machine without internet."""
        trust = ("--home-authority-sha256", hashlib.sha256(self.authority).hexdigest())
        return self.pitsctl("install", *self.answers, *trust, "--yes")

    @property
    def authority(self) -> bytes:
        """The hub's, in DER."""
        return first_certificate((self.hub.data / "authority" / "ca.crt").read_text())

    @property
    def answers(self) -> tuple[str, ...]:
        """What pitsctl is told, but for who vouches for the hub."""
        home = ("--home-kind", "hub", "--home-address", f"localhost:{self.hub.console_port}")
        return (*home, *CAMERA, "--wheel", str(self.wheel), "--wheelhouse", str(WHEELHOUSE))

    def let_in(self, code: str, fingerprint: str, *, thing: str = "garden") -> None:
        """What the owner does at the console."""
        path = f"/registrations/{code}"
        view = self.owner.ask("GET", path).json()
        assert view["fingerprint"] == fingerprint
        self.seen.append(view)
        answer = self.owner.ask("POST", path, {"decision": "approve", "thingName": thing})
        assert answer.status_code == 200, answer.text

    def camera(self, thing: str = "garden") -> dict[str, Any]:
        """The camera, as the console shows it."""
        answer = self.owner.ask("GET", f"/cameras/{thing}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def clips(self) -> list[dict[str, Any]]:
        """Its clips, as the console lists them."""
        items: list[dict[str, Any]] = self.owner.ask("GET", "/cameras/garden/videos").json()["items"]
        return items

    def show(self, unit: str, name: str) -> str:
        return self.inside.must("systemctl", "show", "--value", "--property", name, unit).strip()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if reason := lacking():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("whole-way")
    with ExitStack() as stack:
        hub = HubProcess(folder)
        hub.start()
        stack.callback(hub.stop)
        over_ssh = PiOverSsh(tmp_path_factory.mktemp("pi"))
        stack.callback(over_ssh.throw_away)
        over_ssh.boot(python=PYTHON)
        over_ssh.know_host()
        over_ssh.make_apt({})
        hub.wait_ready()
        owner = Console(hub.data, hub.console_port)
        stack.callback(owner.close)
        made = Stage(over_ssh, hub, owner, folder)
        made.reach_hub()
        stack.callback(made.leave_hub)
        yield made


@pytest.fixture(scope="module")
def bare(stage: Stage) -> set[str]:
    """What was on the disk before anything was installed."""
    return stage.over_ssh.written()


@pytest.fixture(scope="module")
def installed(stage: Stage, bare: set[str]) -> Told:
    """The installation."""
    assert not any("pinthesky" in path for path in bare)
    return stage.install()


@pytest.fixture(scope="module")
def online(stage: Stage, installed: Told) -> Stage:
    """Where the hub sees the camera."""
    assert installed.code == 0, (installed, stage.inside.log())
    eventually(lambda: stage.camera()["online"], "the camera is online", timeout_s=60)
    return stage


def test_one_line_installs_and_an_owner_lets_it_in(stage: Stage, installed: Told):
    assert (installed.code, installed.result["failed"]) == (0, None), (installed, stage.inside.log())
    (plan,) = installed.of("plan")
    wanted = [step["name"] for step in plan["steps"] if step["verdict"] == "needed"]
    assert installed.result["done"] == wanted
    assert [view["hostName"] for view in stage.seen] == [stage.inside.must("uname", "-n").strip()]


def test_services_run_under_their_units(stage: Stage, online: Stage):
    for unit in UNITS:
        assert (stage.show(unit, "ActiveState"), stage.show(unit, "UnitFileState")) == ("active", "enabled")
    for unit in UNITS[:2]:
        assert (stage.show(unit, "User"), stage.show(unit, "NRestarts")) == ("pinthesky", "0"), stage.inside.log()


def test_the_hub_sees_it_online_with_its_version(online: Stage):
    seen = eventually(lambda: (now := online.camera())["softwareVersion"] and now, "it has said its version")
    assert (seen["softwareVersion"], seen["fault"], seen["silent"]) == (__version__, "", False)


def test_a_clip_that_is_asked_for_can_be_played_from_the_media_folder(online: Stage):
    import av

    asked = online.owner.ask("POST", "/cameras/garden/captureVideo", {"durationInSeconds": 2})
    assert asked.status_code == 202, asked.text
    (clip,) = eventually(online.clips, "the clip is listed", timeout_s=60)
    (file,) = (online.hub.data / "media").rglob("*.mp4")
    assert clip["video"].partition("-")[2] in file.name
    with av.open(str(file)) as container:
        assert len(list(container.decode(video=0))) >= 15


def test_doctor_finds_nothing_wrong(online: Stage):
    told = online.pitsctl("doctor")
    (document,) = told.events
    states = {finding["check"]: finding["state"] for finding in document["findings"]}
    # It has the clock of this machine, which may know no time server, and no firmware that tells of its power.
    assert states.pop("clock") in ("ok", "warning")
    assert {check: state for check, state in states.items() if state != "ok"} == {"power": "skipped"}, document
    assert (told.code, document["well"]) == (0, True)
    for check in ("certificate", "credentials", "test PUT", "MQTT publish", "shadow round trip", "frames"):
        assert states[check] == "ok"


def test_doctor_runs_as_a_job_under_the_client_s_own_unit(online: Stage):
    made = online.owner.ask("POST", "/jobs", {"type": "doctor", "cameras": ["garden"]})
    assert made.status_code in (200, 201), made.text
    path = f"/jobs/{made.json()['id']}/executions/garden"

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = online.owner.ask("GET", path).json()
        return found if found["status"] in ("SUCCEEDED", "FAILED", "REJECTED", "TIMED_OUT") else None

    execution = eventually(ended, "the job is over", timeout_s=60)
    assert execution["status"] == "SUCCEEDED", (execution, online.inside.log())


def test_view_shows_version_configuration_and_state(online: Stage):
    told = online.pitsctl("view")
    (document,) = told.events
    assert told.code == 0
    assert document["versions"]["current"] == __version__
    assert document["home"]["thing_name"] == "garden"
    assert {name: service["state"] for name, service in document["services"].items()} == {
        "pinthesky": "active",
        "pits-device-client": "active",
    }
    assert document["configuration"]["effective"]["camera"]["resolution"] == "320x240"
    assert document["configuration"]["desired"] == {}
    assert document["state"]["version"] == __version__


def test_a_second_time_there_is_nothing_to_do(online: Stage):
    before = [online.show(unit, "InvocationID") for unit in UNITS]
    again = online.install()
    assert (again.code, again.result["changed"], again.result["done"]) == (0, False, []), again
    assert [online.show(unit, "InvocationID") for unit in UNITS] == before
    assert len(online.seen) == 1, "nobody was asked for another code"


def test_after_a_power_cut_it_is_back_by_itself(online: Stage):
    online.leave_hub()
    online.over_ssh.boot_again()
    eventually(lambda: not online.camera()["online"], "the hub sees that it is gone", timeout_s=60)
    online.reach_hub()
    eventually(lambda: online.camera()["online"], "it is online again", timeout_s=60)
    assert online.pitsctl("doctor").code == 0


def test_an_update_brings_the_newer_version_and_the_settings_stay(online: Stage):
    wheels = {path.name for path in WHEELHOUSE.glob("*.whl")}
    house = online.inside.path(str(places.WHEELHOUSE))
    house.joinpath("of_an_older_version-1.0-py3-none-any.whl").touch()
    settings = online.inside.path(str(places.ADMIN_FILE))
    settings.write_text(f"PINTHESKY_SETTLE_S=2\n{settings.read_text()}")
    told = online.pitsctl("update", "--wheel", str(online.newer), "--wheelhouse", str(WHEELHOUSE), "--yes")
    assert (told.code, told.result["failed"]) == (0, None), (told, online.inside.log())
    assert told.result["done"] == ["environment", "version"]
    assert {path.name for path in house.iterdir()} < wheels, "those on the list, and none but those"
    eventually(lambda: online.camera()["softwareVersion"] == NEWER, "the newer version has reported", timeout_s=60)
    (document,) = online.pitsctl("view").events
    assert document["configuration"]["effective"]["camera"]["resolution"] == "320x240"


def test_remove_leaves_nothing_but_clips_and_keys(online: Stage, bare: set[str]):
    spool = online.inside.path(str(places.SPOOL))
    (spool / "ready" / "not-uploaded-yet.mp4").write_bytes(b"clip")
    clips = {str(places.SPOOL)} | {f"{places.SPOOL}/{path.relative_to(spool)}" for path in spool.rglob("*")}
    removed = online.pitsctl("remove", "--yes")
    assert (removed.code, removed.result["failed"]) == (0, None), (removed, online.inside.log())
    folders = {str(path) for path in (places.STATE, places.ETC, places.CERTIFICATES)}
    assert online.over_ssh.written() - bare == clips | folders | KEYS
    assert online.inside.run("getent", "passwd", places.USER).returncode != 0
    assert (
        online.inside.must("systemctl", "list-units", "--all", "--plain", "--no-legend", "p*").count("pinthesky") == 0
    )
    eventually(lambda: not online.camera()["online"], "the hub sees that it is gone", timeout_s=60)


def test_what_was_registered_can_be_removed_and_what_it_recorded_stays(online: Stage):
    assert online.owner.ask("DELETE", "/cameras/garden").status_code == 204
    assert online.owner.ask("GET", "/cameras/garden").status_code == 404
    assert len(list((online.hub.data / "media").rglob("*.mp4"))) == 1


def test_the_wizard_leads_there_too(stage: Stage, tmp_path: Path):
    told = [f"{name}={stage.environment[name]}" for name in ("HOME", "PATH")]
    command = shlex.join(["env", *told, *stage.program(*stage.answers)])
    with terminal(tmp_path, f"{command}; echo code=$?; read line", size=(100, 40)) as window:
        window.see("▸ Host", "Enter Continue")
        lead(window, "Model", "▸ Home")
        window.press("Enter")
        screen = window.see("hub's fingerprint", "[ Yes, trust it ]")
        assert fingerprint_of_certificate(stage.authority) in joined(screen), screen
        window.press("Right", "Enter")
        window.see("by the hub's own authority")
        lead(window, "▸ Storage", "▸ Camera", "▸ Data plane", "▸ Paths", "[ Install ]")
        window.press("Enter")
        screen = window.see(
            "Let the camera in", f":{stage.hub.console_port}/register", "Waiting for you", within_s=PITSCTL_S
        )
        (code,) = set(re.findall(r"\b[A-Z0-9]{4}-[A-Z0-9]{4}\b", screen))
        (fingerprint,) = re.findall(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", joined(screen))
        stage.let_in(code, fingerprint, thing="porch")
        window.see("The camera is set up", within_s=PITSCTL_S)
        window.press("Enter")
        assert "The camera is the thing porch." in window.see("code=0")
    eventually(lambda: stage.camera("porch")["online"], "the camera is online", timeout_s=60)


def test_remove_leaves_nothing_where_clips_and_keys_may_go_too(stage: Stage, bare: set[str]):
    removed = stage.pitsctl("remove", "--delete-clips", "--delete-certificates", "--yes")
    assert (removed.code, removed.result["failed"]) == (0, None), (removed, stage.inside.log())
    assert stage.over_ssh.written() - bare == set()


def lead(window: Terminal, *seen: str) -> None:
    """Go on, from screen to screen."""
    for text in seen:
        window.press("Enter")
        window.see(text)


def joined(screen: str) -> str:
    """What stands on a screen, without what divides it into lines and boxes."""
    return re.sub(r"[\s│┃█▌▐|]", "", screen)
