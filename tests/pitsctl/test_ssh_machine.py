"""The machine over ssh, against a real sshd: host keys, logins, root, files, and connections that are lost."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable
from pitsctl.answers import Connection
from pitsctl.machine import FileMode
from pitsctl.person import Registration
from pitsctl.ssh_machine import SshMachine
from tests.support.pi_over_ssh import PASSWORD, PiOverSsh, missing


class Asked:
    """A person who answers what the test says, and what was asked."""

    def __init__(self, *secrets: str, confirms: bool = False) -> None:
        self._secrets = list(secrets)
        self._confirms = confirms
        self.questions: list[str] = []

    def secret(self, question: str) -> str | None:
        self.questions.append(question)
        return self._secrets.pop(0) if self._secrets else None

    def confirm(self, question: str, detail: str = "") -> bool:
        self.questions.append(f"{question}\n{detail}")
        return self._confirms

    def show_registration(self, registration: Registration | None) -> None:
        raise AssertionError(registration)


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PiOverSsh]:
    if reason := missing():
        pytest.skip(reason)
    pi = PiOverSsh(tmp_path_factory.mktemp("ssh"))
    try:
        pi.boot()
        yield pi
    finally:
        pi.throw_away()


@pytest.fixture
def pi(booted: PiOverSsh, monkeypatch: pytest.MonkeyPatch) -> PiOverSsh:
    """The machine, with a client that knows it, and nothing left of another test."""
    monkeypatch.setenv("PATH", booted.environment["PATH"])
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    booted.configure()
    booted.know_host()
    return booted


@pytest.fixture
def reach(pi: PiOverSsh) -> Iterator[Callable[..., SshMachine]]:
    made: list[SshMachine] = []

    def machine(host: str = "pi", person: Asked | None = None, **connection: object) -> SshMachine:
        made.append(SshMachine(Connection(host=host, **connection), person))  # type: ignore[arg-type]  # its fields
        return made[-1]

    yield machine
    for one in made:
        one.close()


Reach = Callable[..., SshMachine]


@pytest.fixture
def short_place() -> Iterator[Path]:
    """A folder for sockets, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/dev/shm") as folder:
        yield Path(folder)


def test_a_host_that_is_not_known_is_refused_with_its_fingerprint_and_the_way_to_accept_it(pi: PiOverSsh, reach: Reach):
    pi.known_hosts.write_text("")
    with pytest.raises(NotAuthorized) as refused:
        reach().run("true")
    assert pi.fingerprint() in str(refused.value)
    assert "ssh pi" in str(refused.value)
    assert pi.known_hosts.read_text() == ""


def test_a_person_sees_the_fingerprint_and_what_they_accept_is_remembered(pi: PiOverSsh, reach: Reach):
    pi.known_hosts.write_text("")
    person = Asked(confirms=True)
    assert reach(person=person).run("true").code == 0
    assert pi.fingerprint() in person.questions[0]
    assert pi.host_key() in pi.known_hosts.read_text()
    assert reach().run("true").code == 0


def test_a_host_that_a_person_does_not_accept_is_refused(pi: PiOverSsh, reach: Reach):
    pi.known_hosts.write_text("")
    with pytest.raises(NotAuthorized, match="not known here yet"):
        reach(person=Asked(confirms=False)).run("true")
    assert pi.known_hosts.read_text() == ""


@pytest.mark.parametrize("lines", [(), ("StrictHostKeyChecking no",)])
def test_a_host_key_that_has_changed_is_refused_whatever_is_configured(
    pi: PiOverSsh, reach: Reach, lines: tuple[str, ...]
):
    pi.configure(*lines)
    pi.know_host((pi.folder / "stranger.pub").read_text().split()[1])
    with pytest.raises(NotAuthorized) as refused:
        reach(person=Asked(PASSWORD, confirms=True)).run("true")
    assert "another one than before" in str(refused.value)
    assert str(pi.known_hosts) in str(refused.value)


def test_a_configuration_that_checks_no_host_is_not_followed(pi: PiOverSsh, reach: Reach):
    pi.configure("StrictHostKeyChecking no")
    pi.known_hosts.write_text("")
    with pytest.raises(NotAuthorized, match="not known here yet"):
        reach().run("true")


def test_a_login_that_is_refused_says_so(pi: PiOverSsh, reach: Reach):
    pi.configure(key="stranger")
    with pytest.raises(NotAuthorized, match="the login is refused"):
        reach().run("true")


def test_a_password_of_the_login_is_asked_for_and_a_passphrase_too(pi: PiOverSsh, reach: Reach):
    pi.configure(key="stranger")
    person = Asked(PASSWORD)
    assert reach(person=person).run("id", "-un").out == "pi\n"
    assert "password" in person.questions[0]
    pi.configure(key="locked")
    person = Asked(PASSWORD)
    assert reach(person=person).run("id", "-un").out == "pi\n"
    assert "passphrase" in person.questions[0]


def test_what_cannot_be_reached_says_why(pi: PiOverSsh, reach: Reach):
    pi.configure()
    with pytest.raises(Unavailable, match="refused"):
        reach(port=1).run("true")
    pi.configure("ProxyCommand /bin/false")
    with pytest.raises(Unavailable, match="cannot be reached"):
        reach().run("true")


@pytest.mark.parametrize("host", ["", "-oProxyCommand=touch /tmp/x", "a b"])
def test_a_host_that_ssh_would_take_for_a_flag_is_refused(host: str):
    with pytest.raises(InvalidInput, match=r"connection\.host"):
        SshMachine(Connection(host=host))


def test_a_jump_host_of_the_configuration_holds(pi: PiOverSsh, reach: Reach):
    config = pi.folder / "config"
    config.write_text("Host pi\nProxyJump pat\n" + config.read_text())
    assert reach().run("id", "-un").out == "pi\n"


def test_words_arrive_as_they_are_and_output_and_code_come_back(reach: Reach):
    words = ("a b", "$HOME", "'\"", "*", "-n", "`id`", "two\nlines", "ä", "")
    ran = reach().run("sh", "-c", 'for one; do printf "%s|" "$one"; done; echo oops >&2; exit 7', "sh", *words)
    assert (ran.code, ran.out, ran.error) == (7, "|".join(words) + "|", "oops\n")


def test_of_a_long_output_the_end_is_kept(reach: Reach):
    ran = reach().run("sh", "-c", "seq 1 400000; echo end")
    assert ran.out.endswith("400000\nend\n")
    assert len(ran.out) == 1 << 20


def test_a_program_that_does_not_end_in_time_is_given_up(reach: Reach):
    machine = reach()
    machine.run("true")
    before = time.monotonic()
    with pytest.raises(Unavailable, match="did not end within"):
        machine.run("sleep", "60", timeout_s=0.5)
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("user, secrets", [("pi", ()), ("pat", (PASSWORD,))])
def test_a_file_lands_with_owner_and_mode_and_reads_back(reach: Reach, user: str, secrets: tuple[str, ...]):
    machine = reach(user, Asked(*secrets))
    path = PurePosixPath(f"/etc/made-up-{user}")
    data = bytes(range(256)) * 500
    machine.write(path, data, FileMode("guest", "games", 0o640))
    assert machine.mode_of(path) == FileMode("guest", "games", 0o640)
    assert machine.read(path, root=True) == data
    assert machine.read(PurePosixPath("/etc/nothing")) is None
    assert machine.mode_of(PurePosixPath("/etc/nothing")) is None
    with pytest.raises(InvalidInput, match="longer than 10 bytes"):
        machine.read(path, root=True, limit=10)


def test_a_file_that_cannot_be_written_leaves_nothing(pi: PiOverSsh, reach: Reach):
    with pytest.raises(Unavailable, match="cannot write"):
        reach().write(PurePosixPath("/etc/made-up-nobody"), b"x", FileMode("no-such-user"))
    assert not [path for path in pi.machine.path("/etc").iterdir() if path.name.startswith((".pitsctl", "made-up-n"))]


def test_a_file_is_not_put_in_place_when_the_connection_is_lost_on_its_way(pi: PiOverSsh, reach: Reach):
    machine = reach()
    path = PurePosixPath("/etc/made-up-large")
    machine.write(path, b"before", FileMode())
    failed: list[Unavailable] = []

    def write() -> None:
        try:
            machine.write(path, os.urandom(200_000_000), FileMode())
        except Unavailable as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    folder = pi.machine.path("/etc")
    deadline = time.monotonic() + 30
    while not any(one.stat().st_size > 100_000 for one in folder.glob(".pitsctl-*")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    machine.close()
    writer.join(30)
    assert failed
    assert machine.read(path, root=True) == b"before"
    deadline = time.monotonic() + 30
    while list(folder.glob(".pitsctl-*")):
        assert time.monotonic() < deadline, "the half file stays"
        time.sleep(0.05)


def test_root_without_a_password_asks_nobody(reach: Reach):
    person = Asked()
    assert reach(person=person).run("id", "-un", root=True).out == "root\n"
    assert person.questions == []


def test_root_with_a_password_asks_once_and_shows_it_to_nobody(reach: Reach):
    person = Asked("wrong", PASSWORD)
    machine = reach("pat", person)
    everybody = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    told = machine.run("sh", "-c", f"id -un; cat; {everybody}", given=b"given\n", root=True).out
    assert told.startswith("root\ngiven\n")
    assert PASSWORD not in told
    assert machine.run("cat", given=b"again", root=True).out == "again"
    assert [question.partition(".")[0] for question in person.questions] == [
        "Password of pat for sudo",
        "That was not it",
    ]


@pytest.mark.parametrize(
    "user, secrets, said",
    [
        ("pat", (), "was not given"),
        ("pat", ("a", "b", "c"), "was not given"),
        ("guest", (PASSWORD,), "not in the sudoers file|not allowed|may not run sudo"),
    ],
)
def test_root_that_is_refused_says_why(reach: Reach, user: str, secrets: tuple[str, ...], said: str):
    with pytest.raises(NotAuthorized, match=said):
        reach(user, Asked(*secrets)).run("true", root=True)


def test_a_lost_connection_is_unavailable_and_the_next_use_reaches_the_machine_again(pi: PiOverSsh, reach: Reach):
    machine = reach()
    machine.run("true")
    timer = threading.Timer(0.5, pi.end_sessions)
    timer.start()
    with pytest.raises(Unavailable):
        machine.run("sleep", "30", timeout_s=20)
    timer.join()
    assert machine.run("echo", "back").out == "back\n"


def test_what_runs_is_given_up_when_another_thread_closes_and_nothing_is_left(pi: PiOverSsh, reach: Reach):
    machine = reach(person=Asked())
    machine.run("true")
    timer = threading.Timer(0.3, machine.close)
    timer.start()
    with pytest.raises(Unavailable, match=r"given up|cannot be reached"):
        machine.run("sleep", "30", timeout_s=20)
    timer.join()
    assert "askpass" not in {thread.name for thread in threading.enumerate()}
    assert machine.run("echo", "again").out == "again\n"


def test_one_connection_serves_everything_and_closing_leaves_nothing(
    pi: PiOverSsh, reach: Reach, short_place: Path, monkeypatch: pytest.MonkeyPatch
):
    place = short_place
    monkeypatch.setattr("tempfile.tempdir", str(place))
    machine = reach(person=Asked())
    log = pi.folder / "sshd.log"
    before = log.read_text().count("Accepted publickey")
    for _ in range(5):
        machine.run("true")
    assert log.read_text().count("Accepted publickey") == before + 1
    assert list(place.iterdir())
    machine.close()
    assert list(place.iterdir()) == []
    mine = subprocess.run(["pgrep", "-f", f"{place}/"], capture_output=True, text=True, check=False)
    assert mine.stdout == ""
    assert machine.run("true").code == 0
    machine.close()
