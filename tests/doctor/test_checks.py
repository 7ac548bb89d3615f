"""What each check makes of the facts: what is wrong is named, with what to do about it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.doctor import installed, machine_checks, network, round_trips
from pinthesky.errors import InvalidInput
from pinthesky.model.findings import Finding, Findings, found
from pinthesky.model.identifiers import ThingName
from tests.support.aws_servers import CertificateAuthority, closed_port

NOW_S = 1_900_000_000.0


@pytest.mark.parametrize(
    "synchronised, skew_s, state",
    [
        (True, None, "ok"),
        (True, 2.0, "ok"),
        (False, 2.0, "ok"),
        (False, None, "warning"),
        (True, 90.0, "warning"),
        (True, -7200.0, "failed"),
        (False, 86_400.0, "failed"),
    ],
)
def test_a_clock_is_judged_by_what_others_show(synchronised: bool, skew_s: float | None, state: str) -> None:
    finding = machine_checks.clock(synchronised, skew_s)
    assert finding.state == state
    assert state == "ok" or "timedatectl" in finding.advice


def test_how_far_a_clock_is_off_is_said_in_hours() -> None:
    assert machine_checks.clock(True, -7200.0).what == "2:00:00 behind the credentials endpoint's"


@pytest.mark.parametrize("free, state", [(10_000_000_000, "ok"), (900_000_000, "warning"), (1_000, "failed")])
def test_a_disk_is_judged_by_what_has_to_stay_free(tmp_path: Path, free: int, state: str) -> None:
    assert machine_checks.disk(tmp_path, min_free=512 * 1024**2, free=free).state == state


def test_a_folder_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    assert machine_checks.disk(tmp_path / "none", min_free=1).state == "failed"


@pytest.mark.parametrize(
    "told, state, what",
    [
        (0, "ok", "no under-voltage"),
        (0x50005, "failed", "now: under-voltage, throttled"),
        (0x50000, "warning", "since the boot: under-voltage, throttled"),
    ],
)
def test_power_says_what_is_now_and_what_was_since_the_boot(told: int, state: str, what: str) -> None:
    finding = machine_checks.power(told)
    assert finding.state == state
    assert finding.what.startswith(what)


@pytest.mark.parametrize("text", [None, "soon", "50005"])
def test_power_is_read_where_the_firmware_tells(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "get_throttled"
    if text is not None:
        path.write_text(text)
    assert machine_checks.power(path=path).state == ("failed" if text == "50005" else "skipped")


@pytest.mark.parametrize(
    "report, mode, state",
    [
        ({"frame_age": 0.1, "camera_model": "imx708"}, "armed", "ok"),
        ({"frame_age": 0.1}, "privacy", "ok"),
        ({"frame_age": 80.0}, "armed", "failed"),
        ({}, "armed", "failed"),
        ({}, "privacy", "skipped"),
    ],
)
def test_a_camera_without_pictures_has_failed_unless_it_is_closed_on_purpose(
    report: dict[str, Any], mode: str, state: str
) -> None:
    assert machine_checks.frames(report, mode).state == state


@pytest.mark.parametrize(
    "report, state",
    [
        ({"upload_state": "ok"}, "ok"),
        ({"upload_state": "waiting", "spool_files": 3}, "ok"),
        ({"upload_state": "failing", "upload_error": "no route", "spool_files": 3}, "failed"),
        ({"upload_state": "refused"}, "failed"),
        ({"upload_state": "ok", "items_lost": 2}, "warning"),
        ({"upload_state": "off"}, "skipped"),
    ],
)
def test_uploads_are_judged_by_the_daemons_own_word(report: dict[str, Any], state: str) -> None:
    assert machine_checks.uploads(report).state == state


# Servers, and what may be wrong with them: each provoked by a real one.


class TlsServer:
    """Shakes hands, and says nothing."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._over = threading.Event()
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                plain, _ = self._listener.accept()
            except TimeoutError:
                continue
            plain.settimeout(2.0)
            try:
                with self._context.wrap_socket(plain, server_side=True) as channel:
                    channel.recv(1)
            except OSError:
                continue

    def close(self) -> None:
        self._over.set()
        self._thread.join(5.0)
        self._listener.close()


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return CertificateAuthority(folder)


@pytest.fixture
def serve(authority: CertificateAuthority) -> Iterator[Callable[..., TlsServer]]:
    servers: list[TlsServer] = []

    def start(name: str = "localhost", *, asks: bool = False, days: int = 365, since: int = -30) -> TlsServer:
        pair = authority.issue(name, since=timedelta(days=since), until=timedelta(days=days))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        if asks:
            context.load_verify_locations(authority.cert)
            context.verify_mode = ssl.CERT_REQUIRED
        servers.append(TlsServer(context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def reached(port: int, ca: Path | None, identity: Any = None, host: str = "localhost") -> Finding:
    import time

    return network.reach(network.Server("reach it", host, port, ca, identity), time.time(), timeout_s=2.0)


def test_a_server_that_is_as_it_should_be(serve: Callable[..., TlsServer], authority: CertificateAuthority) -> None:
    assert reached(serve().port, authority.cert).state == "ok"


def test_a_certificate_that_runs_out_is_said_beforehand(
    serve: Callable[..., TlsServer], authority: CertificateAuthority
) -> None:
    finding = reached(serve(days=5).port, authority.cert)
    assert finding.state == "warning"
    assert "expires on" in finding.what


@pytest.mark.parametrize(
    "how, what",
    [
        ({"days": -1}, "has expired, by this clock"),
        ({"since": 2, "days": 9}, "is not valid yet, by this clock"),
        ({"name": "elsewhere.test"}, "for another name"),
    ],
)
def test_a_servers_certificate_that_is_no_good_is_named(
    serve: Callable[..., TlsServer], authority: CertificateAuthority, how: dict[str, Any], what: str
) -> None:
    finding = reached(serve(**how).port, authority.cert)
    assert finding.state == "failed"
    assert what in finding.what
    assert finding.advice


def test_another_authority_is_named(serve: Callable[..., TlsServer], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    finding = reached(serve().port, CertificateAuthority(tmp_path / "other").cert)
    assert "of an authority that" in finding.what
    assert "register the camera again" in finding.advice


def test_a_closed_port_a_name_that_is_not_there_and_a_silent_server_are_told_apart(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "connection refused" in reached(closed_port(), authority.cert).what

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        assert "cannot be resolved" in reached(1, authority.cert).what
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "does not answer" in reached(silent.getsockname()[1], authority.cert).what


def test_our_own_certificate_that_is_refused_is_our_certificate(
    serve: Callable[..., TlsServer], authority: CertificateAuthority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = CertificateAuthority(tmp_path / "other").issue("garden")
    ours = authority.issue("garden")
    server = serve(asks=True)
    assert reached(server.port, authority.cert, (ours.cert, ours.key)).state == "ok"
    finding = reached(server.port, authority.cert, (stranger.cert, stranger.key))
    assert finding.state == "failed"
    assert "ends the handshake" in finding.what


def test_files_of_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert "cannot be used" in reached(1, tmp_path / "none.pem").what


@pytest.mark.parametrize(
    "since, until, state", [(-30, 365, "ok"), (-30, 5, "warning"), (-30, -1, "failed"), (3, 9, "failed")]
)
def test_our_certificate_is_judged_by_its_dates(
    authority: CertificateAuthority, since: int, until: int, state: str
) -> None:
    import time

    pair = authority.issue("garden", since=timedelta(days=since), until=timedelta(days=until))
    assert network.own_certificate("certificate", pair.cert, time.time()).state == state


def test_dates_are_read_as_openssl_reads_them(authority: CertificateAuthority) -> None:
    from cryptography import x509

    for days in (1, 365 * 40):
        pem = authority.issue("garden", until=timedelta(days=days)).cert.read_bytes()
        made = x509.load_pem_x509_certificate(pem)
        wanted = made.not_valid_before_utc.timestamp(), made.not_valid_after_utc.timestamp()
        assert network.validity_of(pem) == wanted


@given(st.binary(max_size=300))
def test_what_is_no_certificate_is_said(data: bytes) -> None:
    import base64

    for pem in (data, b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(data) + b"\n-----END CERTIFICATE-----"):
        with pytest.raises(ValueError, match="no certificate"):
            network.validity_of(pem)


def test_a_certificate_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert network.own_certificate("certificate", tmp_path / "none", NOW_S).state == "failed"
    (tmp_path / "text").write_text("hello")
    assert network.own_certificate("certificate", tmp_path / "text", NOW_S).state == "failed"


# What is installed.


def test_an_environment_file_is_read_as_systemd_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "pinthesky.env"
    path.write_text('# a comment\n\nPINTHESKY_FLAGS="--camera auto \\\n--rotation 0"\nAWS_DEFAULT_REGION=eu-west-1\n')
    assert installed.environment_in(path) == {
        "PINTHESKY_FLAGS": "--camera auto --rotation 0",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }


@pytest.mark.parametrize("text", ['A="open', "x" * 70_000, "\xff"])
def test_an_environment_file_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pinthesky.env"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidInput, match="pinthesky"):
        installed.environment_in(path)


@pytest.mark.parametrize(
    "document",
    [
        "no JSON",
        [],
        {},
        {"endpoint": "h", "cert": "/c", "key": 7},
        {"endpoint": "h", "cert": "/c", "key": "/k", "port": "many"},
        {"endpoint": "h", "cert": "/c", "key": "/k", "port": True},
    ],
)
def test_a_client_file_that_cannot_be_used_is_named(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "device-client.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(InvalidInput, match="device-client"):
        installed.client_in(path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        installed.client_in(tmp_path / "none")


def test_a_client_of_the_other_kind_has_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "device-client.json"
    path.write_text(json.dumps({"endpoint": "h", "cert": "/c", "key": "/k", "sample-shadow": 7}))
    found_there = installed.client_in(path)
    assert (found_there.port, found_there.queue, found_there.shadow_input) == (443, None, None)


# Round trips of which the other half is not there.


def test_a_daemon_that_is_not_there_does_not_answer(tmp_path: Path) -> None:
    assert round_trips.ask_daemon(tmp_path / "none", tmp_path, 0.1) is None
    (tmp_path / "input").touch()
    assert round_trips.ask_daemon(tmp_path / "input", tmp_path, 0.1) is None
    assert b"health" in (tmp_path / "input").read_bytes()


def test_an_event_that_nobody_takes_is_taken_back(tmp_path: Path) -> None:
    finding = round_trips.publish(tmp_path, ThingName("garden"), {}, timeout_s=0.1)
    assert finding.state == "failed"
    assert list(tmp_path.iterdir()) == []
    assert round_trips.publish(tmp_path / "none", ThingName("garden"), {}, timeout_s=0.1).state == "failed"
    assert round_trips.publish(None, ThingName("garden"), {}, timeout_s=0.1).state == "skipped"


def test_a_shadow_that_nobody_answers_for_leaves_the_report_as_it_was(tmp_path: Path) -> None:
    report, document = tmp_path / "in", tmp_path / "out"
    assert round_trips.shadow(None, document, 0.1).state == "skipped"
    assert round_trips.shadow(report, document, 0.1).state == "skipped"
    report.write_text('{"camera": {}, "mode": {"mode": "home"}}')
    document.write_text('{"current": {"version": 7}}')
    finding = round_trips.shadow(report, document, 0.1)
    assert finding.state == "failed"
    assert "version 7" in finding.what
    assert report.read_text() == '{"camera": {}, "mode": {"mode": "home"}}'
    assert round_trips.mode_in(report) == "home"
    assert round_trips.mode_in(None) == ""


def test_warnings_are_no_failures() -> None:
    assert Findings(version="1.0", findings=[found("a", "warning", "b"), found("c", "skipped", "d")]).is_well
    assert not Findings(version="1.0", findings=[found("a", "failed", "b" * 2000)]).is_well
