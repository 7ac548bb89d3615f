"""Alerts at home: mails and webhooks that really go out, and what becomes of those that do not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pinthesky.errors import InvalidInput, NotFound
from pinthesky.hub.adapters import notifier as module
from pinthesky.hub.adapters.notifier import HubNotifier
from pinthesky.hub.mail import Mailer
from pinthesky.hub.settings import Mail
from pinthesky.hub.webhooks import Webhooks
from pinthesky.model.identifiers import MediaKey
from pinthesky.planes.ports import Alert, Destination
from tests.support.daemon_process import eventually
from tests.support.mail_server import mail_server

PICTURE = MediaKey("capture_images/garden/still.jpg")
ALERT = Alert(
    alert_type="motion",
    scope="camera",
    group="",
    camera="garden",
    day_of_week="fri",
    hour=8,
    title="Something moved at Garden",
    text="At 08:00.",
    link="/cameras/garden",
    picture=PICTURE,
)


class Pictures:
    """The one picture, unless it is gone."""

    def __init__(self) -> None:
        self.gone = False

    def read(self, key: MediaKey, *, limit: int) -> bytes:
        if self.gone:
            raise NotFound(f"{key} is not stored")
        return b"\xff\xd8"[:limit]


class Receiver:
    """A webhook: what it was told, and what it answers."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.address = ""


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(made.answers.pop(0) if made.answers else 204)
            self.send_header("Location", f"{made.address}elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def running(mailer: Mailer | None = None, pictures: Pictures | None = None) -> Iterator[HubNotifier]:
    def crash(name: str, error: BaseException) -> None:
        raise AssertionError(name) from error

    made = HubNotifier(
        mailer=mailer,
        webhooks=Webhooks(),
        pictures=pictures or Pictures(),
        console="https://hub.local:8443",
        on_crash=crash,
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()
        assert made.join(10)


def mailer(port: int) -> Mailer:
    return Mailer(Mail(host="127.0.0.1", port=port, security="none", sender="hub@example.com"))


def test_an_alert_goes_to_each_of_its_destinations(monkeypatch):
    with mail_server() as mails, receiver() as hook, running(mailer(mails.port)) as notifier:
        destinations = [Destination("s1", "email", "Anna@example.com"), Destination("s2", "https", hook.address)]
        for destination in destinations:
            notifier.enlist(destination)
        notifier.deliver(ALERT, destinations)
        eventually(lambda: bool(mails.mails) and bool(hook.told), "both are told")
    (mail,), (told,) = mails.mails, hook.told
    assert (mail["To"], mail["Subject"]) == ("anna@example.com", "Something moved at Garden")
    text, picture = mail.iter_parts()
    assert "https://hub.local:8443/cameras/garden" in text.get_content()
    assert picture.get_content() == b"\xff\xd8"
    assert (told["alert_type"], told["camera"], told["link"]) == (
        "motion",
        "garden",
        "https://hub.local:8443/cameras/garden",
    )


def test_what_does_not_arrive_is_tried_again_and_then_given_up(monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY_AFTER_S", (0.02, 0.02))
    with receiver() as hook, running() as notifier:
        hook.answers = [500, 302, 503, 200]
        notifier.deliver(ALERT, [Destination("s2", "https", hook.address)])
        eventually(lambda: notifier.given_up == 1, "it is given up")
        notifier.deliver(ALERT, [Destination("s2", "https", hook.address)])
        eventually(lambda: len(hook.told) == 4, "the next one arrives")
    assert "subscription s2" in caplog.text
    assert hook.address not in caplog.text


def test_an_alert_whose_picture_is_gone_goes_without_it():
    pictures = Pictures()
    pictures.gone = True
    with mail_server() as mails, running(mailer(mails.port), pictures) as notifier:
        notifier.deliver(ALERT, [Destination("s1", "email", "anna@example.com")])
        eventually(lambda: bool(mails.mails), "the mail arrives")
    assert "At 08:00." in mails.mails[0].get_content()


def test_too_many_are_dropped_and_that_is_said(monkeypatch, caplog):
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    notifier = HubNotifier(
        mailer=None, webhooks=Webhooks(), pictures=Pictures(), console="", on_crash=lambda *_: None
    )  # never started
    destination = Destination("s3", "https", "https://example.com/hook")
    notifier.deliver(ALERT, [destination] * 3)
    assert notifier.given_up == 1
    assert "subscription s3 is dropped" in caplog.text
    notifier.withdraw(destination)
    notifier.deliver(ALERT, [destination])
    assert notifier.given_up == 1


@pytest.mark.parametrize(
    "protocol, endpoint, field",
    [
        ("email", "anna@example.com", "protocol"),
        ("sms", "+431234", "protocol"),
        ("https", "ftp://example.com", "endpoint"),
        ("https", "https://a b", "endpoint"),
        ("https", "file:///etc/passwd", "endpoint"),
        ("https", "https://" + "a" * 300, "endpoint"),
    ],
)
def test_what_cannot_be_a_destination_here_is_refused(protocol, endpoint, field):
    with running() as notifier, pytest.raises(InvalidInput) as raised:
        notifier.enlist(Destination("s", protocol, endpoint))
    assert raised.value.field == field
