"""A camera that does what a test says, when it says so: frames, faults, refusals, hangs.

`ScriptedCamera`, which is shipped, plays frames that exist already, in a thread and a time of its own, as an adapter
does. This one has neither: it makes each frame at the moment a test asks for it, on the test's clock, so that a camera
thread can be taken through hours step by step. One class for both would be two behind one name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from pinthesky.device.fakes import FakeClock
from pinthesky.device.ports import (
    DEFAULT_PICTURE,
    Camera,
    CameraDescription,
    CameraLost,
    FootageEnded,
    Frame,
    Label,
    Labels,
    LumaFrame,
    MotionVectors,
    Packet,
    Sink,
)
from pinthesky.errors import InvariantBroken, PinTheSkyError
from pinthesky.model.settings import CameraSettings, PictureSettings, Polygon
from tests.support.packets import plain_packet

VECTORS = np.dtype([("x", "i1"), ("y", "i1"), ("sad", "u2")])


class Opening(NamedTuple):
    """What the camera was opened with."""

    settings: CameraSettings
    privacy_masks: list[Polygon]
    picture: PictureSettings


class SteppedCamera(Camera):
    """Behaves as the `Camera` port says. Its clock runs with `clock`, from `clock_starts_us` on at every start.

    Motion is told by vectors unless `luma_size` is given. A keyframe comes every `gop` pictures, and at the next
    picture when one is asked for and `obeys` is true.
    """

    def __init__(
        self,
        clock: FakeClock,
        *,
        gop: int = 10,
        fps: int = 20,
        obeys: bool = True,
        luma_size: Optional[tuple[int, int]] = None,
        clock_starts_us: int = 5_000_000,
        picture_bytes: int = 40,
    ) -> None:
        self.calls: list[str] = []
        self.openings: list[Opening] = []
        self.refusals: deque[Optional[PinTheSkyError]] = deque()
        """What the next openings fail with, one each and in order; None lets one through."""
        self.standing_refusal: Optional[PinTheSkyError] = None
        """What every opening fails with that `refusals` says nothing of."""
        self.refusal_at_start: Optional[PinTheSkyError] = None
        self.hangs_at_close = False
        self.obeys = obeys
        self.still_jpeg = b"\xff\xd8 a still \xff\xd9"
        self.still_failure: Optional[PinTheSkyError] = None
        self.sent: list[Packet] = []
        """Every packet that was handed to a sink, over all openings."""
        self.sink: Optional[Sink] = None
        self.number = 0
        self._clock = clock
        self._gop, self.fps = gop, fps
        self._luma_size = luma_size
        self._clock_starts_us = clock_starts_us
        self._picture_bytes = picture_bytes
        self._started_s = 0.0
        self._since_keyframe = 0
        self._wants_keyframe = True
        self._is_open = False

    # The port

    def open(
        self,
        settings: CameraSettings,
        privacy_masks: Sequence[Polygon],
        *,
        picture: PictureSettings = DEFAULT_PICTURE,
    ) -> CameraDescription:
        """As the port says, unless a refusal was asked for."""
        self.calls.append("open")
        refusal = self.refusals.popleft() if self.refusals else self.standing_refusal
        if refusal is not None:
            raise refusal
        if self._is_open:
            raise InvariantBroken("the camera is open already")
        self._is_open = True
        self.openings.append(Opening(settings, list(privacy_masks), picture))
        width, height = settings.size
        return CameraDescription("stepped", width, height, self.fps, settings.rotation, self._luma_size, True)

    def start(self, sink: Sink) -> None:
        """As the port says. Frames come when the test asks for them."""
        self.calls.append("start")
        if self.refusal_at_start is not None:
            raise self.refusal_at_start
        self.sink = sink
        self._started_s = self._clock.monotonic()
        self._wants_keyframe = True

    def still(self, timeout_s: float) -> bytes:
        """`still_jpeg`, or `still_failure`."""
        self.calls.append("still")
        if self.still_failure is not None:
            raise self.still_failure
        return self.still_jpeg

    def request_keyframe(self) -> bool:
        """The next picture is a keyframe, if the camera obeys."""
        self.calls.append("keyframe")
        self._wants_keyframe = self._wants_keyframe or self.obeys
        return self.obeys

    def close(self, timeout_s: float) -> bool:
        """As the port says; the sink is kept, so that a test can hand late frames to it."""
        self.calls.append("close")
        self._is_open = False
        return not self.hangs_at_close

    # The script

    @property
    def is_open(self) -> bool:
        """Whether somebody has the camera."""
        return self._is_open

    @property
    def now_us(self) -> int:
        """What the camera's clock shows."""
        return self._clock_starts_us + round((self._clock.monotonic() - self._started_s) * 1_000_000)

    def deliver(self, frame: Frame) -> None:
        """Hand a frame to whoever started the camera last."""
        assert self.sink is not None
        self.sink(frame)

    def picture(self) -> Packet:
        """Deliver the next packet, taken now. `packets` numbers run on over all openings."""
        is_keyframe = self._wants_keyframe or self._since_keyframe >= self._gop - 1
        self._since_keyframe = 0 if is_keyframe else self._since_keyframe + 1
        self._wants_keyframe = False
        data = plain_packet(self.number, gop=1 if is_keyframe else self.number + 1, size=self._picture_bytes).data
        self.number += 1
        packet = Packet(data, self.now_us, is_keyframe)
        self.sent.append(packet)
        self.deliver(packet)
        return packet

    def motion(self, moving: Any = True) -> None:
        """Deliver motion vectors of now: all macroblocks move, or none, or those of a (30, 40) array of bool."""
        vectors: Any = np.zeros((30, 41), VECTORS)
        vectors["x"][:, :-1] = 100 * np.asarray(moving)
        self.deliver(MotionVectors(vectors, self.now_us))

    def luma(self, picture: Any) -> None:
        """Deliver a luma frame of now."""
        self.deliver(LumaFrame(picture, self.now_us))

    def labels(self, *found: tuple[str, float]) -> None:
        """Deliver what was recognised now, by name and confidence."""
        box = (0.1, 0.1, 0.4, 0.9)
        self.deliver(Labels(tuple(Label(name, sure, box) for name, sure in found), self.now_us))

    def lose(self, reason: str = "unplugged") -> None:
        """Break down."""
        self.deliver(CameraLost(reason))

    def end(self) -> None:
        """Come to the end of the footage."""
        self.deliver(FootageEnded())
