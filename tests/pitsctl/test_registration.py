"""A camera is let in by a code at a real hub: what it gets, and what no refusal and no lost connection takes away."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, Throttled, Unavailable
from pitsctl import control_plane, places
from pitsctl.answers import Answers, Home
from pitsctl.camera_home import registered
from pitsctl.control_plane import Address, Answer, ControlPlane, trusted
from pitsctl.device_key import DeviceKey, KeyStep, fingerprint_of_certificate, first_certificate
from pitsctl.facts import Facts
from pitsctl.home import home_steps, look_at_home
from pitsctl.ledger import Ledger
from pitsctl.person import Registration
from pitsctl.registration import (
    Denied,
    Expired,
    Pending,
    RegistrationFlow,
    RegistrationStep,
    Started,
    Stopped,
    plain_host_name,
)
from pitsctl.steps import Verdict
from tests.support.folder_machine import FolderMachine
from tests.support.hub_console import Console
from tests.support.hub_process import HubProcess
from tests.support.person import ScriptedPerson

# The hub lets one address begin ten registrations in a quarter of an hour, so no more than ten tests here do.


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    made = HubProcess(tmp_path_factory.mktemp("hub"))
    made.start()
    try:
        made.wait_ready()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def owner(hub: HubProcess) -> Iterator[Console]:
    with closing(Console(hub.data, hub.console_port)) as console:
        yield console


@pytest.fixture(scope="module")
def authority(hub: HubProcess) -> str:
    """SHA-256 of the hub's authority."""
    pem = (hub.data / "authority" / "ca.crt").read_text()
    return hashlib.sha256(first_certificate(pem)).hexdigest()


@pytest.fixture
def machine(tmp_path: Path) -> FolderMachine:
    return FolderMachine(tmp_path / "machine")


def address_of(hub: HubProcess) -> Address:
    return Address.parse(f"localhost:{hub.console_port}", default_port=8443)


def approving(owner: Console, thing: str, seen: list[dict[str, Any]] | None = None) -> Callable[[Registration], None]:
    """What a person does who types the code."""

    def approve(shown: Registration) -> None:
        view = owner.ask("GET", f"/registrations/{shown.user_code}").json()
        if seen is not None:
            seen.append(view)
        answer = owner.ask("POST", f"/registrations/{shown.user_code}", {"decision": "approve", "thingName": thing})
        assert answer.status_code == 200, answer.text

    return approve


def denying(owner: Console) -> Callable[[Registration], None]:
    def deny(shown: Registration) -> None:
        assert owner.ask("POST", f"/registrations/{shown.user_code}", {"decision": "deny"}).status_code == 200

    return deny


class Quick:
    """Time that passes as fast as it is waited for, for whoever waits with it; at most so many waits."""

    def __init__(self, waits: int = 200) -> None:
        self.now_s = 1_800_000_000.0
        self.paused: list[float] = []
        self._left = waits
        self._real = threading.Event()

    def pause(self, seconds: float) -> bool:
        """Wait a hundredth of what was asked for, in real time."""
        self.paused.append(seconds)
        self.now_s += seconds
        self._left -= 1
        self._real.wait(seconds / 100)
        return self._left < 0

    def is_set(self) -> bool:
        return False

    wait = pause


def step_of(
    machine: FolderMachine, hub: HubProcess, person: ScriptedPerson, *, authority: str = "", quick: Quick | None = None
) -> RegistrationStep:
    address, quick = address_of(hub), quick or Quick()
    return RegistrationStep(
        machine,
        Ledger(machine),
        person,
        address=str(address),
        reach=lambda: trusted(address, authority_sha256=authority, person=person),
        authority_sha256=authority,
        stop=quick,  # type: ignore[arg-type]  # of an event it has what is asked of one
        now_s=lambda: quick.now_s,
    )


def mute(_: str) -> None:
    """Takes a line."""


def test_a_camera_is_let_in_by_the_person_who_types_its_code_and_compares_the_fingerprint(
    machine: FolderMachine, hub: HubProcess, owner: Console, authority: str
) -> None:
    seen: list[dict[str, Any]] = []
    person = ScriptedPerson(on_code=approving(owner, "by-code", seen))
    step = step_of(machine, hub, person)
    assert step.check().verdict is Verdict.NEEDED
    step.apply(mute)
    home = Ledger(machine).home
    assert home is not None
    assert (home.thing_name, home.mqtt_port) == ("by-code", hub.mqtt_port)
    device = f"https://127.0.0.1:{hub.device_port}"
    assert (home.s3_endpoint, home.dataplane_endpoint, home.own_authority) == (device, device, True)
    assert home.upgrade_sources == (f"{device}/releases/",)
    shown = person.shown[0]
    assert shown is not None
    assert seen[0]["fingerprint"] == shown.fingerprint, "what is compared is the same at both ends"
    assert seen[0]["hostName"], "the person sees whom they let in"
    assert person.shown[-1] is None, "the code is taken off the screen"
    # The hub's own authority was confirmed by its fingerprint.
    [(question, detail)] = person.asked
    assert "fingerprint" in question
    assert detail.replace(":", "").lower() == authority
    assert {path: machine.mode_of(path) for path in (places.CERTIFICATE, places.ROOT_CA)} == {
        places.CERTIFICATE: places.CERTIFICATE_MODE,
        places.ROOT_CA: places.CERTIFICATE_MODE,
    }
    # The key was made on the machine, and never left it; the certificate is of this key.
    key = machine.path(places.KEY)
    assert key.stat().st_mode & 0o777 == 0o600
    assert str(places.KEY) not in machine.written
    secret = "".join(key.read_text().split("\n")[1:-2])
    assert not any(secret in " ".join(words) for words in machine.ran)
    context = ssl.create_default_context(cafile=str(machine.path(places.ROOT_CA)))
    context.load_cert_chain(machine.path(places.CERTIFICATE), key)
    assert step_of(machine, hub, ScriptedPerson()).check().verdict is Verdict.DONE
    assert hashlib.sha256(first_certificate(machine.path(places.ROOT_CA).read_text())).hexdigest() == authority


def test_what_was_confirmed_once_is_not_asked_again(machine: FolderMachine, hub: HubProcess, authority: str) -> None:
    person = ScriptedPerson()
    answers = Answers(home=Home(kind="hub", address=f"localhost:{hub.console_port}"))
    found = look_at_home(answers, machine, person)
    assert found.answers is not None
    assert found.answers.home.authority_sha256 == authority
    look_at_home(found.answers, machine, person)
    assert len(person.asked) == 1
    steps = home_steps(found.answers, machine, Facts(), ledger=Ledger(machine), person=person)
    assert [step.name for step in steps] == ["device-key", "registration"]


def test_without_a_home_that_leads_anywhere_it_is_said(machine: FolderMachine) -> None:
    for home, field in ((Home(), "home.kind"), (Home(kind="hub"), "home.address")):
        with pytest.raises(InvalidInput, match=field):
            home_steps(Answers(home=home), machine, Facts(), ledger=Ledger(machine), person=ScriptedPerson())
    assert look_at_home(Answers(), machine, ScriptedPerson()).rows == ()
    Ledger(machine).keep_home(registered(address="", thing="garden", endpoints=ENDPOINTS))
    assert home_steps(Answers(), machine, Facts(), ledger=Ledger(machine), person=ScriptedPerson()) == []


def test_with_the_authoritys_fingerprint_nobody_is_asked(
    machine: FolderMachine, hub: HubProcess, owner: Console, authority: str
) -> None:
    Ledger(machine).keep("registration", {"pending": {"address": "none of ours"}})
    person = ScriptedPerson(on_code=approving(owner, "unattended"))
    step_of(machine, hub, person, authority=authority).apply(mute)
    assert person.asked == []


def test_another_hub_than_the_one_that_was_meant_hears_nothing(machine: FolderMachine, hub: HubProcess) -> None:
    with pytest.raises(NotAuthorized, match="is not the hub that was meant"):
        step_of(machine, hub, ScriptedPerson(), authority="0" * 64).apply(mute)


def test_a_hub_that_the_person_does_not_recognise_hears_nothing(machine: FolderMachine, hub: HubProcess) -> None:
    with pytest.raises(NotAuthorized, match="not trusted"):
        step_of(machine, hub, ScriptedPerson(yes=False)).apply(mute)
    assert Ledger(machine).notes("registration") == {}


def test_denied_is_told_and_the_next_attempt_has_another_code(
    machine: FolderMachine, hub: HubProcess, owner: Console, authority: str
) -> None:
    person = ScriptedPerson(on_code=denying(owner))
    with pytest.raises(Denied, match="somebody has denied it"):
        step_of(machine, hub, person, authority=authority).apply(mute)
    again = ScriptedPerson(on_code=approving(owner, "after-all"))
    step_of(machine, hub, again, authority=authority).apply(mute)
    codes = [shown.user_code for shown in (*person.shown, *again.shown) if shown]
    assert len(set(codes)) == 2


def test_an_installation_that_is_cut_off_goes_on_with_the_same_code(
    machine: FolderMachine, hub: HubProcess, owner: Console, authority: str
) -> None:
    person = ScriptedPerson()
    with pytest.raises(Stopped, match="can still be typed in"):
        step_of(machine, hub, person, authority=authority, quick=Quick(waits=1)).apply(mute)
    first = person.shown[0]
    assert first is not None
    approving(owner, "cut-off")(first)  # meanwhile
    again = ScriptedPerson()
    step_of(machine, hub, again, authority=authority).apply(mute)
    assert [shown.user_code for shown in again.shown if shown] == [first.user_code]
    assert step_of(machine, hub, again, authority=authority).check().verdict is Verdict.DONE


def test_a_connection_that_is_lost_while_the_certificate_is_put_in_place_costs_nothing(
    machine: FolderMachine, hub: HubProcess, owner: Console, authority: str
) -> None:
    lost = iter((True, True))

    def lose(path: object) -> None:
        if path == places.CERTIFICATE and next(lost, False):
            raise Unavailable("the connection is lost")

    machine.before_write = lose
    lines: list[str] = []
    step_of(machine, hub, ScriptedPerson(on_code=approving(owner, "flaky")), authority=authority).apply(lines.append)
    assert lines.count("the connection is lost; trying again") == 2
    assert step_of(machine, hub, ScriptedPerson()).check().verdict is Verdict.DONE


def test_registering_again_changes_nothing_and_undoing_leaves_nothing(
    machine: FolderMachine, hub: HubProcess, owner: Console, authority: str
) -> None:
    step_of(machine, hub, ScriptedPerson(on_code=approving(owner, "twice")), authority=authority).apply(mute)
    before = machine.path(places.CERTIFICATE).read_bytes()
    elsewhere = RegistrationStep(
        machine,
        Ledger(machine),
        ScriptedPerson(),
        address="https://192.0.2.7:8443/api",
        reach=lambda: pytest.fail("nobody is asked"),
        authority_sha256=authority,
    )
    assert elsewhere.check().verdict is Verdict.DONE, "the same hub at another address"
    quiet = ScriptedPerson()
    step_of(machine, hub, quiet, authority=authority).apply(mute)
    assert quiet.shown == []
    assert machine.path(places.CERTIFICATE).read_bytes() == before
    machine.path(places.KEY).unlink()
    DeviceKey(machine).make()
    assert "another key" in step_of(machine, hub, quiet).check().what
    lines: list[str] = []
    step_of(machine, hub, ScriptedPerson()).undo(lines.append)
    KeyStep(machine).undo(lines.append)
    assert list(machine.path(places.CERTIFICATES).iterdir()) == []
    assert any("Remove the camera twice" in line for line in lines), "what only an owner can do is said"
    step_of(machine, hub, ScriptedPerson()).undo(mute)
    KeyStep(machine).undo(mute)


def test_a_key_that_cannot_be_used_is_left_alone(machine: FolderMachine) -> None:
    machine.path(places.KEY).write_text("mine")
    found = KeyStep(machine).check()
    assert found.verdict is Verdict.IMPOSSIBLE
    assert machine.path(places.KEY).read_text() == "mine"


def test_a_machine_without_openssl_is_told_before_anything_is_done(machine: FolderMachine) -> None:
    machine.stand_in("openssl", "exit 127")
    assert KeyStep(machine).check().verdict is Verdict.IMPOSSIBLE


def test_a_key_that_an_earlier_installation_has_left_becomes_the_camera_s_again(machine: FolderMachine):
    KeyStep(machine).apply(mute)
    key = DeviceKey(machine).public_key()
    machine.run("chown", "root:root", str(places.KEY))
    machine.path(places.KEY).chmod(0o640)
    assert KeyStep(machine).check().verdict is Verdict.NEEDED
    KeyStep(machine).apply(mute)
    assert machine.mode_of(places.KEY) == places.KEY_MODE
    assert KeyStep(machine).check().verdict is Verdict.DONE
    assert DeviceKey(machine).public_key() == key


def test_a_camera_of_another_home_is_registered_anew(machine: FolderMachine, hub: HubProcess) -> None:
    Ledger(machine).keep_home(registered(address="https://other.test/api", thing="garden", endpoints=ENDPOINTS))
    found = step_of(machine, hub, ScriptedPerson()).check()
    assert found.verdict is Verdict.NEEDED
    assert "garden belongs to https://other.test/api" in found.what


def test_an_authority_in_the_answer_that_is_not_the_one_that_was_meant_is_refused(
    machine: FolderMachine, hub: HubProcess, owner: Console
) -> None:
    address, quick = address_of(hub), Quick()
    step = RegistrationStep(
        machine,
        Ledger(machine),
        ScriptedPerson(on_code=approving(owner, "other-authority")),
        address=str(address),
        reach=lambda: trusted(address, authority_sha256="", person=ScriptedPerson()),
        authority_sha256="0" * 64,
        stop=quick,  # type: ignore[arg-type]  # of an event it has what is asked of one
        now_s=lambda: quick.now_s,
    )
    with pytest.raises(Conflict, match="names another authority"):
        step.apply(mute)
    assert not machine.path(places.CERTIFICATE).exists()


def test_a_machine_that_stays_away_when_the_certificate_has_come_is_given_up_on_request(
    machine: FolderMachine, hub: HubProcess, owner: Console, authority: str
) -> None:
    def lose(path: object) -> None:
        if path == places.ROOT_CA:
            raise Unavailable("the connection is lost")

    machine.before_write = lose
    quick = Quick(waits=12)
    with pytest.raises(Unavailable, match="the connection is lost"):
        step = step_of(machine, hub, ScriptedPerson(on_code=approving(owner, "away")), authority=authority, quick=quick)
        step.apply(mute)


def test_openssl_that_fails_says_why(machine: FolderMachine) -> None:
    machine.stand_in("openssl", "echo 'no entropy left' >&2; exit 1")
    with pytest.raises(Unavailable, match="no entropy left"):
        DeviceKey(machine).make()
    assert not machine.path(places.KEY).exists()


def test_a_key_that_is_no_key_is_never_written_over(machine: FolderMachine) -> None:
    machine.path(places.KEY).write_text("mine")
    with pytest.raises(Conflict, match="move it away"):
        DeviceKey(machine).make()
    assert machine.path(places.KEY).read_text() == "mine"


def test_what_is_no_certificate_is_said(machine: FolderMachine) -> None:
    key = DeviceKey(machine)
    key.make()
    assert key.trouble_with_certificate() == "there is no certificate"
    machine.path(places.CERTIFICATE).write_text("hello")
    assert "is no certificate" in str(key.trouble_with_certificate())


# Without a hub: what a control plane may answer, in a time that the test owns.


class SaidPlane:
    """A control plane that says one thing after the other, the last for ever; an error is raised."""

    address = Address("hub.test", 8443)

    def __init__(self, *said: Answer | Exception) -> None:
        self._said = list(said)
        self.asked: list[str] = []

    def post(self, path: str, _document: dict[str, Any]) -> Answer:
        self.asked.append(path)
        said = self._said.pop(0) if len(self._said) > 1 else self._said[0]
        if isinstance(said, Exception):
            raise said
        return said


def refused(code: str) -> Answer:
    return Answer(400, {"error": code, "message": code}, 0)


PENDING = Pending(
    "https://hub.test:8443/api", Started("secret", "BCDF-GHJK", "https://hub.test/register", 900), "AA", 0
)


def waiting(*said: Answer | Exception, lasts_s: float = 900.0) -> tuple[Quick, Callable[[], Any], list[str]]:
    quick, lines = Quick(), list[str]()
    quick._real.set()
    flow = RegistrationFlow(
        SaidPlane(*said),  # type: ignore[arg-type]  # of a control plane it has what is asked of one
        pause=quick.pause,
        now_s=lambda: quick.now_s,
        say=lines.append,
    )
    pending = Pending(PENDING.address, PENDING.started, PENDING.fingerprint, quick.now_s + lasts_s)
    return quick, lambda: flow.wait(pending), lines


def test_slow_down_makes_every_further_wait_five_seconds_longer() -> None:
    said = (refused("authorization_pending"), refused("slow_down"), refused("slow_down"), refused("access_denied"))
    quick, wait, _ = waiting(*said)
    with pytest.raises(Denied):
        wait()
    assert quick.paused == [5, 5, 10, 15]


def test_a_lost_connection_is_told_once_and_waited_out() -> None:
    gone = Unavailable("hub.test does not answer")
    quick, wait, lines = waiting(gone, gone, gone, refused("access_denied"))
    with pytest.raises(Denied):
        wait()
    assert quick.paused == [5, 7.5, 11.25, 16.875]
    assert lines == ["hub.test does not answer; asking again until the code expires", "hub.test answers again"]


def test_whoever_asks_too_often_waits_as_long_as_they_are_told() -> None:
    quick, wait, _ = waiting(Throttled("too often", 40), refused("access_denied"))
    with pytest.raises(Denied):
        wait()
    assert quick.paused == [5, 40]


@pytest.mark.parametrize("said", [refused("authorization_pending"), Unavailable("gone")])
def test_a_code_that_nobody_types_expires(said: Answer | Exception) -> None:
    _, wait, _ = waiting(said, lasts_s=60)
    with pytest.raises(Expired, match="BCDF-GHJK"):
        wait()


@pytest.mark.parametrize("code", ["expired_token", "invalid_grant"])
def test_a_code_that_the_home_has_forgotten_has_expired(code: str) -> None:
    with pytest.raises(Expired):
        waiting(refused(code))[1]()


@pytest.mark.parametrize(
    "document, what",
    [
        ({}, "no registration"),
        ({"thing_name": "a", "certificate": "c", "authority": "d", "endpoints": 7}, "no registration"),
        ({"thing_name": "a/b", "certificate": "c", "authority": "d", "endpoints": {}}, "thing_name"),
        ({"thing_name": "a", "certificate": "c", "authority": "d", "endpoints": {}}, "mqtt_host"),
    ],
)
def test_an_answer_that_is_no_registration_is_named(document: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        waiting(Answer(200, document, 0))[1]()


def test_a_refusal_of_another_kind_is_an_end() -> None:
    with pytest.raises(InvalidInput, match="does not go on"):
        waiting(Answer(404, {"message": "no such route"}, 0))[1]()


@pytest.mark.parametrize("answer", [Answer(400, {"message": "csr: must be…"}, 0), Answer(201, {"device_code": 7}, 0)])
def test_a_registration_that_is_not_taken_is_named(answer: Answer) -> None:
    flow = RegistrationFlow(SaidPlane(answer), pause=lambda _: True)  # type: ignore[arg-type]  # as above
    with pytest.raises(InvalidInput):
        flow.begin("csr", "host", "AA")


def test_an_answer_about_another_key_is_no_answer() -> None:
    document = {
        "device_code": "d",
        "user_code": "BCDF-GHJK",
        "verification_uri": "https://hub.test/register",
        "expires_in": 900,
        "fingerprint": "BB",
    }
    flow = RegistrationFlow(SaidPlane(Answer(201, document, 0)), pause=lambda _: True)  # type: ignore[arg-type]  # as above
    with pytest.raises(NotAuthorized, match="another key"):
        flow.begin("csr", "host", "AA")


ENDPOINTS = {"mqtt_host": "h", "mqtt_port": "8883", "credentials_endpoint": "h:8444", "role_alias": "a"}


@pytest.mark.parametrize(
    "endpoints",
    [
        {**ENDPOINTS, "mqtt_port": "eight"},
        {**ENDPOINTS, "mqtt_port": 99999},
        {**ENDPOINTS, "s3_endpoint": "http://plain"},
        {**ENDPOINTS, "bucket_name": "NO"},
        {**ENDPOINTS, "role_alias": "a b"},
        {**ENDPOINTS, "connections_endpoint": ["a"]},
    ],
)
def test_endpoints_that_cannot_be_used_are_refused(endpoints: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        registered(address="https://hub.test/api", thing="garden", endpoints=endpoints)


@pytest.mark.parametrize(
    "given, origin, path",
    [
        ("hub.local", "https://hub.local:8443", "/api"),
        ("https://hub.local:443", "https://hub.local", "/api"),
        ("[fd00::1]", "https://[fd00::1]:8443", "/api"),
        ("https://pits.example.org/prod/api/", "https://pits.example.org:8443", "/prod/api"),
    ],
)
def test_addresses_as_people_write_them(given: str, origin: str, path: str) -> None:
    found = Address.parse(given, default_port=8443)
    assert (found.origin, found.path) == (origin, path)


@pytest.mark.parametrize("given", ["", "http://hub.local", "hub.local:0", "a b", "https://u:p@hub", "hub/../x?y"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput, match=r"home\.address"):
        Address.parse(given, default_port=8443)


def test_a_name_of_a_host_is_made_fit() -> None:
    assert plain_host_name("Küche 1\n") == "K-che-1"


# Whoever else may answer at an address.


class FixedAnswer(http.server.BaseHTTPRequestHandler):
    """Answers every request in one way."""

    status, body = 200, b"{}"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET  # noqa: N815 - the library calls it by this name

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Callable[..., tuple[Address, Path]]]:
    from datetime import timedelta

    from tests.support.aws_servers import CertificateAuthority

    servers: list[http.server.ThreadingHTTPServer] = []

    def start(
        status: int, body: bytes, *, name: str = "localhost", until: timedelta = timedelta(days=1)
    ) -> tuple[Address, Path]:
        folder = tmp_path / f"stranger-{len(servers)}"
        folder.mkdir()
        authority = CertificateAuthority(folder)
        pair = authority.issue(name, since=timedelta(days=-30), until=until)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        handler = type("Fixed", (FixedAnswer,), {"status": status, "body": body or authority_der(authority.cert)})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return Address("localhost", server.server_address[1]), authority.cert

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def authority_der(pem: Path) -> bytes:
    return first_certificate(pem.read_text())


def test_a_server_that_nobody_vouches_for_and_that_is_no_hub_is_named(stranger: Any) -> None:
    address, _ = stranger(404, b"no")
    with pytest.raises(InvalidInput, match="is no hub of ours"):
        trusted(address, authority_sha256="", person=ScriptedPerson())


def test_a_server_that_gives_something_else_for_its_authority_is_named(stranger: Any) -> None:
    address, _ = stranger(200, b"x" * 100)
    with pytest.raises(InvalidInput, match="no certificate of an authority"):
        trusted(address, authority_sha256="", person=ScriptedPerson())


def test_a_server_that_answers_without_end_is_given_up(stranger: Any) -> None:
    address, _ = stranger(200, b"x" * 100_000)
    with pytest.raises(Unavailable, match="more than can be read"):
        trusted(address, authority_sha256="", person=ScriptedPerson())


def test_a_server_that_shows_another_authoritys_certificate_is_not_trusted(
    stranger: Any, hub: HubProcess, authority: str
) -> None:
    der = first_certificate((hub.data / "authority" / "ca.crt").read_text())
    address, _ = stranger(200, der)
    with pytest.raises(NotAuthorized, match="not of the authority that it shows"):
        trusted(address, authority_sha256=authority, person=ScriptedPerson())


def test_a_certificate_for_another_name_is_named(stranger: Any) -> None:
    from datetime import timedelta

    for name, until, what in (
        ("elsewhere.test", timedelta(days=1), "another name"),
        ("localhost", timedelta(days=-1), "expired"),
    ):
        address, pem = stranger(200, b"", name=name, until=until)
        sha256 = hashlib.sha256(authority_der(pem)).hexdigest()
        with pytest.raises((InvalidInput, NotAuthorized), match=what):
            trusted(address, authority_sha256=sha256, person=ScriptedPerson())


def test_answers_of_a_server_in_trouble_are_reasons_to_ask_again(stranger: Any) -> None:
    for status, body in ((503, b"<html>"), (200, b"[]")):
        address, pem = stranger(status, body)
        plane = ControlPlane(address, ssl.create_default_context(cafile=str(pem)))
        with pytest.raises(Unavailable):
            plane.post("/registrations", {})
    address, pem = stranger(429, json.dumps({"message": "too many"}).encode())
    with pytest.raises(Throttled, match="too many"):
        ControlPlane(address, ssl.create_default_context(cafile=str(pem))).post("/registrations", {})


def test_nobody_there_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.aws_servers import closed_port

    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as patch:
        patch.setattr(control_plane, "TIMEOUT_S", 0.2)
        with pytest.raises(Unavailable, match="does not answer"):
            trusted(Address("localhost", silent.getsockname()[1]), authority_sha256="", person=ScriptedPerson())
    with http.server.HTTPServer(("127.0.0.1", 0), FixedAnswer) as plain:
        thread = threading.Thread(target=plain.handle_request)
        thread.start()
        with pytest.raises(Unavailable, match="does not speak TLS"):
            trusted(Address("localhost", plain.server_address[1]), authority_sha256="", person=ScriptedPerson())
        thread.join(5.0)

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(Unavailable, match="the name localhost cannot be resolved"):
            trusted(Address("localhost", 1), authority_sha256="", person=ScriptedPerson())
    with pytest.raises(Unavailable, match="nothing listens there"):
        trusted(Address("localhost", closed_port()), authority_sha256="", person=ScriptedPerson())


def test_fingerprints_are_as_the_hub_prints_them(hub: HubProcess) -> None:
    from pinthesky.hub.trust_page import fingerprint_of

    pem = (hub.data / "authority" / "ca.crt").read_bytes()
    assert fingerprint_of_certificate(first_certificate(pem.decode())) == fingerprint_of(pem)
    assert control_plane.HUB_PORT == 8443
