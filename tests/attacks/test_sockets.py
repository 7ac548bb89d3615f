"""Hostile WebSockets: too many, too slow, too much, and from elsewhere. People's own work on meanwhile."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from pinthesky.hub import sockets as limits
from pinthesky.hub import web_protocols
from pinthesky.hub.rate_limits import RateLimit
from pinthesky.planes.data_plane.limits import MESSAGES_BEFORE_CLOSING, MESSAGES_MAX, SIGN_IN_TRIES_MAX
from pinthesky.planes.pushes import push
from pinthesky.planes.records.pushes import Push
from tests.planes.home import GARDEN
from tests.support.hostile_clients import RawSocket, frame_of
from tests.support.planes_at_hub import HubOfPlanes


def eventually(holds: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


@pytest.fixture(autouse=True)
def fresh_limits(stage: HubOfPlanes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test pays for what another has tried."""
    monkeypatch.setattr(stage.hub.sockets, "_strangers", RateLimit(limits.STRANGERS_PER_MINUTE, 60.0))
    yield
    assert eventually(lambda: len(stage.hub.sockets) == 0), "what a test opens is closed behind it"


def ticket_of(stage: HubOfPlanes, who: str = "owner") -> str:
    return str(stage.ask_for(who, "POST", "/tokens")["token"])


@contextlib.contextmanager
def opened(stage: HubOfPlanes, who: str = "", source: str = "127.0.0.1") -> Iterator[RawSocket]:
    query = f"?Authorization={quote(ticket_of(stage, who))}" if who else ""
    client = RawSocket(stage.server.port, query, source=source)
    try:
        yield client
    finally:
        client.close()


def works(stage: HubOfPlanes) -> bool:
    """Whether somebody who is invited is served over HTTP and over a socket, in good time."""
    begun = time.monotonic()
    with opened(stage, "member") as client:
        answer = client.say("status")
    assert answer["response"]["statusCode"] == 200, answer
    assert stage.ask("member", "GET", "/cameras")[0] == 200
    return time.monotonic() - begun < 3.0


def test_a_page_of_another_site_opens_no_socket(stage):
    for origin, status in (
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost.evil.example", 403),
        (stage.people["owner"].origin, 101),
    ):
        client = RawSocket(stage.server.port, origin=origin)
        client.close()
        assert client.status == status, origin


def test_who_has_not_logged_in_may_do_nothing_else_and_tries_only_so_often(stage):
    with opened(stage) as client:
        assert client.say("status")["response"]["statusCode"] == 401
        statuses = []
        while answer := client.say("login", tokenId="guess", jwtId=None):
            statuses.append(answer["response"]["statusCode"])
        assert set(statuses) == {403}
        assert len(statuses) <= SIGN_IN_TRIES_MAX


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"null",
        b"[]",
        b'{"action":"status","payload":' + b"[" * 60_000,
        b'{"action":' + b'{"a":' * 20_000,
        b'{"action":"login","payload":{"after":' + b"9" * 100_000 + b"}}",
        b'{"action":"__class__"}',
        b'{"action":"login","action":"status"}',
        b'{"action":"\\ud800"}',
        b'{"action":"invoke","payload":{"camera":"../x","event":{"name":"health"}}}',
        b'{"action":"login","payload":{"tokenId":"' + b"x" * 100_000 + b'"}}',
    ],
    ids=lambda message: repr(message[:24]),
)
def test_no_message_breaks_the_socket_or_the_hub(stage, message):
    with opened(stage) as client:
        client.frame(message)
        assert client.hear()["response"]["statusCode"] in (400, 401, 403)
        assert client.say("status")["response"]["statusCode"] == 401


@pytest.mark.parametrize(
    "frames",
    [
        frame_of(b"x" * 200_000),
        frame_of(b"\xff\xfe"),
        frame_of(b"a", opcode=0),
        frame_of(b"a", opcode=3),
        frame_of(b"a" * 200, opcode=9),
        frame_of(b"a", fin=False) + frame_of(b"a"),
        b"\x81\x05hello",
        b"\x81\xff" + b"\xff" * 8,
        b"\xf1\x80\0\0\0\0",
    ],
    ids=["large", "no UTF-8", "continuation", "opcode", "long ping", "begun twice", "unmasked", "endless", "reserved"],
)
def test_frames_that_break_the_protocol_end_the_connection(stage, frames):
    with opened(stage) as client:
        client.send(frames)
        assert client.hear() is None


def test_a_message_of_pieces_without_end_is_cut_off(stage):
    with opened(stage) as client:
        client.send(frame_of(b"", fin=False))
        client.send(frame_of(b"", opcode=0, fin=False) * (2 * web_protocols.FRAGMENTS_MAX))
        assert client.hear() is None


def test_who_pings_and_reads_nothing_is_cut_off(stage, monkeypatch):
    monkeypatch.setattr(web_protocols, "UNREAD_MAX", 100_000)
    with opened(stage, "owner") as client:
        pings = frame_of(b"a" * 125, opcode=9) * 500
        deadline = time.monotonic() + 20
        while len(stage.hub.sockets) and time.monotonic() < deadline:
            client.socket.settimeout(0.2)
            client.send(pings)
        assert eventually(lambda: len(stage.hub.sockets) == 0)
    assert works(stage)


def test_a_flood_of_messages_is_answered_with_429_and_then_ended(stage):
    with opened(stage, "owner") as client:
        client.send(frame_of(b'{"action":"status"}') * (MESSAGES_BEFORE_CLOSING + 50))
        statuses = []
        while (heard := client.hear()) is not None:
            statuses.append(heard["response"]["statusCode"])
    assert statuses.count(200) == MESSAGES_MAX
    assert set(statuses) == {200, 429}
    assert len(statuses) <= MESSAGES_BEFORE_CLOSING
    assert works(stage)


def test_a_socket_that_reads_nothing_is_ended_and_others_hear_on(stage, monkeypatch):
    monkeypatch.setattr(limits, "QUEUE_BYTES_MAX", 100_000)
    heard: list[str] = []
    with opened(stage, "owner") as stalled, opened(stage, "member") as reading:
        listener = threading.Thread(target=listen, args=(reading, heard))
        listener.start()
        told: list[str] = []
        while len(stage.hub.sockets) == 2 and len(told) < 500:
            news = Push(type="camera_fault", camera=GARDEN, time=1, reason="x" * 60_000)
            told.append(str(push(stage.home, news, time.time()).id))
            assert eventually(lambda: len(heard) == len(told))  # who reads is told at once
        assert stalled.status == 101
        assert len(stage.hub.sockets) == 1
        reading.socket.shutdown(socket.SHUT_RDWR)
        listener.join(10)
    assert heard == told
    stage.restore()


def listen(client: RawSocket, heard: list[str]) -> None:
    """Note the ids of events until the connection ends."""
    with contextlib.suppress(OSError):
        while (message := client.hear()) is not None:
            if "event" in message:
                heard.append(message["event"]["id"])


def test_strangers_take_their_own_places_and_nobody_elses(stage):
    with contextlib.ExitStack() as stack:
        statuses = []
        for number in range(100):
            source = f"127.0.1.{number // 20 + 1}"
            client = stack.enter_context(opened(stage, source=source))
            statuses.append(client.status)
        assert statuses.count(101) == limits.STRANGERS_MAX
        assert statuses[: limits.STRANGERS_OF_NETWORK_MAX + 1].count(101) == limits.STRANGERS_OF_NETWORK_MAX
        assert works(stage)


def test_who_opens_and_closes_without_end_is_slowed_down(stage):
    statuses = []
    for _ in range(limits.STRANGERS_PER_MINUTE + 30):
        with opened(stage) as client:
            statuses.append(client.status)
        assert eventually(lambda: len(stage.hub.sockets) < 8)
    assert 403 in statuses
    assert works(stage)


def check_idle_sockets(stage: HubOfPlanes, count: int) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    people = [person for person in stage.home.people.everybody() if person.role is not None]
    with contextlib.ExitStack() as stack:
        for number in range(count):
            secret = stage.home.tickets.issue(people[number % len(people)].id, time.time()).secret
            client = RawSocket(stage.server.port, f"?Authorization={quote(secret)}")
            stack.callback(client.close)
            assert client.status == 101, number
        assert len(stage.hub.sockets) == count
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
        begun = time.monotonic()
        assert stage.ask("owner", "GET", "/cameras")[0] == 200
        assert time.monotonic() - begun < 1.0
    assert eventually(lambda: len(stage.hub.sockets) == 0, 60)
    assert grown_kb < 100 * count + 20_000, f"{grown_kb / count:.0f} KB each"


def test_a_hundred_idle_sockets_disturb_nobody(stage):
    check_idle_sockets(stage, 100)


@pytest.mark.soak
def test_a_thousand_idle_sockets_disturb_nobody(stage, monkeypatch):
    monkeypatch.setattr("pinthesky.planes.data_plane.actions.OF_PERSON_MAX", 1000)
    check_idle_sockets(stage, 1000)


def test_answers_hold_nothing_of_what_was_sent_but_its_name(stage):
    with opened(stage) as client:
        answer = client.say("login", tokenId="secret-of-somebody")
    assert "secret-of-somebody" not in json.dumps(answer)
