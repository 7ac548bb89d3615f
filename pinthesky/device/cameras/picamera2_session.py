"""What becomes of each picture of a running picamera2 camera, in that library's own threads.

An exception that leaves a callback there kills the library's thread: no more pictures, and calls that hang for ever. So
nothing leaves one here. The first error ends the session with CameraLost, and nothing is handed over after it: a
picture whose privacy masks could not be burned in goes nowhere.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

from pinthesky.device.cameras.delivery import Delivery, PacketFeed
from pinthesky.device.cameras.detections import Detections
from pinthesky.device.cameras.still_on_demand import StillOnDemand
from pinthesky.device.cameras.timeline import LumaRate
from pinthesky.device.cameras.yuv420 import Layout, LumaTap, Planes, PrivacyBurner
from pinthesky.device.ports import CameraLost, Labels, LumaFrame, Packet, Sink
from pinthesky.errors import Unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


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
        detections: Optional[Detections] = None,
    ) -> None:
        self.stills: StillOnDemand[Planes] = StillOnDemand()
        self._main = main
        self._lores = lores
        self._luma = luma
        self._luma_rate = LumaRate()
        self._mapped = mapped
        self._timestamp_us = timestamp_us
        self._delivery = Delivery(sink, CameraLost)
        self._feed = PacketFeed(self._packet, self.lose)
        self._detections = detections
        self._labels: Optional[Labels] = None
        self._substream: Optional[Delivery] = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is handed over."""
        return self._delivery.ended

    def picture_taken(self, request: Any) -> None:
        """For every picture, before it is encoded."""
        if self.ended:
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
                    self._delivery.hand_over(LumaFrame(luma, timestamp_us))
            if self._detections is not None:
                self._labels = self._detections.look(request, timestamp_us) or self._labels
        except Exception as error:
            logger.exception("a picture could not be looked at")
            self.lose(f"its pictures cannot be taken over: {type(error).__name__}")

    def picture_encoded(self, data: bytes, timestamp_us: int) -> None:
        """For every access unit of the recording; see `PacketFeed`."""
        if not self.ended:
            self._feed.take(data, timestamp_us)

    def attach(self, substream: Delivery) -> None:
        """Have `substream` end with this session: what could not be masked must not leave by it either.

        Raises Unavailable when the session has ended.
        """
        self._substream = substream
        if self.ended:
            raise Unavailable("the camera is lost")

    def lose(self, reason: str) -> None:
        """Tell once that the camera must be opened anew; nothing is handed over after this."""
        self.stills.end(reason)
        self._delivery.lose(reason)
        if self._substream is not None:
            self._substream.lose(reason)

    def end(self) -> None:
        """Nothing is handed over after this."""
        self.stills.end("the camera is closed")
        self._delivery.end()

    def _packet(self, packet: Packet) -> None:
        self._delivery.hand_over(packet)
        labels = self._labels
        if labels is not None and packet.timestamp_us >= labels.timestamp_us:
            self._labels = None
            self._delivery.hand_over(labels)
