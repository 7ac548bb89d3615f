"""Frames and requests on their way to the camera thread: one queue, bounded, wakeable."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import Any, Callable, NamedTuple, Optional, Union

from pinthesky.device.ports import CameraLost, Frame, LumaFrame, MotionVectors, Packet

WAITING_BYTES_MAX = 64 * 1024 * 1024
"""Packets that may wait while the disk is slow: half a minute at the highest bitrate."""
WAITING_SCENES_MAX = 4


class Arrived(NamedTuple):
    """A frame and the monotonic second at which the adapter handed it over."""

    frame: Frame
    at_s: float


class Request(NamedTuple):
    """Work that another thread wants done by the owner of the camera."""

    work: Callable[[], Any]
    future: Future[Any]


class CameraInbox:
    """Takes frames from any thread without blocking; drops no packet silently.

    Scenes (luma, motion vectors) beyond four are dropped oldest first: the detector lives with gaps. Packets beyond
    the bound mean that the recorder cannot keep up: all that waits is dropped and one CameraLost takes its place.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._items: deque[Union[Arrived, Request]] = deque()
        self._ready = threading.Condition(threading.Lock())
        self._packet_bytes = 0
        self._scenes = 0
        self._woken = False

    def put(self, frame: Frame) -> None:
        """The sink for a camera adapter."""
        arrived = Arrived(frame, self._monotonic())
        with self._ready:
            if isinstance(frame, Packet):
                self._packet_bytes += len(frame.data)
                if self._packet_bytes > WAITING_BYTES_MAX:
                    self._drop_frames()
                    arrived = Arrived(CameraLost("the disk is too slow for the recording"), arrived.at_s)
            elif isinstance(frame, (LumaFrame, MotionVectors)):
                if self._scenes >= WAITING_SCENES_MAX:
                    self._drop_oldest_scene()
                self._scenes += 1
            self._items.append(arrived)
            self._ready.notify()

    def request(self, work: Callable[[], Any]) -> Future[Any]:
        """Have `work` done by the camera thread."""
        future: Future[Any] = Future()
        with self._ready:
            self._items.append(Request(work, future))
            self._ready.notify()
        return future

    def get(self, timeout_s: float) -> Optional[Union[Arrived, Request]]:
        """The next in order, or None after the time-out or a wake."""
        with self._ready:
            if not self._items and not self._woken:
                self._ready.wait(max(0.0, timeout_s))
            self._woken = False
            if not self._items:
                return None
            item = self._items.popleft()
            if isinstance(item, Arrived):
                if isinstance(item.frame, Packet):
                    self._packet_bytes -= len(item.frame.data)
                elif isinstance(item.frame, (LumaFrame, MotionVectors)):
                    self._scenes -= 1
            return item

    def wake(self) -> None:
        """Make a waiting `get` return."""
        with self._ready:
            self._woken = True
            self._ready.notify()

    def forget_frames(self) -> None:
        """Drop the frames that wait (of a camera that was closed); requests stay."""
        with self._ready:
            self._drop_frames()

    def refuse_requests(self, error: Exception) -> None:
        """Fail all requests that wait."""
        with self._ready:
            requests = [item for item in self._items if isinstance(item, Request)]
            self._items.clear()
            self._packet_bytes = self._scenes = 0
        for request in requests:
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(error)

    def _drop_frames(self) -> None:
        self._items = deque(item for item in self._items if isinstance(item, Request))
        self._packet_bytes = self._scenes = 0

    def _drop_oldest_scene(self) -> None:
        for index, item in enumerate(self._items):
            if isinstance(item, Arrived) and isinstance(item.frame, (LumaFrame, MotionVectors)):
                del self._items[index]
                self._scenes -= 1
                return
