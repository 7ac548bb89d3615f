"""Cameras in an `<img>` of another page: JPEG after JPEG over HTTP, for as long as somebody watches and may watch.

A source is asked for the pictures of those cameras that somebody watches, and of no others. Every viewer gets the
newest picture when the one before is out of the way: who is slow misses pictures, and nobody waits for anybody.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pinthesky.errors import Throttled
from pinthesky.machine.permanent_thread import Crash, PermanentThread
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.routing import MOTION_JPEG, MOTION_JPEG_BOUNDARY

logger = logging.getLogger(__name__)

VIEWERS_MAX, VIEWERS_OF_CAMERA_MAX = 32, 8
RETRY_AFTER_S = 30
TURN_S = 0.5
"""How often the source is told who is watched."""
WELCOME_S = 2.0
"""How often it is looked whether a viewer still may watch."""
IDLE_S = 5.0
REPEAT_S = 10.0
"""After so long without a new picture the last one is sent again: proxies end what is silent for a minute."""
NOTHING_S = 60.0
"""A stream of a camera of which there is no picture at all ends."""
SEND_TIMEOUT_S = 30.0
"""A viewer that takes nothing for so long is left."""
_EDGE = f"--{MOTION_JPEG_BOUNDARY}\r\n".encode()


class Picture(NamedTuple):
    """A JPEG, and when it was taken or stored: epoch seconds."""

    jpeg: bytes
    at_s: float


class PictureSource(Protocol):
    """Where pictures come from: stills that cameras are asked for, or the frames of their live view."""

    def want(self, things: Collection[ThingName]) -> None:
        """Have pictures of these cameras, and of no others, come to `PictureStreams.show`.

        Called every TURN_S, in one thread, with nothing when nobody watches. Returns soon, raises nothing.
        """
        ...


class Viewer:
    """One open stream. `news` belongs to the event loop that it was made in."""

    def __init__(self, thing: ThingName, is_welcome: Callable[[], bool]) -> None:
        self.thing = thing
        self.is_welcome = is_welcome
        self.looked_s = time.monotonic()
        self.news = asyncio.Event()
        self.is_here = True
        self._loop = asyncio.get_running_loop()
        self._newest: Picture | None = None

    def show(self, picture: Picture) -> None:
        """Have a picture sent next, in the place of any that still waits."""
        self._newest = picture
        self._wake()

    def end(self) -> None:
        """Have the stream ended."""
        self.is_here = False
        self._wake()

    def take(self) -> Picture | None:
        """What is to be sent next."""
        picture, self._newest = self._newest, None
        return picture

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the web server has ended
            self._loop.call_soon_threadsafe(self.news.set)


class PictureStreams(PermanentThread):
    """Who watches which camera. `enter` and `leave` are for the event loop, the rest for any thread."""

    def __init__(self, on_crash: Crash) -> None:
        super().__init__("picture-streams", on_crash)
        self._source: PictureSource | None = None
        self._lock = threading.Lock()
        self._viewers: list[Viewer] = []
        self._last: dict[ThingName, Picture] = {}
        self._has_left = False
        self._news = threading.Event()

    def __len__(self) -> int:
        return len(self._viewers)

    def take_from(self, source: PictureSource) -> None:
        """Where pictures come from; before the start."""
        self._source = source

    def enter(self, thing: ThingName, is_welcome: Callable[[], bool]) -> Viewer:
        """Begin to watch. `is_welcome` is asked now and then, in this thread. Raises Throttled: too many do."""
        with self._lock:
            of_camera = Counter(each.thing for each in self._viewers)[thing]
            if len(self._viewers) >= VIEWERS_MAX or of_camera >= VIEWERS_OF_CAMERA_MAX:
                raise Throttled("too many watch already", RETRY_AFTER_S)
            viewer = Viewer(thing, is_welcome)
            self._viewers.append(viewer)
            last, has_left = self._last.get(thing), self._has_left
        if last is not None:
            viewer.show(last)
        if has_left:
            viewer.end()
        self._news.set()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Watch no longer."""
        with self._lock:
            self._viewers.remove(viewer)
            self._last = {thing: last for thing, last in self._last.items() if thing in self._watched()}
        self._news.set()

    def show(self, thing: ThingName, picture: Picture) -> None:
        """There is a new picture of a camera."""
        with self._lock:
            viewers = [each for each in self._viewers if each.thing == thing]
            if viewers:
                self._last[thing] = picture
        for viewer in viewers:
            viewer.show(picture)

    def wake(self) -> None:
        """See PermanentThread."""
        self._news.set()

    def step(self) -> None:
        """See PermanentThread."""
        self._news.clear()
        now_s = time.monotonic()
        with self._lock:
            viewers = list(self._viewers)
        for viewer in viewers:
            if now_s - viewer.looked_s >= WELCOME_S:
                viewer.looked_s = now_s
                if not viewer.is_welcome():
                    viewer.end()
        if self._source is not None:
            with self._lock:
                watched = self._watched()
            self._source.want(watched)
        if not self.stopping:
            self._news.wait(TURN_S if viewers else IDLE_S)

    def left(self) -> None:
        """See PermanentThread. Nobody watches any more."""
        with self._lock:
            self._has_left = True
            viewers = list(self._viewers)
        for viewer in viewers:
            viewer.end()

    def _watched(self) -> frozenset[ThingName]:
        return frozenset(each.thing for each in self._viewers if each.is_here)


class PictureStream(Response):
    """The answer to one viewer."""

    def __init__(
        self,
        streams: PictureStreams,
        thing: ThingName,
        *,
        is_welcome: Callable[[], bool],
        too_many: Callable[[Throttled], Response],
    ) -> None:
        headers = {
            "Cache-Control": "no-store",
            # Whoever has the token may show it, on whatever page.
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        super().__init__(headers=headers, media_type=MOTION_JPEG)
        del self.headers["content-length"]
        self._streams = streams
        self._thing = thing
        self._is_welcome = is_welcome
        self._too_many = too_many

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            viewer = self._streams.enter(self._thing, self._is_welcome)
        except Throttled as error:
            await self._too_many(error)(scope, receive, send)
            return
        leaving = asyncio.create_task(_leave(receive, viewer))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await _show_all(viewer, send)
            await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), SEND_TIMEOUT_S)
        except TimeoutError:
            # What it has not taken would otherwise wait for it for as long as it keeps the connection.
            scope["extensions"]["abort"]["now"]()
        finally:
            leaving.cancel()
            self._streams.leave(viewer)


async def _leave(receive: Receive, viewer: Viewer) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    viewer.end()


async def _show_all(viewer: Viewer, send: Send) -> None:
    """Send what there is until the end. Raises TimeoutError for a viewer that takes nothing."""
    last: Picture | None = None
    began_s = time.monotonic()
    edge = _EDGE
    while viewer.is_here:
        with suppress(TimeoutError):
            await asyncio.wait_for(viewer.news.wait(), REPEAT_S)
        viewer.news.clear()
        last = viewer.take() or last
        if last is None and time.monotonic() - began_s > NOTHING_S:
            return
        if last is not None and viewer.is_here:
            # With the edge of the next part, since some browsers show a picture only when they have seen it end.
            part = edge + _head(last) + last.jpeg + b"\r\n" + _EDGE
            edge = b""
            await asyncio.wait_for(
                send({"type": "http.response.body", "body": part, "more_body": True}), SEND_TIMEOUT_S
            )


def _head(picture: Picture) -> bytes:
    lines = ["Content-Type: image/jpeg", f"Content-Length: {len(picture.jpeg)}", f"X-Timestamp: {picture.at_s:.3f}"]
    return "\r\n".join([*lines, "", ""]).encode()
