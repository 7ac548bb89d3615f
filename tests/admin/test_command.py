"""The command line, its exit codes, and the parts that systemd starts."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from pinthesky.admin import command, requests
from pinthesky.admin.installation import Installation
from pinthesky.admin.requests import Answer
from pinthesky.errors import InvalidInput, InvariantBroken, Unavailable
from pinthesky.machine import shipped
from tests.support.house.source import ROOT
from tests.support.made_up_pi import MadeUpPi

UP: dict[str, str | bool | None] = {"pinthesky": "active", "pits-device-client": "active", "all_up": True}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Answer | Exception]:
    """What the root helper says next."""
    waiting: list[Answer | Exception] = []

    def ask(_path: Path, _request: requests.Request, hear) -> Answer:
        hear("a line")
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(command, "ask", ask)
    return waiting


@pytest.mark.parametrize(
    "words, expected",
    [
        (["status"], requests.Status()),
        (["reboot"], requests.Reboot()),
        (["start-services"], requests.StartServices()),
        (["stop-services"], requests.StopServices()),
        (["restart-services", "pinthesky.service"], requests.RestartServices(("pinthesky",))),
        (["read-service-logs", "pinthesky", "--lines", "5"], requests.ReadServiceLogs("pinthesky", 5)),
    ],
)
def test_words_become_a_request(words: list[str], expected: requests.Request):
    assert command.request_from(command.parser().parse_args(words)) == expected


def test_each_upgrade_that_a_person_asks_for_is_a_wish_of_its_own():
    options = command.parser().parse_args(["upgrade", "a.whl", "A" * 64, "--allow-downgrade"])
    first, second = command.request_from(options), command.request_from(options)
    assert isinstance(first, requests.Upgrade)
    assert isinstance(second, requests.Upgrade)
    assert (first.sha256, first.allow_downgrade) == ("a" * 64, True)
    assert first.identity != second.identity


@pytest.mark.parametrize("outcome, code", command.EXIT_CODES.items())
def test_the_outcome_is_the_exit_code_and_what_failed_goes_to_stderr(
    answers: list, capsys: pytest.CaptureFixture[str], outcome: requests.Outcome, code: int
):
    answers.append(Answer(outcome, "so it is"))
    assert command.main(["reboot"]) == code
    printed = capsys.readouterr()
    where = printed.out if code == 0 else printed.err
    assert "so it is" in where
    assert printed.out.startswith("a line\n")


@pytest.mark.parametrize(
    "error, code", [(Unavailable("not there"), 3), (InvariantBroken("two heads"), 1), (OSError("disk"), 1)]
)
def test_what_was_foreseen_is_one_line(answers: list, capsys: pytest.CaptureFixture[str], error: Exception, code: int):
    answers.append(error)
    assert command.main(["reboot"]) == code
    assert capsys.readouterr().err == f"pinthesky-admin: {error}\n"


def test_a_wrong_request_is_refused_before_anything_is_asked(answers: list, capsys: pytest.CaptureFixture[str]):
    assert command.main(["stop-services", "pits-device-client"]) == 2
    assert "could not be reached" in capsys.readouterr().err


def test_a_log_ends_without_a_word_of_ours(answers: list, capsys: pytest.CaptureFixture[str]):
    answers.append(Answer("done", "1 lines of pinthesky"))
    assert command.main(["read-service-logs", "pinthesky"]) == 0
    assert capsys.readouterr().out == "a line\n"


def test_status_can_be_checked_and_read_by_programs(answers: list, capsys: pytest.CaptureFixture[str]):
    answers += [Answer("done", "well", UP), Answer("done", "well", UP), Answer("done", "ill", {"pinthesky": "failed"})]
    assert command.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == UP
    assert command.main(["status", "--check"]) == 0
    assert command.main(["status", "--check", "--service", "pinthesky"]) == 1
    assert "not running: pinthesky" in capsys.readouterr().err


def test_a_step_of_a_job_goes_by_its_note(answers: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Errands:
        def __init__(self, *_: object) -> None:
            """Take what the real one takes."""

        def run(self, request: requests.Request, ask) -> Answer:
            assert ask(request).text == "real"
            return Answer("done", "noted")

    answers.append(Answer("done", "real"))
    monkeypatch.setattr(command, "Errands", Errands)
    assert command.main(["reboot", "--as-job"]) == 0


def test_serve_without_systemd_and_wrong_settings_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert command.main(["serve"]) == 2
    monkeypatch.setenv("PINTHESKY_SETTLE_S", "long")
    assert command.main(["carry-out-upgrade"]) == 2
    assert "PINTHESKY_SETTLE_S" in capsys.readouterr().err


def test_one_upgrade_is_carried_out_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pi = MadeUpPi(tmp_path)
    assert pi.record.ask(pi.request(pi.wheel("1.1.0")))
    with (pi.installation.state / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert command.carry_out_upgrade(pi.installation) == 3
    assert command.carry_out_upgrade(pi.installation) == 0
    assert pi.links() == ("1.1.0", "1.1.0")


def test_a_connection_that_systemd_passed_is_answered(tmp_path: Path):
    pi = MadeUpPi(tmp_path)
    # The descriptor has to be 3, so a process of its own plays systemd's part.
    program = f"""
import os, socket
from pathlib import Path
from pinthesky.admin import command, requests
from pinthesky.admin.installation import Installation
os.closerange(3, 20)
ours, theirs = socket.socketpair()
os.dup2(ours.fileno(), 10)
os.dup2(theirs.fileno(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.write(10, requests.encode(requests.StopServices()))
installation = Installation(state=Path({str(pi.installation.state)!r}), user="root",
                            program_path={pi.installation.program_path!r})
assert command.answer_one(installation) == 0
print(os.read(10, 1000).decode(), flush=True)
os._exit(0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ}
    )
    assert "stopped pinthesky" in ended.stdout + ended.stderr


def test_the_defaults_are_the_places_that_the_units_name():
    units = "".join(path.read_text() for path in (ROOT / "service" / "systemd").glob("pinthesky*"))
    installation = Installation()
    for path in (installation.versions, installation.state, installation.socket):
        assert str(path) in units


def test_a_new_version_is_watched_for_longer_than_a_daemon_may_hang_unseen():
    units = [(ROOT / "service" / "systemd" / f"{name}.service").read_text() for name in requests.SERVICES]
    watchdogs = [int(found) for unit in units for found in re.findall(r"(?m)^WatchdogSec=(\d+)$", unit)]
    assert len(watchdogs) == 2
    assert Installation().settle_s > max(watchdogs)


def test_where_units_and_handlers_lie_is_told(capsys: pytest.CaptureFixture[str]):
    for kind, name in (("handlers", "reboot"), ("systemd", "pinthesky.service")):
        assert command.main(["where", kind]) == 0
        assert (Path(capsys.readouterr().out.strip()) / name).is_file()


def test_handlers_that_a_packager_left_out_are_missed_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "pinthesky" / "admin" / "shipped.py"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    assert command.main(["where", "handlers"]) == 1
    assert "handlers did not come with this installation" in capsys.readouterr().err
    (tmp_path / "share" / "pinthesky" / "handlers").mkdir(parents=True)
    assert command.main(["where", "handlers"]) == 0


def test_version_is_told():
    with pytest.raises(SystemExit) as caught:
        command.main(["--version"])
    assert caught.value.code == 0
    with pytest.raises(InvalidInput):
        command.request_from(command.parser().parse_args(["start-services", "ssh"]))
