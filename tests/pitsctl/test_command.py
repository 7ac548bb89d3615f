"""The program: what it prints, asks and answers with, on a root file system in place of a Pi."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pytest

from pinthesky.errors import InvalidInput, Unavailable
from pitsctl import command, installer, places
from pitsctl.answers import Answers
from pitsctl.facts import Facts
from pitsctl.installer import PiInstaller
from pitsctl.ledger import Ledger
from pitsctl.local_machine import RootedMachine
from pitsctl.machine import Machine
from pitsctl.person import Person
from pitsctl.presenting import Unattended
from pitsctl.steps import Step, Verdict
from tests.pitsctl.conftest import ZERO_2, Heard, Installation, MadeUpHome
from tests.support.pretend_root import CutOff, PretendRoot, made_up_parcel

HOME = ("--home-kind", "hub", "--home-address", "hub.local")


class Here:
    """The program on the pretend Pi."""

    def __init__(self, pi: PretendRoot, capsys: pytest.CaptureFixture[str]) -> None:
        self.pi = pi
        self.machine: Machine | None = None
        self.facts = ZERO_2
        self.version = "1.0.0"
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = command.main(list(words))
        out, error = self._capsys.readouterr()
        return code, out, error


@pytest.fixture
def here(pi: PretendRoot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """On a Pi on which nothing is."""
    yield from program(Here(pi, capsys), monkeypatch)


@pytest.fixture
def there(
    installed_pi: PretendRoot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Here]:
    """On a Pi on which everything is installed."""
    yield from program(Here(installed_pi, capsys), monkeypatch)


def program(made: Here, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    pi = made.pi

    def home(
        _answers: Answers, machine: Machine, _facts: Facts, *, ledger: Ledger, person: Person, stop: threading.Event
    ) -> Sequence[Step]:
        return [MadeUpHome(machine, ledger)]

    monkeypatch.setattr(PiInstaller, "machine", lambda *_: made.machine or pi)
    monkeypatch.setattr(PiInstaller, "parcel", lambda _: made_up_parcel(made.version))
    monkeypatch.setattr(installer, "facts_of", lambda _: made.facts)
    monkeypatch.setattr(installer, "home_steps", home)
    with Path("/dev/null").open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        yield made


def test_a_dry_run_prints_the_plan_and_changes_nothing(here: Here):
    before = here.pi.tree()
    code, out, _ = here("install", "--dry-run", *HOME)
    assert code == 0
    assert "to do  Make the user pinthesky: make pinthesky" in out
    assert "there  Look whether this machine can be a camera: Raspberry Pi Zero 2 W" in out
    assert here.pi.tree() == before


def test_install_needs_a_yes_where_nobody_can_be_asked(here: Here):
    code, _, error = here("install", *HOME)
    assert (code, "--yes: is needed" in error) == (2, True)


def test_it_installs_says_what_was_done_and_where_to_look_and_then_has_nothing_to_do(here: Here):
    code, out, _ = here("install", "--yes", *HOME)
    assert code == 0
    assert "Done: debian-packages, user, folders" in out
    assert "The camera is the thing garden." in out
    code, out, _ = here("install", "--yes")
    assert (code, "Nothing to do." in out) == (0, True)


def test_programs_get_events_and_a_result(here: Here):
    code, out, _ = here("install", "--yes", "--json", *HOME)
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert events[0]["event"] == "plan"
    assert {"name", "title", "verdict", "what"} == set(events[0]["steps"][0])
    assert events[-1] == {
        "event": "result",
        "changed": True,
        "done": [item["name"] for item in events[0]["steps"] if item["verdict"] == "needed"],
        "failed": None,
        "error": None,
        "left": [],
    }
    assert {event["event"] for event in events} == {"plan", "began", "said", "ended", "result"}
    code, out, _ = here("install", "--yes", "--json", *HOME)
    assert json.loads(out.splitlines()[-1])["changed"] is False


def test_a_failed_installation_says_what_was_done_how_to_go_on_and_how_to_take_it_back(here: Here):
    here.machine = CutOff(here.pi, 60, is_done=False)
    code, out, _ = here("install", "--yes", *HOME)
    assert code == 3
    assert "Done before that: debian-packages, user" in out
    assert f"To go on where it stopped: pitsctl install --yes {' '.join(HOME)}" in out
    assert "To take it back: pitsctl remove" in out
    here.machine = None
    assert here("install", "--yes", *HOME)[0] == 0


def test_what_is_impossible_is_said_before_anything_is_changed(here: Here):
    here.facts = Facts(python=(3, 7), has_apt=True, has_systemd=True)
    before = here.pi.tree()
    code, out, _ = here("install", "--yes", *HOME)
    assert (code, "CANNOT" in out, "Python 3.7 is too old" in out) == (2, True, True)
    assert here.pi.tree() == before


def test_an_answer_of_the_installation_holds_at_the_next_without_being_given(there: Here):
    assert there("install", "--yes", "--camera-rotation", "90")[0] == 0
    assert there("install", "--yes", "--camera-framerate", "10")[0] == 0
    flags = there.pi.text("/etc/pinthesky/pinthesky.env") or ""
    assert "--rotation 90" in flags
    assert "--framerate 10" in flags


def test_update_needs_an_installation(here: Here):
    code, _, error = here("update", "--yes")
    assert (code, "nothing is installed there yet" in error) == (2, True)


def test_update_asks_nothing_of_the_home(there: Here, monkeypatch: pytest.MonkeyPatch):
    def unreachable(*_: object, **__: object) -> Sequence[Step]:
        raise Unavailable("the home cannot be reached")

    monkeypatch.setattr(installer, "home_steps", unreachable)
    assert there("install", "--yes")[0] == 3
    assert there("update", "--yes")[0] == 0


def test_a_signal_s_handlers_are_given_back(here: Here):
    before = signal.getsignal(signal.SIGTERM)
    here("install", "--dry-run", *HOME)
    assert signal.getsignal(signal.SIGTERM) == before


def test_update_brings_another_version_and_back_the_one_before(there: Here):
    code, _, error = there("back", "--yes")
    assert (code, "no version to go back to" in error) == (1, True)
    there.pi.run("rm", "/var/fake/active-pinthesky-admin.socket")  # no root helper that would try it
    there.version = "1.1.0"
    assert there("update", "--yes")[0] == 0
    assert there.pi.run("readlink", str(places.CURRENT)).out == "1.1.0\n"
    there.pi.run("rm", "/var/fake/active-pinthesky-admin.socket")
    code, out, _ = there("back", "--yes")
    assert (code, there.pi.run("readlink", str(places.CURRENT)).out) == (0, "1.0.0\n"), out


def test_another_wheel_of_the_version_that_runs_is_refused(there: Here, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PiInstaller, "parcel", lambda _: made_up_parcel(also={"another": b"file"}))
    code, out, _ = there("install", "--yes")
    assert (code, "another wheel of 1.0.0 is what runs" in out) == (2, True)


def test_another_build_of_an_unreleased_version_gets_a_number_on_that_machine(
    here: Here, monkeypatch: pytest.MonkeyPatch
):
    here.version = "1.0.0.dev0"
    assert here("install", "--yes", *HOME)[0] == 0
    here.pi.run("rm", "/var/fake/active-pinthesky-admin.socket")
    also: dict[str, bytes] = {"changed": b"once"}
    monkeypatch.setattr(PiInstaller, "parcel", lambda _: made_up_parcel("1.0.0.dev0", also=also))
    assert here("update", "--yes")[0] == 0
    assert here.pi.run("readlink", str(places.CURRENT)).out == "1.0.0.dev0+b0001\n"
    assert "Nothing to do." in here("update", "--yes")[1]
    also["changed"] = b"twice"
    here.pi.run("rm", "/var/fake/active-pinthesky-admin.socket")
    assert here("update", "--yes")[0] == 0
    assert here.pi.run("readlink", str(places.CURRENT)).out == "1.0.0.dev0+b0002\n"


def test_a_newer_version_that_runs_is_not_replaced_by_an_older_one_unasked(there: Here):
    there.version = "0.9.9"
    code, out, _ = there("update", "--yes")
    assert (code, "1.0.0 is what runs, and newer than 0.9.9" in out) == (2, True)
    there.pi.run("rm", "/var/fake/active-pinthesky-admin.socket")
    assert there("update", "--yes", "--allow-downgrade")[0] == 0
    assert there.pi.run("readlink", str(places.CURRENT)).out == "0.9.9\n"


def test_remove_keeps_clips_and_certificate_unless_told_otherwise(there: Here):
    there.pi.put("/var/lib/pinthesky/spool/one.mp4", "clip")
    assert there("remove", "--yes")[0] == 0
    assert there.pi.text("/var/lib/pinthesky/spool/one.mp4") == "clip"
    assert there.pi.text(str(places.KEY)) == "key"
    assert there.pi.text("/etc/pinthesky/pinthesky.env") is None
    code, out, _ = there("remove", "--yes")
    assert (code, "Nothing to do." in out) == (0, True)
    assert there("install", "--yes", *HOME)[0] == 0
    assert there("remove", "--yes", "--delete-clips", "--delete-certificates")[0] == 0
    assert there.pi.text("/var/lib/pinthesky/spool/one.mp4") is None
    assert there.pi.text(str(places.KEY)) is None


def test_register_lets_the_camera_in_and_installs_nothing_yet(here: Here):
    assert here("register", *HOME)[0] == 0
    assert here.pi.text(str(places.KEY)) == "key"
    assert here.pi.text("/etc/pinthesky/pinthesky.env") is None
    code, out, _ = here("install", "--yes")
    assert (code, "made-up-home" not in out) == (0, True)


def test_without_a_command_it_is_the_wizard(here: Here, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def run(answers: Answers, _installer: PiInstaller, *, text: bool) -> int:
        asked.append((answers.connection.host, text))
        return 7

    monkeypatch.setattr("pitsctl.wizard.run", run)
    assert here("--text", "--host", "camera")[0] == 7
    assert here()[0] == 7
    assert asked == [("camera", True), ("", False)]


@pytest.mark.parametrize("name", ["doctor", "view"])
def test_doctor_and_view_look_at_the_machine(there: Here, name: str):
    code, out, _ = there(name, "--json")
    assert code in (0, 1)
    assert isinstance(json.loads(out), dict)
    assert there(name)[1]


def test_a_failed_update_is_told_to_programs(there: Here):
    there.version = "1.1.0"
    there.machine = CutOff(there.pi, 60, is_done=False)
    code, out, _ = there("update", "--yes", "--json")
    last = json.loads(out.splitlines()[-1])
    assert (code, last["event"], last["failed"] in last["left"]) == (3, "result", True)


def test_logs_are_those_of_the_services(here: Here):
    code, out, _ = here("logs", "pinthesky", "--lines", "3")
    assert (code, out) == (0, "no camera here\n")
    code, _, error = here("logs", "--lines", "0")
    assert (code, "from 1 to 10000" in error) == (2, True)


def test_without_its_own_libraries_it_says_so():
    hidden = "import sys; sys.modules['yaml'] = None; from pitsctl.__main__ import main; sys.exit(main())"
    ended = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr.count("\n"), "the library yaml is missing" in ended.stderr) == (2, 1, True)


def test_a_wrong_level_or_flag_ends_with_2(here: Here):
    assert here("logs", "--level", "LOUD")[0] == 2
    assert here("install", "--camera-rotation", "45")[0] == 2
    with pytest.raises(SystemExit) as ended:
        here("install", "--no-such-flag")
    assert ended.value.code == 2


def test_ctrl_c_says_that_the_same_command_goes_on(here: Here, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PiInstaller, "looked", interrupted)
    code, _, error = here("install", "--yes", *HOME)
    assert (code, "goes on where it stopped" in error) == (130, True)


def test_the_installer_of_the_wizard_does_the_same(here: Here, tmp_path: Path):
    made = PiInstaller()
    person = Unattended({}, io.StringIO(), lines=None, inner=None)
    answers = Answers()
    seen = made.look_at_machine(answers, person)
    assert dict(seen.rows)["Model"] == ZERO_2.pi_model
    assert (seen.pi_model, seen.sensor, seen.answers) == (ZERO_2.pi_model, ZERO_2.sensor, None)
    assert made.plan(answers, person)[1].found.verdict is Verdict.NEEDED
    lines = made.carry_out(answers, person, progress=Heard(), stop=threading.Event())
    assert lines[0] == "The camera is the thing garden."
    assert made.look_at_machine(answers, person).answers is not None
    made.save(answers, tmp_path / "answers.yaml")
    assert (tmp_path / "answers.yaml").read_text().startswith("# Answers of pitsctl")
    made.take_back(answers, person, progress=Heard(), stop=threading.Event())
    assert here.pi.text(str(places.RECORD_FILE)) is None
    made.close()


def test_a_sudo_password_of_the_environment_is_given_once_and_not_passed_on(monkeypatch: pytest.MonkeyPatch):
    environment = {"PITSCTL_SUDO_PASSWORD": "secret"}
    options = command.parser().parse_args(["logs"], argparse.Namespace(**command._USUAL))
    made = command.Command(options, environment, ["logs"])
    assert environment == {}
    assert made.person.secret("Password of pi for sudo") == "secret"
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert Unattended({}, io.StringIO(), lines=None, inner=None).secret("Password for sudo") is None


def test_a_card_that_is_not_booted_is_set_up_below_its_mount(pi: PretendRoot):
    before = pi.tree()
    pi.run("sh", "-c", "mkdir /mnt/card && mount --bind / /mnt/card")
    card = RootedMachine(pi, PurePosixPath("/mnt/card"))
    with pytest.raises(InvalidInput, match="mount --rbind /dev /mnt/card/dev"):
        card.run("true")
    pi.run("sh", "-c", "umount /mnt/card && mount --rbind / /mnt/card")
    installation = Installation(card, dataclasses.replace(ZERO_2, booted=False))
    outcome = installation.install()
    assert outcome.is_complete, (outcome, installation.heard.lines)
    assert "started" not in " ".join(installation.heard.lines)
    assert pi.text("/var/fake/enabled-pinthesky.service") is not None
    assert pi.text("/var/fake/active-pinthesky.service") is None
    assert card.mode_of(places.KEY) == places.KEY_MODE
    assert card.mode_of(PurePosixPath("/nothing")) is None
    assert card.name == "/mnt/card of the pretend Pi"
    assert installation.install().done == ()
    assert installation.remove().is_complete
    pi.run("sh", "-c", "umount -R -l /mnt/card && rmdir /mnt/card")
    assert pi.tree() == before
