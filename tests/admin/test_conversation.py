"""A request through the socket: who may ask, what is read, what is answered; and a step of a job that asks."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pinthesky.admin import requests, server
from pinthesky.admin.asking import AnswerLost, ask
from pinthesky.admin.errand import END_WITHIN_S, Errands
from pinthesky.admin.requests import Answer
from pinthesky.admin.upgrade import Upgrader
from pinthesky.admin.verbs import Verbs
from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable
from tests.support.made_up_pi import DIES, MadeUpPi


@pytest.fixture
def pi(tmp_path: Path) -> MadeUpPi:
    return MadeUpPi(tmp_path)


@contextmanager
def listening(pi: MadeUpPi, answer: Callable[[socket.socket], None]) -> Iterator[Path]:
    """Have each of up to three connections answered, as systemd would start a process for each."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(pi.installation.socket))
        listener.listen()
        listener.settimeout(0.05)
        over = threading.Event()

        def accept() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    answer(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield pi.installation.socket
        finally:
            over.set()
            thread.join()
            pi.installation.socket.unlink()


def served(pi: MadeUpPi, verbs: Verbs | None = None) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        server.serve(connection, pi.installation, verbs or Verbs(pi.installation, pause=lambda _: None))

    return answer


def asked(pi: MadeUpPi, request: requests.Request, verbs: Verbs | None = None) -> tuple[Answer, list[str]]:
    lines: list[str] = []
    with listening(pi, served(pi, verbs)) as path:
        return ask(path, request, lines.append), lines


def said_to(pi: MadeUpPi, data: bytes, *, end: bool = True) -> list[requests.Line | Answer]:
    """Send bytes to the root helper and return its messages."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(data)
        if end:
            ours.shutdown(socket.SHUT_WR)
        server.serve(theirs, pi.installation, Verbs(pi.installation))
        with ours.makefile("rb") as stream:
            return [requests.parse_message(line) for line in stream]


def test_each_service_verb_is_one_call_of_systemctl_in_the_right_order(pi: MadeUpPi):
    answer, _ = asked(pi, requests.StartServices(("pits-device-client", "pinthesky")))
    assert answer == Answer("done", "started pinthesky and pits-device-client")
    assert asked(pi, requests.StopServices())[0] == Answer("done", "stopped pinthesky")
    assert asked(pi, requests.RestartServices(("pinthesky",)))[0] == Answer("done", "restarted pinthesky")
    assert pi.asked().splitlines() == [
        "--no-ask-password start pinthesky.service pits-device-client.service",
        "--no-ask-password stop pinthesky.service",
        "--no-ask-password reset-failed pinthesky.service",
        "--no-ask-password restart pinthesky.service",
    ]


def test_reboot_and_shutdown_do_not_wait_for_their_own_end(pi: MadeUpPi):
    assert asked(pi, requests.Reboot())[0].outcome == "done"
    assert asked(pi, requests.Shutdown())[0].outcome == "done"
    assert pi.asked().splitlines() == ["--no-ask-password --no-block reboot", "--no-ask-password --no-block poweroff"]


def test_a_log_comes_line_by_line(pi: MadeUpPi):
    answer, lines = asked(pi, requests.ReadServiceLogs("pinthesky-admin", 2))
    assert (answer.text, lines) == ("2 lines of pinthesky-admin", ["two", "three"])
    assert "--unit=pinthesky-admin@*.service" in pi.asked()


def test_systemd_s_refusal_is_the_answer(pi: MadeUpPi):
    (pi.home / "refuse").touch()
    answer, _ = asked(pi, requests.StartServices())
    assert (answer.outcome, "Failed to connect to bus" in answer.text) == ("failed", True)
    assert asked(pi, requests.ReadServiceLogs("pinthesky"))[0].text == "journalctl: No journal files were found."


def test_certificates_are_not_rotated_yet(pi: MadeUpPi):
    assert asked(pi, requests.RotateCertificate())[0].outcome == "refused"


def test_status_tells_of_services_versions_and_the_last_upgrade(pi: MadeUpPi):
    assert pi.record.ask(pi.request(pi.wheel("1.1.0", DIES)))
    assert "an upgrade is under way: the new version is being fetched" in asked(pi, requests.Status())[0].text
    Upgrader(pi.installation).run()
    answer, _ = asked(pi, requests.Status())
    assert answer.facts == {
        "pinthesky": "active",
        "pits-device-client": "active",
        "current": "1.0.0",
        "steady": "1.0.0",
        "upgrading": False,
        "all_up": True,
    }
    assert "pinthesky: active (running)\n" in answer.text
    assert "version 1.0.0, kept beside it: none\nthe last upgrade: 1.1.0 is not used" in answer.text


def test_status_tells_of_a_machine_on_which_nothing_is_installed(pi: MadeUpPi):
    installation = pi.with_settings(versions=pi.home / "nowhere")
    answer = Verbs(installation).carry_out(requests.Status(), lambda _: None)
    assert "version not installed, kept beside it: none" in answer.text


def upgrading(pi: MadeUpPi) -> Verbs:
    """Verbs whose wait is the time in which the unit does its work."""

    def pause(_seconds: float) -> None:
        Upgrader(pi.installation).run()

    return Verbs(pi.installation, pause=pause)


def test_an_upgrade_is_asked_of_its_unit_and_its_outcome_is_the_answer(pi: MadeUpPi):
    request = pi.request(pi.wheel("1.1.0"))
    answer, lines = asked(pi, request, upgrading(pi))
    assert (answer.outcome, "1.1.0 runs in place of 1.0.0" in answer.text) == ("done", True)
    assert lines == ["the new version is being fetched and installed beside the old one"]
    assert "--no-ask-password --no-block start pinthesky-upgrade.service" in pi.asked()
    assert asked(pi, request)[0] == answer


def test_a_failed_and_a_refused_upgrade_are_told_apart(pi: MadeUpPi):
    failed, _ = asked(pi, pi.request(pi.wheel("1.1.0", DIES)), upgrading(pi))
    refused, _ = asked(pi, pi.request(pi.wheel("0.1.0"), identity="wish-2"), upgrading(pi))
    assert (failed.outcome, refused.outcome) == ("failed", "refused")


def test_nothing_else_is_done_to_the_services_during_an_upgrade(pi: MadeUpPi):
    assert pi.record.ask(pi.request(pi.wheel("1.1.0")))
    for request in (requests.Reboot(), requests.Shutdown(), requests.StopServices()):
        assert asked(pi, request)[0].outcome == "busy"
    assert asked(pi, pi.request(pi.wheel("1.2.0"), identity="wish-2"))[0].outcome == "busy"


def test_an_upgrade_that_cannot_be_begun_leaves_no_wish(pi: MadeUpPi):
    (pi.home / "programs" / "systemctl").write_text("#!/bin/sh\necho Unit not found.\nexit 1\n")
    answer, _ = asked(pi, pi.request(pi.wheel("1.1.0")))
    assert (answer.outcome, "Unit not found" in answer.text, pi.record.wish()) == ("failed", True, None)


def test_an_upgrade_that_is_under_way_is_not_forgotten_when_its_unit_cannot_be_asked(pi: MadeUpPi):
    request = pi.request(pi.wheel("1.1.0"))
    assert pi.record.ask(request)
    (pi.home / "programs" / "systemctl").write_text("#!/bin/sh\necho Connection timed out.\nexit 1\n")
    assert asked(pi, request)[0].outcome == "failed"
    assert pi.record.wish() is not None


def test_an_upgrade_that_was_given_up_goes_on_when_another_one_is_asked_for_and_bars_no_reboot(pi: MadeUpPi):
    assert pi.record.ask(pi.request(pi.wheel("1.1.0")))
    (pi.home / "failed-pinthesky-upgrade.service").touch()
    answer, _ = asked(pi, pi.request(pi.wheel("1.2.0"), identity="wish-2"))
    assert (answer.outcome, "another upgrade is under way" in answer.text) == ("busy", True)
    assert "start pinthesky-upgrade.service" in pi.asked()
    assert asked(pi, requests.Reboot())[0].outcome == "done"


def test_an_upgrade_that_cannot_be_read_is_cleared_away_and_status_says_so(pi: MadeUpPi):
    (pi.installation.state / "upgrade.json").write_text("{")
    status, _ = asked(pi, requests.Status())
    assert (status.outcome, "upgrade.json cannot be read" in status.text) == ("done", True)
    answer, _ = asked(pi, pi.request(pi.wheel("1.1.0")))
    assert (answer.outcome, "it is being cleared away" in answer.text) == ("busy", True)
    assert "start pinthesky-upgrade.service" in pi.asked()


def test_an_upgrade_from_a_source_that_was_not_allowed_is_refused_at_once(pi: MadeUpPi):
    answer, _ = asked(pi, requests.Upgrade("https://x.example/a.whl", "a" * 64, "wish-1"))
    assert (answer.outcome, pi.record.wish()) == ("refused", None)


def test_a_wait_for_an_upgrade_ends_in_any_case(pi: MadeUpPi):
    seconds = iter(range(0, 10**6, 1000))
    verbs = Verbs(pi.installation, monotonic=lambda: float(next(seconds)), pause=lambda _: None)
    request = pi.request(pi.wheel("1.1.0"))
    assert verbs.carry_out(request, lambda _: None) == Answer("busy", "the upgrade is still under way; ask again later")
    lost = Verbs(pi.installation, pause=lambda _: pi.record.drop())
    assert "ended without an outcome" in lost.carry_out(request, lambda _: None).text
    (pi.home / "programs" / "systemctl").write_text("#!/bin/sh\necho ActiveState=failed\n")
    assert "was given up" in verbs.carry_out(request, lambda _: None).text


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "request: "),
        (b"{}\n", "request: "),
        (b'{"verb":"status"}\n{"verb":"reboot"}\n', "one line is all"),
        (b"x" * (requests.REQUEST_MAX + 1), "longer than 16384 bytes"),
        (b"[" * 5000 + b"\n", "request: "),
        (b"\xff\xfe\n", "request: "),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(pi: MadeUpPi, data: bytes, words: str):
    (answer,) = said_to(pi, data)
    assert isinstance(answer, Answer)
    assert (answer.outcome, words in answer.text) == ("refused", True), answer
    assert pi.asked() == ""


def test_a_request_that_does_not_come_is_not_waited_for(pi: MadeUpPi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "ASK_WITHIN_S", 0.05)
    (answer,) = said_to(pi, b'{"verb":', end=False)
    assert "was not there within" in answer.text


def test_a_request_is_carried_out_even_if_nobody_hears_the_answer(pi: MadeUpPi):
    ours, theirs = socket.socketpair()
    ours.sendall(requests.encode(requests.ReadServiceLogs("pinthesky")))
    ours.close()
    server.serve(theirs, pi.installation, Verbs(pi.installation))
    assert "journal" not in pi.asked()
    assert "--unit=pinthesky.service" in pi.asked()


def test_every_request_is_logged_with_who_asked_and_what_became_of_it(pi: MadeUpPi, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    said_to(pi, requests.encode(requests.StopServices()))
    said_to(pi, requests.encode(requests.Upgrade("https://x.example/a.whl?secret=1", "a" * 64, "wish-1")))
    who = f"uid {os.geteuid()}, pid {os.getpid()}"
    assert f"{who} asks: stop-services pinthesky" in caplog.messages
    assert f"{who}: stop-services pinthesky: done: stopped pinthesky" in caplog.messages
    assert "refused: https://x.example/a.whl is not among" in caplog.text
    assert "secret" not in caplog.text


def test_only_root_and_the_user_are_heard(caplog: pytest.LogCaptureFixture):
    server.check_peer(server.Peer(1, 0, 0), "nobody")
    server.check_peer(server.Peer(1, 65534, 65534), "nobody")
    with pytest.raises(NotAuthorized):
        server.check_peer(server.Peer(1, 1, 0), "nobody")
    with pytest.raises(NotAuthorized):
        server.check_peer(server.Peer(1, 1, 0), "user-that-is-not-there")
    assert "There is no user user-that-is-not-there" in caplog.messages


def test_only_systemd_passes_a_connection():
    for environment in (
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"},
    ):
        with pytest.raises(InvalidInput, match=r"pinthesky-admin\.socket"):
            server.passed_connection(environment)


def test_where_nobody_listens_it_says_what_to_look_at(pi: MadeUpPi):
    with pytest.raises(Unavailable, match=r"is pinthesky-admin\.socket running\?"):
        ask(pi.installation.socket, requests.Status(), print)


@pytest.mark.parametrize("reply", [b"", b"hello\n", b'{"kind":"line","text":"x"}\n'])
def test_an_answer_that_does_not_come_is_lost(pi: MadeUpPi, reply: bytes):
    def answer(connection: socket.socket) -> None:
        connection.recv(requests.REQUEST_MAX)
        connection.sendall(reply)

    with listening(pi, answer) as path, pytest.raises(AnswerLost):
        ask(path, requests.Status(), lambda _: None)


class Teller:
    """Answers an errand, and remembers what it was asked."""

    def __init__(self, *answers: Answer | Unavailable) -> None:
        self.heard: list[requests.Request] = []
        self._answers = list(answers)

    def __call__(self, request: requests.Request) -> Answer:
        self.heard.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer


class Killed(BaseException):
    """Stands for the end of the process in the middle of its wait."""


def errands(pi: MadeUpPi, job: str = "job-1", *, ends: bool = True) -> Errands:
    """Errands whose process ends in its first wait, or waits in vain."""
    seconds = iter(range(0, 10**6, int(END_WITHIN_S / 2)))

    def pause(_seconds: float) -> None:
        if ends:
            raise Killed

    environment = {"PINTHESKY_JOB_ID": job}
    return Errands(pi.installation, environment, monotonic=lambda: float(next(seconds)), pause=pause)


DONE = Answer("done", "on its way")


@pytest.mark.parametrize("request_", [requests.Reboot(), requests.Shutdown()], ids=lambda request: request.name)
@pytest.mark.parametrize("answer", [DONE, AnswerLost("gone")], ids=["answered", "not answered any more"])
def test_a_reboot_is_asked_for_once_and_done_after_the_boot(
    pi: MadeUpPi, request_: requests.Request, answer: Answer | Unavailable
):
    teller = Teller(answer)
    with pytest.raises(Killed):
        errands(pi).run(request_, teller)
    (pi.home / "boot_id").write_text("second-boot\n")
    assert errands(pi).run(request_, teller).text == f"{request_.name}: done, this is after it"
    assert len(teller.heard) == 1
    assert not list(pi.installation.errands.iterdir())


def test_another_job_s_reboot_is_another_reboot(pi: MadeUpPi):
    teller = Teller(DONE, DONE)
    for job in ("job-1", "job-2"):
        with pytest.raises(Killed):
            errands(pi, job).run(requests.Reboot(), teller)
        (pi.home / "boot_id").write_text("second-boot\n")
    assert len(teller.heard) == 2


def test_a_reboot_that_does_not_come_is_a_failure(pi: MadeUpPi):
    answer = errands(pi, ends=False).run(requests.Reboot(), Teller(DONE))
    assert answer == Answer("failed", "reboot was promised, and nothing came of it")


def test_a_reboot_that_is_refused_or_cannot_be_asked_for_leaves_no_note(pi: MadeUpPi):
    assert errands(pi).run(requests.Reboot(), Teller(Answer("busy", "later"))).outcome == "busy"
    with pytest.raises(Unavailable):
        errands(pi).run(requests.Reboot(), Teller(Unavailable("no socket")))
    assert not list(pi.installation.errands.iterdir())


def test_a_restart_of_the_daemon_alone_needs_no_note(pi: MadeUpPi):
    request = requests.RestartServices(("pinthesky",))
    assert errands(pi).run(request, Teller(DONE)) == DONE
    assert not pi.installation.errands.exists()


def test_a_restart_of_the_client_is_done_when_another_client_asks(pi: MadeUpPi):
    teller = Teller(DONE)
    with pytest.raises(Killed):
        errands(pi).run(requests.RestartServices(), teller)
    note = pi.installation.errands / "restart-services.json"
    kept = json.loads(note.read_text())
    assert str(os.getppid()) in kept["life"]
    note.write_text(json.dumps({**kept, "life": "first-boot 1 1"}))
    assert errands(pi).run(requests.RestartServices(), teller).outcome == "done"
    assert len(teller.heard) == 1


def test_an_upgrade_is_asked_for_under_one_identity_until_its_outcome_is_known(pi: MadeUpPi):
    request = requests.Upgrade("a.whl", "a" * 64, "given")
    teller = Teller(AnswerLost("restarted"), Answer("busy", "still"), Answer("failed", "no"), DONE)
    with pytest.raises(AnswerLost):
        errands(pi).run(request, teller)
    for outcome in ("busy", "failed", "done"):
        assert errands(pi).run(request, teller).outcome == outcome
    identities = [heard.identity for heard in teller.heard if isinstance(heard, requests.Upgrade)]
    assert identities[0] == identities[1] == identities[2] != identities[3]


def test_a_note_that_cannot_be_read_counts_as_none_and_one_that_cannot_be_kept_is_said(pi: MadeUpPi):
    pi.installation.errands.mkdir()
    (pi.installation.errands / "upgrade.json").write_text("{")
    assert errands(pi).run(requests.Upgrade("a.whl", "a" * 64, "x"), Teller(DONE)) == DONE
    pi.installation.errands.rmdir()
    pi.installation.errands.touch()
    with pytest.raises(Unavailable, match="cannot keep the note"):
        errands(pi).run(requests.Reboot(), Teller(DONE))
