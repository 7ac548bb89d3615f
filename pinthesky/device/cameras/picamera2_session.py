"""What becomes of each picture of a running picamera2 camera, in that library's own threads.

An exception that leaves a callback there kills the library's thread: no more pictures, and calls that hang for ever. So
nothing leaves one here. The first error ends the session with CameraLost, and nothing is handed over after it: a
picture whose privacy masks could not be burned in goes nowhere.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

from pinthesky.device.cameras import annex_b
from pinthesky.device.cameras.still_on_demand import StillOnDemand
from pinthesky.device.cameras.timeline import LumaRate
from pinthesky.device.cameras.yuv420 import Layout, LumaTap, Planes, PrivacyBurner
from pinthesky.device.ports import CameraLost, Frame, LumaFrame, Packet, Sink

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_SLICE, _SLICE_OF_IDR = 1, 5


class StreamView(NamedTuple):
    """One stream of the camera: its memory's layout, and what burns its privacy masks in."""

    layout: Layout
    masks: Optional[PrivacyBurner]

    def of(self, buffer: NDArray[Any]) -> Planes:
        """The picture in `buffer`, masked in place."""
        planes = self.layout.planes(buffer)
        if self.masks is not None:
            self.masks.burn(planes)
        return planes


class Session:
    """From `start` to `close`. Called from the library's threads; holds none of them up, and raises nothing.

    `mapped` gives the memory of a stream ("main", "lores") of one of the library's requests, writable, as a context
    manager; `timestamp_us` the sensor's time of a request.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        main: StreamView,
        lores: StreamView,
        luma: LumaTap,
        mapped: Callable[[Any, str], Any],
        timestamp_us: Callable[[Any], int],
    ) -> None:
        self.stills: StillOnDemand[Planes] = StillOnDemand()
        self._sink = sink
        self._main = main
        self._lores = lores
        self._luma = luma
        self._luma_rate = LumaRate()
        self._mapped = mapped
        self._timestamp_us = timestamp_us
        self._handing_over = threading.Lock()
        self._ended = False
        self._parameter_sets = b""
        self._begun = False

    def picture_taken(self, request: Any) -> None:
        """For every picture, before it is encoded."""
        if self._ended:
            return
        try:
            # Mapping a buffer empties the processor's caches of it, so it is done when there is a reason only.
            if self._main.masks is not None or self.stills.wanted:
                with self._mapped(request, "main") as mapped:
                    self.stills.offer(self._main.of(mapped.array).copy)
            timestamp_us = self._timestamp_us(request)
            is_due = self._luma_rate.takes(timestamp_us)
            if self._lores.masks is not None or is_due:
                with self._mapped(request, "lores") as mapped:
                    small = self._lores.of(mapped.array)
                    luma = self._luma.luma(small) if is_due else None
                if luma is not None:
                    self._hand_over(LumaFrame(luma, timestamp_us))
        except Exception as error:
            logger.exception("a picture could not be looked at")
            self.lose(f"its pictures cannot be taken over: {type(error).__name__}")

    def picture_encoded(self, data: bytes, timestamp_us: int) -> None:
        """For every access unit, in Annex B form, `timestamp_us` of the sensor's clock.

        Nothing is handed over before the first keyframe, and every keyframe has its parameter sets.
        """
        if self._ended:
            return
        try:
            kinds = annex_b.nal_types(data)
            if not kinds & {_SLICE, _SLICE_OF_IDR}:
                self._parameter_sets = annex_b.parameter_sets_of(data) or self._parameter_sets
                return
            is_keyframe = _SLICE_OF_IDR in kinds
            if is_keyframe:
                self._parameter_sets = annex_b.parameter_sets_of(data) or self._parameter_sets
                data = annex_b.with_parameter_sets(data, self._parameter_sets)
                self._begun = self._begun or annex_b.stands_alone(data)
            if self._begun:
                self._hand_over(Packet(data, timestamp_us, is_keyframe))
        except Exception as error:
            logger.exception("a packet could not be handed over")
            self.lose(f"its packets cannot be taken over: {type(error).__name__}")

    def lose(self, reason: str) -> None:
        """Tell once that the camera must be opened anew; nothing is handed over after this."""
        with self._handing_over:
            if self._ended:
                return
            self._ended = True
            self.stills.end(reason)
            try:
                self._sink(CameraLost(reason))
            except Exception:
                logger.exception("the loss of the camera could not be told: %s", reason)

    def end(self) -> None:
        """Nothing is handed over after this."""
        self.stills.end("the camera is closed")
        with self._handing_over:
            self._ended = True

    def _hand_over(self, frame: Frame) -> None:
        with self._handing_over:
            if not self._ended:
                self._sink(frame)
