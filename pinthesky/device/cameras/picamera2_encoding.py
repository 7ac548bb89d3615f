"""Between picamera2's encoders and us: what takes their packets, and an encoder for where there is none in hardware."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Callable, Optional

from picamera2 import MappedArray
from picamera2.encoders import Encoder
from picamera2.encoders import H264Encoder as LibraryEncoder
from picamera2.outputs import Output

if TYPE_CHECKING:
    from pinthesky.device.cameras.h264_encoder import H264Encoder
    from pinthesky.device.cameras.yuv420 import Layout

logger = logging.getLogger(__name__)

IN_FLIGHT_MAX = 2
"""Of the camera's six buffers, those that a second encoder may hold."""
SKIPPED_MAX = 60
"""Pictures in a row for which the second encoder had no room: two seconds or more without a sign of life."""


class PacketOutput(Output):  # type: ignore[misc] # picamera2 has no types
    """Hands an encoder's packets to `deliver(data, timestamp_us)`, which must raise nothing.

    Frames come from the encoder's thread, which is the library's camera thread where libav encodes, and the last ones
    from whoever stops the encoder.
    """

    def __init__(self, encoder: Any, deliver: Callable[[bytes, int], None]) -> None:
        super().__init__()
        self._encoder = encoder
        self._deliver = deliver

    def outputframe(
        self,
        frame: Optional[bytes],
        keyframe: bool = True,  # noqa: ARG002 - read from the access unit itself
        timestamp: Optional[int] = None,
        *_more: object,
    ) -> None:
        """Take one access unit. `timestamp` is microseconds since the encoder's first picture.

        From 0.3.24 on a packet of PyAV and whether it is sound follow; sound has no `frame`.
        """
        first_us = self._encoder.firsttimestamp
        if frame is not None and timestamp is not None and first_us is not None:
            self._deliver(bytes(frame), first_us + timestamp)


class SecondHardwareEncoder(LibraryEncoder):  # type: ignore[misc] # picamera2 has no types
    """The hardware encoder for a second stream: it stands back where the library's would hold the camera up.

    That one waits for a free buffer without end, raises in the library's camera thread, and may keep all of the
    camera's buffers; any of it would cost the recording its pictures.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.on_failure: Callable[[str], None] = logger.error
        """Called once when encoding fails, with a reason for people."""
        self._has_failed = False
        self._skipped = 0

    def _encode(self, stream: Any, request: Any) -> None:
        if self._has_failed:
            return
        if self.buf_frame.qsize() >= IN_FLIGHT_MAX:
            self._skipped += 1
            if self._skipped == SKIPPED_MAX:
                self._fail("its encoder does not answer")
            return
        self._skipped = 0
        uses = request.ref_count
        try:
            super()._encode(stream, request)
        except Exception as error:
            logger.exception("a picture of the second stream could not be encoded")
            if request.ref_count > uses:
                request.release()
            self._fail(f"its pictures cannot be encoded: {type(error).__name__}")

    def _fail(self, reason: str) -> None:
        self._has_failed = True
        self.on_failure(reason)


class SoftwareEncoder(Encoder):  # type: ignore[misc] # picamera2 has no types
    """Our own H.264 encoder in the place of LibavH264Encoder.

    That one cannot be asked for a keyframe with PyAV 14 and later (the camera dies of it), aims at a bitrate however
    quiet the scene is, and keeps pictures back. Encodes in the library's camera thread, as that one does.
    """

    def __init__(self, h264: H264Encoder, layout: Layout) -> None:
        """`layout` is that of the stream it is started for, in YUV420."""
        super().__init__()
        self.on_failure: Callable[[str], None] = logger.error
        """Called once when encoding fails, with a reason for people."""
        self._h264 = h264
        self._layout = layout
        self._has_failed = False

    def force_key_frame(self) -> None:
        """The next picture is a keyframe."""
        self._h264.request_keyframe()

    def _start(self) -> None:
        """The library's would announce raw video to the output, which asks for nothing."""

    def _encode(self, stream: Any, request: Any) -> None:  # noqa: ARG002 - a name or an object, by version
        if self._has_failed:
            return
        try:
            self._encode_picture(request)
        except Exception as error:
            self._has_failed = True
            logger.exception("a picture could not be encoded")
            self.on_failure(f"its pictures cannot be encoded: {type(error).__name__}")

    def _encode_picture(self, request: Any) -> None:
        from av.video.frame import VideoFrame  # noqa: PLC0415 - where the hardware encodes, PyAV is not needed

        timestamp_us = self._timestamp(request)
        rows = self._layout.height * 3 // 2
        with MappedArray(request, self.name, reshape=False) as mapped:
            array = mapped.array[: rows * self._layout.stride].reshape(rows, self._layout.stride)
            picture = VideoFrame.from_numpy_buffer(array, format="yuv420p", width=self._layout.width)
            packets = self._h264.encode(picture, timestamp_us)
        for packet in packets:
            self.outputframe(packet.data, packet.is_keyframe, packet.timestamp_us)
