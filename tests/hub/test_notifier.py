"""Alerts at home: mails and webhooks that really go out, and what becomes of those that do not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pinthesky.errors import InvalidInput, NotFound
from pinthesky.hub import waiting_alerts
from pinthesky.hub.adapters import notifier as module
from pinthesky.hub.adapters.notifier import Carriers, HubNotifier
from pinthesky.hub.database import Database
from pinthesky.hub.mail import Mailer
from pinthesky.hub.settings import Mail
from pinthesky.hub.waiting_alerts import WaitingAlerts
from pinthesky.hub.web_push import WebPush, new_key
from pinthesky.hub.webhooks import Webhooks
from pinthesky.model.identifiers import MediaKey
from pinthesky.planes.ports import Alert, Destination
from tests.planes.fakes import out_of_reach
from tests.planes.home import UnsyncedDatabase
from tests.support.daemon_process import eventually
from tests.support.mail_server import mail_server
from tests.support.push_service import Subscriber, push_service

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

    def url(self, key: MediaKey, *, lifetime_s: int, download_as: str | None = None) -> str:
        return f"/media/{key}?for={lifetime_s}{download_as or ''}"


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


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = UnsyncedDatabase(tmp_path / "hub.sqlite")
    yield made
    made.close()


def notifier_on(
    database: Database,
    mailer: Mailer | None = None,
    pictures: Pictures | None = None,
    *,
    web_push: WebPush | None = None,
) -> HubNotifier:
    """One that was not started."""

    def crash(name: str, error: BaseException) -> None:
        raise AssertionError(name) from error

    return HubNotifier(
        carriers=Carriers(Webhooks(), web_push or WebPush(new_key(), contact="mailto:hub@example.com"), mailer),
        waiting=WaitingAlerts(database),
        pictures=pictures or Pictures(),
        console="https://hub.local:8443",
        on_crash=crash,
    )


@contextmanager
def running(
    database: Database, mailer: Mailer | None = None, pictures: Pictures | None = None, **more: Any
) -> Iterator[HubNotifier]:
    made = notifier_on(database, mailer, pictures, **more)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        assert made.join(10)


def mailer(port: int) -> Mailer:
    return Mailer(Mail(host="127.0.0.1", port=port, security="none", sender="hub@example.com"))


def test_an_alert_goes_to_each_of_its_destinations(database):
    with mail_server() as mails, receiver() as hook, running(database, mailer(mails.port)) as notifier:
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


def test_what_does_not_arrive_is_tried_again_and_then_given_up(database, monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY_AFTER_S", (0.02, 0.02))
    with receiver() as hook, running(database) as notifier:
        hook.answers = [500, 302, 503, 200]
        notifier.deliver(ALERT, [Destination("s2", "https", hook.address)])
        eventually(lambda: notifier.given_up == 1, "it is given up")
        notifier.deliver(ALERT, [Destination("s2", "https", hook.address)])
        eventually(lambda: len(hook.told) == 4, "the next one arrives")
    assert "subscription s2" in caplog.text
    assert hook.address not in caplog.text


def test_an_alert_whose_picture_is_gone_goes_without_it(database):
    pictures = Pictures()
    pictures.gone = True
    with mail_server() as mails, running(database, mailer(mails.port), pictures) as notifier:
        notifier.deliver(ALERT, [Destination("s1", "email", "anna@example.com")])
        eventually(lambda: bool(mails.mails), "the mail arrives")
    assert "At 08:00." in mails.mails[0].get_content()


def test_too_many_are_dropped_and_that_is_said(database, monkeypatch, caplog):
    monkeypatch.setattr(waiting_alerts, "WAITING_MAX", 2)
    notifier = notifier_on(database)
    destination = Destination("s3", "https", "https://example.com/hook")
    notifier.deliver(ALERT, [destination] * 3)
    assert notifier.given_up == 1
    assert "subscription s3 is dropped" in caplog.text
    notifier.withdraw(destination)
    notifier.deliver(ALERT, [destination])
    assert notifier.given_up == 1


def test_what_waits_is_sent_by_the_next_process(database):
    with receiver() as hook:
        notifier_on(database).deliver(ALERT, [Destination("s2", "https", hook.address)])
        with running(database):
            eventually(lambda: bool(hook.told), "the alert of the life before arrives")
            eventually(lambda: len(WaitingAlerts(database)) == 0, "nothing is sent twice")
    (told,) = hook.told
    assert (told["title"], told["picture"]) == (ALERT.title, str(PICTURE))


def test_what_has_failed_once_is_tried_at_once_by_the_next_process(database):
    with receiver() as hook:
        hook.answers = [503]
        with running(database) as notifier:
            notifier.deliver(ALERT, [Destination("s2", "https", hook.address)])
            eventually(lambda: len(hook.told) == 1, "it has failed")
        with running(database):
            eventually(lambda: len(hook.told) == 2, "it is tried again", timeout_s=4)
    assert hook.told[0] == hook.told[1]


def test_an_alert_of_days_ago_is_news_to_nobody(database, caplog):
    days_ago = WaitingAlerts(database, now_s=lambda: time.time() - 2 * 86_400)
    with receiver() as hook:
        days_ago.put(ALERT, [Destination("s2", "https", hook.address)])
        with running(database) as notifier:
            notifier.deliver(ALERT, [Destination("s2", "https", hook.address)])
            eventually(lambda: bool(hook.told), "today's arrives")
            assert notifier.given_up == 1
    assert len(hook.told) == 1
    assert "1 alerts of more than a day ago" in caplog.text


def test_a_clock_that_was_set_back_meanwhile_holds_nothing_up(database):
    tomorrow = WaitingAlerts(database, now_s=lambda: time.time() + 86_400)
    with receiver() as hook:
        tomorrow.put(ALERT, [Destination("s2", "https", hook.address)])
        with running(database):
            eventually(lambda: bool(hook.told), "it arrives", timeout_s=4)
    assert len(hook.told) == 1


def test_what_cannot_be_read_any_more_is_dropped_and_the_next_goes_out(database, caplog):
    with receiver() as hook:
        notifier_on(database).deliver(ALERT, [Destination("s2", "https", hook.address)] * 2)
        with database.transaction() as connection:
            connection.execute("UPDATE waiting_alerts SET content = x'7b' WHERE number = 1")
        with running(database):
            eventually(lambda: bool(hook.told), "the other one arrives")
    assert "cannot be read and is dropped" in caplog.text


def test_a_database_that_is_locked_holds_alerts_up_and_loses_none(database, monkeypatch, caplog):
    monkeypatch.setattr(module, "WAIT_S", 0.02)
    with receiver() as hook:
        notifier = notifier_on(database)
        notifier.deliver(ALERT, [Destination("s2", "https", hook.address)])
        with monkeypatch.context() as broken:
            broken.setattr(WaitingAlerts, "first", out_of_reach)
            notifier.start()
            eventually(lambda: "Alerts wait: the service behind" in caplog.text, "it is said")
        eventually(lambda: bool(hook.told), "it arrives")
        notifier.stop()
        assert notifier.join(10)


def test_a_browser_is_told_and_one_that_has_left_is_forgotten(database, tmp_path):
    with push_service(tmp_path) as service:
        push = WebPush(new_key(), contact="mailto:hub@example.com", trusted=service.trusted, rule=lambda _address: None)
        browser, gone = Subscriber(service.origin, "here"), Subscriber(service.origin, "gone")
        destinations = [
            Destination(name, "webpush", each.subscription) for name, each in (("s1", browser), ("s2", gone))
        ]
        left: list[str] = []
        service.answers = [201, 410]
        with running(database, web_push=push) as notifier:
            notifier.on_gone(lambda destination: left.append(destination.subscription_id))
            assert notifier.push_key == push.public_key
            assert notifier.protocols == {"https", "webpush"}
            notifier.enlist(destinations[0])
            notifier.deliver(ALERT, destinations)
            eventually(lambda: len(WaitingAlerts(database)) == 0, "both were sent")
            assert left == ["s2"]
            assert notifier.given_up == 0
        told = browser.read(service.received[0])
    assert told["picture"] == f"/media/{PICTURE}?for=86400"
    assert (told["title"], told["link"]) == ("Something moved at Garden", "/cameras/garden")


@pytest.mark.parametrize("protocol, endpoint", [("webpush", "{}"), ("email", "anna@example.com")])
def test_a_subscription_that_cannot_be_used_any_more_is_given_up_at_once(database, caplog, protocol, endpoint):
    with running(database) as notifier:
        notifier.deliver(ALERT, [Destination("s9", protocol, endpoint)])
        eventually(lambda: notifier.given_up == 1, "it is given up")
    assert "subscription s9 cannot be sent" in caplog.text


@pytest.mark.parametrize(
    "protocol, endpoint, field",
    [
        ("email", "anna@example.com", "protocol"),
        ("sms", "+431234", "protocol"),
        ("webpush", "{}", "endpoint"),
        ("https", "ftp://example.com", "endpoint"),
        ("https", "https://a b", "endpoint"),
        ("https", "file:///etc/passwd", "endpoint"),
        ("https", "https://" + "a" * 300, "endpoint"),
    ],
)
def test_what_cannot_be_a_destination_here_is_refused(database, protocol, endpoint, field):
    with running(database) as notifier, pytest.raises(InvalidInput) as raised:
        notifier.enlist(Destination("s", protocol, endpoint))
    assert raised.value.field == field
