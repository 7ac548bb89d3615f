"""What the legacy firmware's encoder writes, buffer by buffer, put together to pictures and their motion vectors.

Observed order of the buffers (raspberrypi/userland issues 174, 210 and 609): SPS and PPS, each or both in buffers of
their own that carry no time; the picture in one or more buffers, of which the last ends the frame; its motion vectors.
"""

from __future__ import annotations

import logging
import threading
from typing import Callable, NamedTuple, Optional

import numpy as np

from pinthesky.device.cameras import annex_b
from pinthesky.device.cameras.timeline import Timeline
from pinthesky.device.ports import CameraLost, Frame, MotionVectors, Packet, Sink
from pinthesky.errors import InvariantBroken, PinTheSkyError

logger = logging.getLogger(__name__)

VECTOR = np.dtype([("x", "i1"), ("y", "i1"), ("sad", "<u2")])
"""One macroblock as the firmware writes it, 4 bytes."""
UNIT_BYTES_MAX = 8 * 1024 * 1024
"""A picture of 1080p in raw YUV is 3 MB: an encoded one beyond this never ends."""
_SLICES = frozenset((1, 5))
_US = 1_000_000


class WrittenFrame(NamedTuple):
    """What is read of picamera's PiVideoFrame."""

    timestamp: Optional[int]
    """Microseconds; None where the firmware gives none."""
    complete: bool
    """Whether the buffer ends the frame."""


class Writable:
    """An output as picamera takes it: an object with `write`. It has no `flush`, and picamera needs none."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def write(self, data: bytes) -> None:
        """Take one buffer, whole. Called in the firmware's callback thread; never raises."""
        self._write(data)


class EncoderOutput:
    """Hands packets and motion vectors to the sink, from the first keyframe on, until `end` or the first loss.

    An exception that left `write` would end the recording and say so to nobody: everything is caught, and told as a
    loss. The firmware writes from one thread; `lose` and `end` may be called from any.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        frame: Callable[[], WrittenFrame],
        vector_shape: tuple[int, int],
        framerate: float,
        monotonic: Callable[[], float],
    ) -> None:
        """`frame` describes the buffer being written, or raises Unavailable; `vector_shape` is (rows, columns)."""
        self.pictures = Writable(self._guarded(self._take_picture_bytes))
        self.vectors = Writable(self._guarded(self._take_vector_bytes))
        self._sink = sink
        self._frame = frame
        self._vector_shape = vector_shape
        self._timeline = Timeline(max(1, round(_US / framerate)))
        self._monotonic = monotonic
        self._handing_over = threading.Lock()
        self._over: Optional[str] = None
        self._picture = bytearray()
        self._source_us: Optional[int] = None
        self._headers = b""
        self._parameter_sets = b""
        self._vector_bytes = bytearray()
        self._last_is_keyframe = True

    @property
    def over(self) -> Optional[str]:
        """Why nothing more is handed over; None while it is."""
        return self._over

    def end(self) -> None:
        """Hand over nothing more. Nothing is being handed over when this returns."""
        with self._handing_over:
            self._over = self._over or "the camera is closed"

    def lose(self, reason: str) -> None:
        """Tell the loss, once."""
        with self._handing_over:
            if self._over is None:
                self._over = reason
                self._sink(CameraLost(reason))

    def _guarded(self, take: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def write(data: bytes) -> None:
            if self._over is not None:
                return
            try:
                take(data)
            except PinTheSkyError as error:
                self.lose(str(error))
            except Exception as error:
                logger.exception("the legacy camera's frames cannot be taken")
                self.lose(f"the camera's frames cannot be taken: {type(error).__name__}")

        return write

    def _take_picture_bytes(self, data: bytes) -> None:
        frame = self._frame()
        self._picture += data
        if len(self._headers) + len(self._picture) > UNIT_BYTES_MAX:
            raise InvariantBroken(f"a picture of more than {UNIT_BYTES_MAX} bytes has no end")
        if frame.timestamp is not None:
            self._source_us = frame.timestamp
        if frame.complete:
            unit, source_us = bytes(self._picture), self._source_us
            self._picture.clear()
            self._source_us = None
            self._take_unit(unit, source_us)

    def _take_unit(self, unit: bytes, source_us: Optional[int]) -> None:
        if not annex_b.nal_types(unit) & _SLICES:
            # Headers come ahead of their picture, with no time of their own.
            self._headers += unit
            return
        unit, self._headers = self._headers + unit, b""
        is_keyframe = annex_b.has_idr(unit)
        if is_keyframe:
            self._parameter_sets = annex_b.parameter_sets_of(unit) or self._parameter_sets
            unit = annex_b.with_parameter_sets(unit, self._parameter_sets)
            is_keyframe = annex_b.stands_alone(unit)
        if not is_keyframe and self._timeline.last_us is None:
            return
        timestamp_us = self._timeline.next(source_us, int(self._monotonic() * _US))
        self._last_is_keyframe = is_keyframe
        self._hand_over(Packet(unit, timestamp_us, is_keyframe))

    def _take_vector_bytes(self, data: bytes) -> None:
        self._vector_bytes += data
        if not self._frame().complete:
            return
        record = bytes(self._vector_bytes)
        self._vector_bytes.clear()
        rows, columns = self._vector_shape
        wanted = rows * columns * VECTOR.itemsize
        if len(record) != wanted:
            raise InvariantBroken(f"a picture's motion vectors are {len(record)} bytes, not {wanted}")
        timestamp_us = self._timeline.last_us
        # A keyframe is encoded without looking at the picture before it: its record says nothing.
        if timestamp_us is not None and not self._last_is_keyframe:
            vectors = np.frombuffer(record, VECTOR).reshape(rows, columns)
            self._hand_over(MotionVectors(vectors, timestamp_us))

    def _hand_over(self, frame: Frame) -> None:
        with self._handing_over:
            if self._over is None:
                self._sink(frame)
