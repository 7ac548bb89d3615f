"""Web push: what a browser's push service gets can be read by that browser alone, and nothing else is posted to."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput, InvariantBroken, NotFound, Unavailable
from pinthesky.hub.web_push import CONTENT_MAX, MESSAGE_MAX, Notice, WebPush, _content, new_key, tag_of
from tests.support.push_service import PushService, Subscriber, base64url, push_service

NOTICE = Notice(
    alert_type="motion",
    camera="garden",
    title="Something moved at Garden",
    text="At 08:00.",
    link="/cameras/garden",
    tag=tag_of("motion", "garden"),
    picture="/media/capture_images/garden/still.jpg?until=1&seal=a",
    merged=3,
)
KEY = new_key()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushService]:
    with push_service(tmp_path_factory.mktemp("push")) as made:
        yield made


@pytest.fixture
def service(running: PushService) -> PushService:
    running.received.clear()
    running.answers.clear()
    return running


@pytest.fixture
def push(service: PushService) -> WebPush:
    return WebPush(KEY, contact="mailto:hub@example.com", trusted=service.trusted, rule=lambda _address: None)


def changed(subscriber: Subscriber, **given: Any) -> str:
    return json.dumps({**subscriber.document, **given})


def test_a_browser_reads_what_was_sent_and_knows_who_sent_it(service: PushService, push: WebPush):
    browser = Subscriber(service.origin)
    push.check(browser.subscription)
    push.send(browser.subscription, NOTICE)
    (message,) = service.received
    assert browser.read(message) == {
        "alertType": "motion",
        "camera": "garden",
        "title": "Something moved at Garden",
        "text": "At 08:00.",
        "link": "/cameras/garden",
        "tag": NOTICE.tag,
        "picture": NOTICE.picture,
        "merged": 3,
    }
    claims = browser.verify(message, push.public_key)
    assert claims["sub"] == "mailto:hub@example.com"
    assert time.time() < claims["exp"] <= time.time() + 24 * 3600
    assert message.path == "/push/browser"
    assert b"garden" not in message.body


def test_the_service_is_told_how_long_how_urgent_and_what_it_replaces(service: PushService, push: WebPush):
    browser = Subscriber(service.origin)
    push.send(browser.subscription, NOTICE)
    push.send(
        browser.subscription, Notice("camera_online", "garden", "Back", "", "", tag_of("camera_online", "garden"))
    )
    urgent, other = (message.headers for message in service.received)
    assert (urgent["content-encoding"], urgent["ttl"], urgent["urgency"]) == ("aes128gcm", "86400", "high")
    assert other["urgency"] == "normal"
    assert other["topic"] == tag_of("camera_offline", "garden") != urgent["topic"]
    assert len(other["topic"]) == 32


def test_every_message_has_a_key_and_a_salt_of_its_own(service: PushService, push: WebPush):
    browser = Subscriber(service.origin)
    for _ in range(2):
        push.send(browser.subscription, NOTICE)
    first, second = (message.body for message in service.received)
    assert first[:16] != second[:16]
    assert first[21:86] != second[21:86]


@given(title=st.text(max_size=3000), text=st.text(max_size=3000), link=st.text("ab/", max_size=4000))
def test_whatever_is_told_a_message_fits(title: str, text: str, link: str):
    content = _content(Notice("camera_offline", "c" * 128, title, text, link, "t" * 32, "p" * 2000))
    assert len(content) <= CONTENT_MAX
    assert json.loads(content)["alertType"] == "camera_offline"


def test_what_is_far_too_long_goes_without_its_extras():
    content = _content(Notice("motion", "garden", "\x00" * 3000, "\x00" * 3000, "x" * 4000, "t" * 32, "p" * 2000))
    assert len(content) <= CONTENT_MAX
    assert json.loads(content) == {
        "alertType": "motion",
        "camera": "garden",
        "title": "\x00" * 200,
        "text": "\x00" * 200,
        "link": "",
        "tag": "t" * 32,
    }


def test_the_largest_message_is_as_large_as_services_take(service: PushService, push: WebPush):
    bare = len(_content(Notice("motion", "", "t", "", "", "")))
    push.send(Subscriber(service.origin).subscription, Notice("motion", "", "t", "", "x" * (CONTENT_MAX - bare), ""))
    assert len(service.received[0].body) == MESSAGE_MAX


@pytest.mark.parametrize("status", [404, 410])
def test_a_browser_that_has_unsubscribed_is_named_as_gone(service: PushService, push: WebPush, status: int):
    service.answers = [status]
    with pytest.raises(NotFound):
        push.send(Subscriber(service.origin).subscription, NOTICE)


@pytest.mark.parametrize("status", [302, 400, 403, 413, 429, 500, 503])
def test_every_other_refusal_is_for_later(service: PushService, push: WebPush, status: int):
    service.answers = [status]
    with pytest.raises(Unavailable, match=str(status)):
        push.send(Subscriber(service.origin).subscription, NOTICE)


def test_a_service_whose_certificate_nobody_trusts_gets_nothing(service: PushService):
    push = WebPush(KEY, contact="mailto:hub@example.com", rule=lambda _address: None)
    with pytest.raises(Unavailable, match="certificate verify failed"):
        push.send(Subscriber(service.origin).subscription, NOTICE)
    assert service.received == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "192.168.1.8", "[::1]", "[fd00::1]", "169.254.169.254", "[::ffff:10.0.0.1]"]
)
def test_an_address_of_the_house_is_refused_when_it_is_given_and_when_it_is_used(
    monkeypatch: pytest.MonkeyPatch, address: str
):
    push = WebPush(KEY, contact="mailto:hub@example.com")
    with pytest.raises(InvalidInput, match="no address of a push service") as raised:
        push.check(changed(Subscriber(f"https://{address}")))
    assert raised.value.field == "endpoint"

    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address.strip("[]"), 443))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    named = Subscriber("https://push.example").subscription
    push.check(named)
    with pytest.raises(Unavailable, match="no address of a push service"):
        push.send(named, NOTICE)


@pytest.mark.parametrize(
    "given",
    [
        {"endpoint": "http://push.example/1"},
        {"endpoint": "https://"},
        {"endpoint": "https://user@push.example/1"},
        {"endpoint": "https://push.example/a b"},
        {"endpoint": "https://push.example/\r\nHost: x"},
        {"endpoint": "https://push.example:x/"},
        {"endpoint": "https://[::1"},
        {"endpoint": "https://push.example/" + "a" * 1700},
        {"keys": {"p256dh": "BP", "auth": base64url(bytes(16))}},
        {"keys": {"p256dh": base64url(b"\x04" + bytes(64)), "auth": base64url(bytes(16))}},
        {"keys": {"p256dh": "ä", "auth": base64url(bytes(16))}},
        {"keys": {**Subscriber("").document["keys"], "auth": "AAAA"}},  # type: ignore[dict-item] # it is a dictionary
        {"keys": {}},
        {"endpoint": 1},
    ],
)
def test_what_is_no_subscription_of_a_browser_is_refused(push: WebPush, given: dict[str, Any]):
    with pytest.raises(InvalidInput) as raised:
        push.check(changed(Subscriber("https://push.example"), **given))
    assert raised.value.field == "endpoint"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 2000])
def test_what_is_no_json_is_refused(push: WebPush, text: str):
    with pytest.raises(InvalidInput):
        push.check(text)


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_a_key_of_another_kind_is_refused(key: Any):
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvariantBroken):
        WebPush(pem, contact="mailto:hub@example.com")


def test_the_public_key_stays_with_its_private_one():
    first, second = (WebPush(KEY, contact="mailto:a@example.com").public_key for _ in range(2))
    assert first == second
    assert len(first) == 87
