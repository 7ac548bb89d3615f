"""Cameras in an `<img>`: who gets which picture, for how long, and what a camera is asked for meanwhile."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette

from pinthesky.errors import Unavailable
from pinthesky.hub import picture_streams
from pinthesky.hub.control_plane_site import ControlPlaneSite
from pinthesky.hub.picture_streams import Picture, PictureStreams
from pinthesky.hub.safe_headers import SafeHeaders
from pinthesky.hub.still_source import EVERY_S, PATIENCE_S, StillSource
from pinthesky.hub.web_server import WebServer
from pinthesky.model.identifiers import KeyPrefix, ThingName
from pinthesky.model.people import Person
from pinthesky.planes.routing import MOTION_JPEG, HttpAnswer, HttpRequest
from tests.planes.fakes import Clock, FakeCommands, FakeMedia
from tests.support.daemon_process import eventually

GARDEN, GATE = ThingName("garden"), ThingName("gate")
TOKEN = "t" * 43
FIRST = Picture(b"\xff\xd8first\xff\xd9", 1_800_000_000.0)
SECOND = Picture(b"\xff\xd8second\xff\xd9", 1_800_000_002.5)
_PART = re.compile(
    rb"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: (\d+)\r\nX-Timestamp: ([0-9.]+)\r\n\r\n"
    rb"(.*?)\r\n(?=--picture)",
    re.DOTALL,
)


class Source:
    """Keeps what was wanted."""

    def __init__(self) -> None:
        self.wanted: frozenset[ThingName] = frozenset()
        self.turns = 0

    def want(self, things: Collection[ThingName]) -> None:
        self.wanted = frozenset(things)
        self.turns += 1


class Stage:
    """A server with streams, in place of the planes an answer that a test may change."""

    def __init__(self) -> None:
        self.status = 200
        self.source = Source()
        self.streams = PictureStreams(self._crashed)
        self.streams.take_from(self.source)
        site = ControlPlaneSite(self._serve, self._person_of, self.streams)
        self.server = WebServer(SafeHeaders(Starlette(routes=site.routes())), host="127.0.0.1", port=0, tls=None)
        self.server.start()
        self.streams.start()

    def close(self) -> None:
        self.streams.stop()
        assert self.streams.join(5)
        assert self.server.stop()

    def _crashed(self, name: str, error: BaseException) -> None:
        raise AssertionError(name) from error

    def _person_of(self, token: str) -> Person:
        raise AssertionError(token)

    def _serve(self, request: HttpRequest, person: Person | None, *, request_id: str, source_ip: str) -> HttpAnswer:
        assert person is None
        if request.query.get("token") != TOKEN or self.status != 200:
            status = 404 if self.status == 200 else self.status
            return HttpAnswer(status, b"{}", {"Content-Type": "application/json"})
        return HttpAnswer(200, b"", {"Content-Type": MOTION_JPEG})


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(picture_streams, "TURN_S", 0.02)
    monkeypatch.setattr(picture_streams, "WELCOME_S", 0.05)
    made = Stage()
    yield made
    made.close()


class Viewer:
    """A browser that shows a stream."""

    def __init__(self, stage: Stage, thing: str = "garden", *, token: str = TOKEN, method: str = "GET") -> None:
        self._socket = socket.create_connection(("127.0.0.1", stage.server.port), timeout=10)
        request = f"{method} /api/cameras/{thing}/stream.mjpeg?token={token} HTTP/1.0\r\nHost: localhost\r\n\r\n"
        self._socket.sendall(request.encode())
        self._heard = b""
        while b"\r\n\r\n" not in self._heard:
            self._hear()
        head, _, self._heard = self._heard.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}

    def pictures(self, count: int) -> list[Picture]:
        """What was shown from the beginning, when it is so much."""
        while len(found := _PART.findall(self._heard)) < count:
            if not self._hear():
                raise AssertionError(f"the stream has ended after {len(found)} pictures")
        assert all(len(jpeg) == int(size) for size, _, jpeg in found)
        return [Picture(jpeg, float(at_s)) for _, at_s, jpeg in found]

    def ends(self) -> bool:
        """Whether the other side ends it."""
        while self._hear():
            pass
        return True

    def close(self) -> None:
        self._socket.close()

    def _hear(self) -> bytes:
        data = self._socket.recv(65536)
        self._heard += data
        return data


@contextlib.contextmanager
def watching(stage: Stage, *args: Any, **options: Any) -> Iterator[Viewer]:
    viewer = Viewer(stage, *args, **options)
    try:
        yield viewer
    finally:
        viewer.close()


def test_every_viewer_of_a_camera_gets_each_new_picture_and_a_late_one_the_last(stage: Stage):
    with watching(stage) as first, watching(stage, "gate") as other:
        eventually(lambda: stage.source.wanted == {GARDEN, GATE}, "both cameras are asked for")
        stage.streams.show(GARDEN, FIRST)
        assert first.pictures(1) == [FIRST]
        with watching(stage) as second:
            assert second.pictures(1) == [FIRST]
            stage.streams.show(GARDEN, SECOND)
            assert first.pictures(2) == second.pictures(2) == [FIRST, SECOND]
        stage.streams.show(GATE, SECOND)
        assert other.pictures(1) == [SECOND]
    assert first.headers["content-type"] == MOTION_JPEG
    assert first.headers["cache-control"] == "no-store"
    assert first.headers["cross-origin-resource-policy"] == "cross-origin"
    assert first.headers["x-content-type-options"] == "nosniff"


def test_nothing_is_wanted_when_nobody_watches_and_nothing_is_kept(stage: Stage):
    with watching(stage) as viewer:
        eventually(lambda: stage.source.wanted == {GARDEN}, "it is asked for")
        stage.streams.show(GARDEN, FIRST)
        viewer.pictures(1)
    eventually(lambda: stage.source.wanted == frozenset() and len(stage.streams) == 0, "nobody watches")
    stage.streams.show(GARDEN, FIRST)
    with watching(stage) as viewer:
        stage.streams.show(GARDEN, SECOND)
        assert viewer.pictures(1) == [SECOND]


def test_a_still_camera_s_last_picture_comes_again(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(picture_streams, "REPEAT_S", 0.05)
    with watching(stage) as viewer:
        stage.streams.show(GARDEN, FIRST)
        assert viewer.pictures(3)[:3] == [FIRST] * 3


def test_a_camera_of_which_there_is_no_picture_ends_its_stream(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(picture_streams, "REPEAT_S", 0.05)
    monkeypatch.setattr(picture_streams, "NOTHING_S", 0.1)
    with watching(stage) as viewer:
        assert viewer.ends()


@pytest.mark.parametrize("status", [404, 409])
def test_who_may_not_watch_any_more_sees_no_further_picture(stage: Stage, status: int):
    with watching(stage) as viewer:
        stage.streams.show(GARDEN, FIRST)
        viewer.pictures(1)
        stage.status = status
        assert viewer.ends()
    eventually(lambda: len(stage.streams) == 0, "it is forgotten")


def test_a_home_that_cannot_be_asked_for_a_moment_ends_no_stream(stage: Stage):
    with watching(stage) as viewer:
        stage.streams.show(GARDEN, FIRST)
        viewer.pictures(1)
        stage.status = 500
        turns = stage.source.turns
        eventually(lambda: stage.source.turns > turns + 10, "it was looked at several times")
        stage.streams.show(GARDEN, SECOND)
        assert viewer.pictures(2) == [FIRST, SECOND]


def test_without_a_token_there_is_no_stream_and_none_is_in_a_log(stage: Stage, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    with watching(stage, token="x" * 43) as refused, watching(stage) as viewer:
        assert (refused.status, viewer.status) == (404, 200)
    with watching(stage, method="HEAD") as asked:
        assert (asked.status, asked.headers["content-type"]) == (200, MOTION_JPEG)
        assert asked.ends()
    assert TOKEN not in caplog.text


def test_there_are_so_many_viewers_of_a_camera_and_so_many_in_all(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(picture_streams, "VIEWERS_MAX", 3)
    monkeypatch.setattr(picture_streams, "VIEWERS_OF_CAMERA_MAX", 2)
    with watching(stage), watching(stage), watching(stage) as third, watching(stage, "gate") as other:
        assert (third.status, third.headers["retry-after"], other.status) == (429, "30", 200)
        with watching(stage, "hall") as one_more:
            assert one_more.status == 429


def test_who_takes_nothing_misses_pictures_and_is_left_and_nobody_waits(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(picture_streams, "SEND_TIMEOUT_S", 0.3)
    large = b"\xff\xd8" + bytes(4_000_000)
    with watching(stage) as slow, watching(stage, "gate") as quick:
        stage.streams.show(GATE, FIRST)
        assert quick.pictures(1) == [FIRST]
        for number in range(200):
            stage.streams.show(GARDEN, Picture(large, float(number)))
        eventually(lambda: _sent_again(stage, large), "the slow one is left")
        stage.streams.show(GATE, SECOND)
        assert quick.pictures(2) == [FIRST, SECOND]
        with contextlib.suppress(ConnectionError):
            assert slow.ends()


def _sent_again(stage: Stage, jpeg: bytes) -> bool:
    stage.streams.show(GARDEN, Picture(jpeg, time.time()))
    return len(stage.streams) == 1


def test_streams_end_with_the_hub(stage: Stage):
    with watching(stage) as viewer:
        stage.streams.stop()
        assert viewer.ends()
        with watching(stage) as late:
            assert late.ends()


class Stills:
    """A source with a camera whose clock the test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.commands = FakeCommands()
        self.media = FakeMedia(Clock())
        self.connected = True
        self.shown: list[tuple[ThingName, bytes]] = []
        self.source = StillSource(
            commands=self.commands,
            media=self.media,
            prefix=KeyPrefix("capture_images"),
            is_connected=lambda _thing: self.connected,
            show=lambda thing, picture: self.shown.append((thing, picture.jpeg)),
            monotonic_s=lambda: self.now_s,
        )

    def asked(self) -> int:
        return len(self.commands.sent)

    def arrive(self, jpeg: bytes, name: str = "thumbnail_latest.jpg") -> None:
        key = f"capture_images/garden/{name}"
        self.media.store(key, jpeg, "image/jpeg")
        self.source.stored(key)

    def want_for(self, seconds: float) -> None:
        """Turns of half a second."""
        for _ in range(int(seconds / 0.5)):
            self.now_s += 0.5
            self.source.want([GARDEN])


def test_a_camera_is_asked_for_the_next_still_when_the_last_has_come_and_not_more_often_than_every_two_seconds():
    stills = Stills()
    stills.source.want([GARDEN])
    assert [(thing, each["name"], each["context"]["file_name"]) for thing, each in stills.commands.sent] == [
        (GARDEN, "capture_image", "thumbnail_latest.jpg")
    ]
    stills.arrive(b"one")
    stills.want_for(EVERY_S - 0.5)
    assert stills.asked() == 1
    stills.want_for(0.5)
    assert stills.asked() == 2
    stills.arrive(b"two")
    assert stills.shown == [(GARDEN, b"one"), (GARDEN, b"two")]


def test_a_camera_that_does_not_answer_is_asked_again_after_a_while():
    stills = Stills()
    stills.source.want([GARDEN])
    stills.want_for(PATIENCE_S - 0.5)
    assert stills.asked() == 1
    stills.want_for(0.5)
    assert stills.asked() == 2


def test_a_camera_that_is_away_is_asked_nothing_and_its_last_still_is_shown():
    stills = Stills()
    stills.media.store("capture_images/garden/thumbnail_latest.jpg", b"old", "image/jpeg")
    stills.connected = False
    stills.source.want([GARDEN])
    stills.want_for(30)
    assert (stills.asked(), stills.shown) == (0, [(GARDEN, b"old")])
    stills.connected = True
    stills.want_for(0.5)
    assert stills.asked() == 1


def test_what_nobody_watches_is_neither_asked_nor_read():
    stills = Stills()
    stills.source.want([GARDEN])
    stills.source.want([])
    stills.arrive(b"late")
    stills.arrive(b"other", "still.jpg")
    assert (stills.asked(), stills.shown) == (1, [])


def test_only_the_still_that_was_asked_for_is_shown():
    stills = Stills()
    stills.source.want([GARDEN])
    stills.arrive(b"another", "event.jpg")
    assert stills.shown == []


def test_a_broker_that_is_away_and_a_picture_that_is_gone_end_nothing(monkeypatch: pytest.MonkeyPatch):
    stills = Stills()

    def unavailable(*_: object, **__: object) -> None:
        raise Unavailable("the broker is away")

    with monkeypatch.context() as broken:
        broken.setattr(stills.commands, "send", unavailable)
        stills.source.want([GARDEN])
    stills.source.stored("capture_images/garden/thumbnail_latest.jpg")
    monkeypatch.setattr(stills.media, "describe", unavailable)
    stills.arrive(b"one")
    assert stills.shown == []
    monkeypatch.undo()
    stills.arrive(b"two")
    assert stills.shown == [(GARDEN, b"two")]
