"""A camera that plays the frames it was given, in a thread of its own: for tests of what stands behind the port.

Tests that take a camera step by step on their own clock have another, which knows no thread (`SteppedCamera` in
tests/support/stepped_camera.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Callable, Optional

from pinthesky.device.cameras.fixed_picture import refuse_picture_settings
from pinthesky.device.ports import (
    DEFAULT_PICTURE,
    Camera,
    CameraDescription,
    CameraLost,
    FootageEnded,
    Frame,
    Labels,
    LumaFrame,
    Packet,
    Sink,
)
from pinthesky.errors import InvariantBroken, PinTheSkyError, Unavailable

if TYPE_CHECKING:
    from pinthesky.model.settings import CameraSettings, PictureSettings, Polygon

logger = logging.getLogger(__name__)

_US = 1_000_000
_TIMED = (Packet, LumaFrame, Labels)


class ScriptedCamera(Camera):
    """Hands over `frames` at their own pace, then says FootageEnded. Needs no PyAV and spends no time on encoding.

    Without frames it is driven by hand: `emit` hands a frame over in the caller's thread. Faults: `refusals` are
    raised by the next calls of `open`, one each; `lose` and `stall` at any time; while `hanging`, `close` gives up.
    What was asked of it is counted in `opened` (the settings, call by call) and `keyframes_requested`.
    """

    def __init__(
        self,
        description: CameraDescription,
        frames: Sequence[Frame] = (),
        *,
        speed: float = 1.0,
        jpeg: bytes = b"\xff\xd8\xff\xd9",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`frames` are in order; `rotation_left` of the description follows the settings."""
        self.refusals: list[PinTheSkyError] = []
        self.opened: list[tuple[CameraSettings, tuple[Polygon, ...]]] = []
        self.keyframes_requested = 0
        self.hanging = threading.Event()
        self._description = description
        self._frames = tuple(frames)
        self._speed = speed
        self._jpeg = jpeg
        self._monotonic = monotonic
        self._is_open = False
        self._sink: Optional[Sink] = None
        self._player: Optional[threading.Thread] = None
        self._stop = threading.Event()
        self._stalled = threading.Event()

    def open(
        self,
        settings: CameraSettings,
        privacy_masks: Sequence[Polygon],
        *,
        picture: PictureSettings = DEFAULT_PICTURE,
    ) -> CameraDescription:
        """See `Camera.open`."""
        if self._is_open:
            raise InvariantBroken("the camera is open already")
        refuse_picture_settings(picture, "the scripted camera")
        if self.refusals:
            raise self.refusals.pop(0)
        self.opened.append((settings, tuple(privacy_masks)))
        self._is_open = True
        self._stop.clear()
        self._stalled.clear()
        return self._description._replace(rotation_left=settings.rotation)

    def start(self, sink: Sink) -> None:
        """See `Camera.start`."""
        if not self._is_open or self._sink is not None:
            raise InvariantBroken("the camera is not open, or has been started")
        self._sink = sink
        if self._frames:
            self._player = threading.Thread(target=self._run, args=(sink,), name="camera-scripted", daemon=True)
            self._player.start()

    def still(self, timeout_s: float) -> bytes:
        """See `Camera.still`: the JPEG it was given."""
        if self._sink is None or self._stalled.is_set():
            self._stop.wait(timeout_s if self._is_open else 0.0)
            raise Unavailable("the camera gives no pictures at the moment")
        return self._jpeg

    def request_keyframe(self) -> bool:
        """See `Camera.request_keyframe`: False, the frames are what they are."""
        self.keyframes_requested += 1
        return False

    def close(self, timeout_s: float) -> bool:
        """See `Camera.close`."""
        self._stop.set()
        if self.hanging.is_set():
            return False
        if self._player is not None:
            self._player.join(timeout_s)
            if self._player.is_alive():
                return False
        self._player = self._sink = None
        self._is_open = False
        return True

    def emit(self, frame: Frame) -> None:
        """Hand over one frame now. Raises InvariantBroken unless the camera has been started."""
        if self._sink is None:
            raise InvariantBroken("the camera has not been started")
        self._sink(frame)

    def lose(self, reason: str = "the cable was pulled") -> None:
        """Lose the camera."""
        self._stalled.set()
        self.emit(CameraLost(reason))

    def stall(self) -> None:
        """Give nothing more until the camera is opened anew."""
        self._stalled.set()

    def _run(self, sink: Sink) -> None:
        try:
            self._play(sink)
        except Exception as error:
            logger.exception("the scripted camera failed")
            sink(CameraLost(f"the scripted camera failed: {type(error).__name__}"))

    def _play(self, sink: Sink) -> None:
        timed = [frame for frame in self._frames if isinstance(frame, _TIMED)]
        first_us = timed[0].timestamp_us if timed else 0
        began_s = self._monotonic()
        for frame in self._frames:
            if isinstance(frame, _TIMED):
                due_s = began_s + (frame.timestamp_us - first_us) / _US / self._speed
                if self._stop.wait(max(0.0, due_s - self._monotonic())):
                    return
            if self._stalled.is_set():
                return
            sink(frame)
        sink(FootageEnded())
