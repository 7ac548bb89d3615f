"""Frames and requests on their way to the camera thread: one queue, bounded, wakeable."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import Any, Callable, NamedTuple, Optional, Union

from pinthesky.device.ports import CameraLost, Frame, Labels, LumaFrame, MotionVectors, Packet, Sink

WAITING_BYTES_MAX = 64 * 1024 * 1024
"""Packets that may wait while the disk is slow: half a minute at the highest bitrate."""
WAITING_SCENES_MAX = 4
_SCENES = (LumaFrame, MotionVectors, Labels)
_PACKET_OVERHEAD = 256
"""Bytes that a waiting packet costs beside its data."""


class Arrived(NamedTuple):
    """A frame and the monotonic second at which the adapter handed it over."""

    frame: Frame
    at_s: float


class Request(NamedTuple):
    """Work that another thread wants done by the owner of the camera."""

    work: Callable[[], Any]
    future: Future[Any]
    picture_by_s: Optional[float] = None
    """Monotonic second until which it waits for the camera's first picture; None where it needs none."""

    def refuse(self, error: Exception) -> None:
        """Fail it, unless whoever asked has given it up."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class CameraInbox:
    """Takes frames from any thread without blocking; drops no packet silently.

    Scenes (luma, motion vectors, labels) beyond four are dropped oldest first: who judges them lives with gaps. Packets
    beyond the bound mean that the recorder cannot keep up: all that waits is dropped and one CameraLost takes its
    place.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._items: deque[Union[Arrived, Request]] = deque()
        self._ready = threading.Condition(threading.Lock())
        self._packet_bytes = 0
        self._scenes = 0
        self._woken = False
        self._session = 0
        self._overflowed = False
        self._refusal: Optional[Exception] = None
        self.packet_arrived_s: Optional[float] = None
        """Monotonic second at which this session's last packet was handed over, served yet or not."""

    def new_sink(self) -> Sink:
        """The sink for a camera that is being started. It takes frames until `forget_frames`."""
        with self._ready:
            session = self._session

        def sink(frame: Frame) -> None:
            self._put(session, frame)

        return sink

    def _put(self, session: int, frame: Frame) -> None:
        arrived = Arrived(frame, self._monotonic())
        with self._ready:
            if session != self._session or self._overflowed:
                return
            if isinstance(frame, Packet):
                self.packet_arrived_s = arrived.at_s
                self._packet_bytes += _cost(frame)
                if self._packet_bytes > WAITING_BYTES_MAX:
                    self._drop_frames()
                    self._overflowed = True
                    arrived = Arrived(CameraLost("the disk is too slow for the recording"), arrived.at_s)
            elif isinstance(frame, _SCENES):
                if self._scenes >= WAITING_SCENES_MAX:
                    self._drop_oldest_scene()
                self._scenes += 1
            self._items.append(arrived)
            self._ready.notify()

    def request(self, work: Callable[[], Any], picture_by_s: Optional[float] = None) -> Future[Any]:
        """Have `work` done by the camera thread. The future fails at once when that serves no more."""
        future: Future[Any] = Future()
        with self._ready:
            refusal = self._refusal
            if refusal is None:
                self._items.append(Request(work, future, picture_by_s))
                self._ready.notify()
        if refusal is not None:
            future.set_exception(refusal)
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
                    self._packet_bytes -= _cost(item.frame)
                elif isinstance(item.frame, _SCENES):
                    self._scenes -= 1
            return item

    def wake(self) -> None:
        """Make a waiting `get` return."""
        with self._ready:
            self._woken = True
            self._ready.notify()

    def forget_frames(self) -> None:
        """Drop the frames that wait and those that the sinks made so far still bring; requests stay."""
        with self._ready:
            self._drop_frames()
            self._session += 1
            self._overflowed = False
            self.packet_arrived_s = None

    def take_packets(self) -> list[tuple[Packet, float]]:
        """Hand over the packets that wait, with their arrival, and drop the other frames."""
        with self._ready:
            packets = [
                (item.frame, item.at_s)
                for item in self._items
                if isinstance(item, Arrived) and isinstance(item.frame, Packet)
            ]
            self._drop_frames()
            return packets

    def refuse_requests(self, error: Exception) -> None:
        """Fail the requests that wait, and all that come from now on."""
        with self._ready:
            self._refusal = error
            requests = [item for item in self._items if isinstance(item, Request)]
            self._items = deque(item for item in self._items if isinstance(item, Arrived))
        for request in requests:
            request.refuse(error)

    def _drop_frames(self) -> None:
        self._items = deque(item for item in self._items if isinstance(item, Request))
        self._packet_bytes = self._scenes = 0

    def _drop_oldest_scene(self) -> None:
        for index, item in enumerate(self._items):
            if isinstance(item, Arrived) and isinstance(item.frame, _SCENES):
                del self._items[index]
                self._scenes -= 1
                return


def _cost(packet: Packet) -> int:
    return len(packet.data) + _PACKET_OVERHEAD
