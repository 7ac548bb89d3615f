"""Mail, through a real SMTP server on this machine."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.hub.authority import Authority
from pinthesky.hub.mail import Mailer
from pinthesky.hub.settings import Mail
from pinthesky.model.people import Email
from tests.support.mail_server import PASSWORD, USER, mail_server

ANNA = Email("anna@example.com")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "authority").mkdir()
    made = Authority(tmp_path / "authority")
    made.prepare("hub")
    made.ensure_server_certificate(["127.0.0.1"])
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Mail]:
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")

    def made(port: int, **changes: str) -> Mail:
        given = {"user": USER, "sender": "hub@example.com", "password_file": str(password), **changes}
        return Mail(host="127.0.0.1", port=port, **given)  # type: ignore[arg-type]  # a table of text, as TOML gives it

    return made


def server_side(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server_certificate, authority.server_key)
    return context


def client_side(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.root_certificate))


def test_a_mail_goes_out_protected_and_signed_in(authority, settings):
    with mail_server(server_side(authority)) as server:
        mailer = Mailer(settings(server.port), trusted=client_side(authority))
        mailer.send(ANNA, "Something\nmoved: Gärten", "at the gate", picture=b"\xff\xd8picture")
    (mail,) = server.mails
    assert (mail["To"], mail["From"]) == ("anna@example.com", "Pi In The Sky <hub@example.com>")
    assert mail["Subject"] == "Something moved: Gärten"
    body, picture = mail.iter_parts()
    assert body.get_content().strip() == "at the gate"
    assert (picture.get_content_type(), picture.get_content()) == ("image/jpeg", b"\xff\xd8picture")


def test_a_server_with_a_strangers_certificate_gets_no_password(authority, settings):
    with mail_server(server_side(authority)) as server:
        with pytest.raises(Unavailable, match="certificate verify failed"):
            Mailer(settings(server.port)).send(ANNA, "subject", "text")
        assert server.mails == []


def test_a_refused_password_is_an_error_that_does_not_tell_it(authority, settings, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("not it")
    with mail_server(server_side(authority)) as server:
        mailer = Mailer(settings(server.port, password_file=str(wrong)), trusted=client_side(authority))
        with pytest.raises(Unavailable, match=r"refuses \(code 535\)") as raised:
            mailer.send(ANNA, "subject", "text")
    assert "not it" not in str(raised.value)


def test_without_protection_no_password_is_sent(settings):
    with mail_server() as server:
        Mailer(settings(server.port, security="none")).send(ANNA, "subject", "text")
        assert len(server.mails) == 1
        server.answer = "452 disk full"
        with pytest.raises(Unavailable, match=r"code 452"):
            Mailer(settings(server.port, security="none")).send(ANNA, "subject", "text")


def test_no_server_and_no_password_file_are_unavailable(authority, settings):
    with mail_server(server_side(authority)) as server:
        missing = Mailer(settings(server.port, password_file="/nowhere"), trusted=client_side(authority))
        with pytest.raises(Unavailable, match=r"mail\.password_file: cannot be read"):
            missing.send(ANNA, "subject", "text")
    with pytest.raises(Unavailable, match="no mail goes through"):
        Mailer(settings(server.port, security="none")).send(ANNA, "subject", "text")
    with pytest.raises(InvalidInput, match=r"mail\.sender: must be an e-mail address"):
        Mailer(Mail(host="smtp", user="no address"))
