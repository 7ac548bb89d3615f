"""Wheels from an address, by real TLS on this machine, and from a folder."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import http.server
import ipaddress
import ssl
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pinthesky.admin import wheel
from pinthesky.admin.installation import Installation
from pinthesky.admin.requests import Upgrade
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, Unavailable
from pinthesky.machine import durable_files
from tests.support.made_up_pi import MadeUpPi

ELSEWHERE = "https://elsewhere.example/x.whl"


class Server(http.server.ThreadingHTTPServer):
    """Serves the files of `folder`."""

    folder: Path


class Files(http.server.BaseHTTPRequestHandler):
    """Serves the files of one folder below /wheels/, a redirection and errors."""

    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        file = self.server.folder / path.rpartition("/")[2]
        if path.startswith("/wheels/redirected"):
            self.send_response(302)
            self.send_header("Location", ELSEWHERE if path.endswith("away") else f"/wheels/{path.rpartition('-')[2]}")
            self.end_headers()
        elif path.startswith("/wheels/") and file.is_file():
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data) + (path.endswith("cut.whl") * 10)))
            self.end_headers()
            self.wfile.write(data)
        else:
            self.send_error(503 if path.endswith("busy") else 404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Key and certificate of a server at 127.0.0.1 that nobody but the owner trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("authority")
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    return folder / "key.pem", folder / "certificate.pem"


@pytest.fixture
def pi(tmp_path: Path) -> MadeUpPi:
    return MadeUpPi(tmp_path)


@pytest.fixture
def server(pi: MadeUpPi, authority: tuple[Path, Path]) -> Iterator[str]:
    """The address of the server's folder, which is the folder of wheels."""
    with Server(("127.0.0.1", 0), Files) as served:
        served.folder = pi.installation.wheels
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority[1], authority[0])
        served.socket = context.wrap_socket(served.socket, server_side=True)
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://127.0.0.1:{served.server_port}/wheels/"
        served.shutdown()
        thread.join()


@pytest.fixture
def trusting(pi: MadeUpPi, server: str, authority: tuple[Path, Path]) -> Installation:
    """The installation of an owner who trusts the server and takes wheels from it."""
    return dataclasses.replace(pi.installation, sources=(server,), ca_bundle=authority[1])


def wanted(pi: MadeUpPi, address: str, wheel_path: Path | None = None) -> Upgrade:
    data = b"" if wheel_path is None else wheel_path.read_bytes()
    return Upgrade(address, hashlib.sha256(data).hexdigest(), "wish-1")


def test_a_wheel_comes_by_https_from_an_allowed_source(pi: MadeUpPi, server: str, trusting: Installation):
    made = pi.wheel("1.1.0")
    brought = wheel.bring(trusting, wanted(pi, f"{server}{made.name}?signature=x", made))
    assert (brought.version, brought.path.name) == ("1.1.0", "pinthesky-1.1.0-py3-none-any.whl")
    assert brought.path.read_bytes() == made.read_bytes()


def test_what_was_fetched_by_an_earlier_attempt_is_not_fetched_again(pi: MadeUpPi, server: str, trusting: Installation):
    made = pi.wheel("1.1.0")
    request = wanted(pi, f"{server}{made.name}", made)
    wheel.bring(trusting, request)
    made.unlink()
    assert wheel.bring(trusting, request).version == "1.1.0"
    wheel.forget(trusting)
    with pytest.raises(NotFound, match="HTTP status 404"):
        wheel.bring(trusting, request)


def test_a_redirection_is_followed_to_an_allowed_source_only(pi: MadeUpPi, server: str, trusting: Installation):
    made = pi.wheel("1.1.0")
    within = pi.installation.wheels / "moved.whl"
    within.write_bytes(made.read_bytes())
    assert wheel.bring(trusting, wanted(pi, f"{server}redirected-moved.whl", made)).version == "1.1.0"
    with pytest.raises(NotAuthorized, match=r"redirected to https://elsewhere\.example/x\.whl"):
        wheel.bring(trusting, wanted(pi, f"{server}redirected-away"))


def test_a_source_that_the_owner_did_not_allow_is_not_asked(pi: MadeUpPi, server: str):
    with pytest.raises(NotAuthorized):
        wheel.bring(pi.installation, wanted(pi, f"{server}x.whl"))


def test_a_server_that_nobody_vouches_for_is_not_believed(pi: MadeUpPi, server: str):
    installation = dataclasses.replace(pi.installation, sources=(server,))
    with pytest.raises(Unavailable, match="certificate verify failed"):
        wheel.bring(installation, wanted(pi, f"{server}x.whl"))


def test_a_busy_server_a_cut_answer_and_no_server_are_unavailable(pi: MadeUpPi, server: str, trusting: Installation):
    made = pi.wheel("1.1.0").rename(pi.installation.wheels / "cut.whl")
    with pytest.raises(Unavailable, match="HTTP status 503"):
        wheel.bring(trusting, wanted(pi, f"{server}busy"))
    with pytest.raises((Unavailable, InvalidInput)):
        wheel.bring(trusting, Upgrade(f"{server}cut.whl", "b" * 64, "wish-1"))
    nobody = dataclasses.replace(trusting, sources=("https://127.0.0.1:1/",))
    with pytest.raises(Unavailable, match="cannot download"):
        wheel.bring(nobody, wanted(pi, "https://127.0.0.1:1/x.whl", made))


def test_a_download_that_takes_for_ever_is_given_up(
    pi: MadeUpPi, server: str, trusting: Installation, monkeypatch: pytest.MonkeyPatch
):
    made = pi.wheel("1.1.0")
    monkeypatch.setattr(wheel, "DOWNLOAD_S", -1.0)
    with pytest.raises(Unavailable, match="did not arrive within"):
        wheel.bring(trusting, wanted(pi, f"{server}{made.name}", made))


def test_a_wheel_that_is_too_large_is_refused(pi: MadeUpPi, monkeypatch: pytest.MonkeyPatch):
    made = pi.wheel("1.1.0")
    monkeypatch.setattr(wheel, "INSTALLED_MAX", 10)
    with pytest.raises(InvalidInput, match="unpacks to more than 10 bytes"):
        wheel.bring(pi.installation, pi.request(made))
    wheel.forget(pi.installation)
    monkeypatch.setattr(wheel, "WHEEL_MAX", 10)
    with pytest.raises(InvalidInput, match="is larger than 10 bytes"):
        wheel.bring(pi.installation, pi.request(made))


def test_a_link_or_a_folder_is_no_wheel(pi: MadeUpPi):
    folder = pi.installation.wheels
    (folder / "link.whl").symlink_to("/etc/passwd")
    (folder / "folder.whl").mkdir()
    for name, words in (("link.whl", "cannot open"), ("folder.whl", "is no file")):
        with pytest.raises(InvalidInput, match=words):
            wheel.bring(pi.installation, Upgrade(name, "a" * 64, "wish-1"))
    with pytest.raises(NotFound, match="there is no"):
        wheel.bring(pi.installation, Upgrade("none.whl", "a" * 64, "wish-1"))


def test_a_disk_that_refuses_is_named(pi: MadeUpPi, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable_files, "append", refuse)
    with pytest.raises(Unavailable, match=r"cannot keep .*: No space left"):
        wheel.bring(pi.installation, pi.request(pi.wheel("1.1.0")))


@pytest.mark.parametrize(
    "files, words",
    [
        (None, "cannot be read as a wheel"),
        ({}, "one short .dist-info/METADATA"),
        ({"a.dist-info/METADATA": "Name: pinthesky\nVersion: 1\n"}, "one short .dist-info/WHEEL"),
        (
            {"a.dist-info/METADATA": "Name: pinthesky\nVersion: ../1\n", "a.dist-info/WHEEL": "Tag: py3-none-any"},
            "1.4.0",
        ),
        ({"a.dist-info/METADATA": "Name: pinthesky\nVersion: 1\n", "a.dist-info/WHEEL": "Tag: ../x"}, "has the tag"),
        ({"a.dist-info/METADATA": b"\xff", "a.dist-info/WHEEL": ""}, "cannot be read as a wheel"),
    ],
)
def test_what_is_no_wheel_of_ours_is_refused(pi: MadeUpPi, files: dict[str, str | bytes] | None, words: str):
    path = pi.installation.wheels / "x.whl"
    path.write_bytes(b"PK\3\4 not a zip")
    if files is not None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    with pytest.raises(InvalidInput) as caught:
        wheel.bring(pi.installation, pi.request(path))
    assert words in str(caught.value)
