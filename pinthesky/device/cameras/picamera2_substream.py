"""The second stream of a picamera2 camera: an encoder of its own on the low-resolution stream, while somebody wants it.

Nothing of it may cost the recording anything. Its encoder is started and stopped in a thread of its own, for which
nobody waits longer than a few seconds, and what fails in it ends the second stream alone.
"""

from __future__ import annotations

import logging
from typing import Any, Optional

from pinthesky.device.cameras.bounded_calls import BoundedCalls
from pinthesky.device.cameras.delivery import Delivery, PacketFeed
from pinthesky.device.cameras.picamera2_encoding import PacketOutput
from pinthesky.device.ports import SubstreamLost, SubstreamSink

logger = logging.getLogger(__name__)

TIMEOUT_S = 3.0
_NOTHING_TO_DO_S = 3600.0


class Substream:
    """One run of the second stream. All methods are for the owner of the camera."""

    def __init__(self, camera: Any, encoder: Any, sink: SubstreamSink) -> None:
        """`encoder` is one of picamera2's, that says what fails to its `on_failure` and raises nothing."""
        self.delivery = Delivery(sink, SubstreamLost)
        self._camera = camera
        self._encoder = encoder
        self._calls = BoundedCalls("camera-substream", look_after=lambda: None, every_s=_NOTHING_TO_DO_S)
        encoder.on_failure = self.delivery.lose

    def start(self) -> None:
        """Begin. Raises Unavailable when the encoder does not start, and what the library raises."""
        output = PacketOutput(self._encoder, PacketFeed(self.delivery.hand_over, self.delivery.lose).take)
        self._calls.call(lambda: self._camera.start_encoder(self._encoder, output, name="lores"), TIMEOUT_S)

    def request_keyframe(self) -> bool:
        """See `Camera.request_substream_keyframe`."""
        if self.delivery.ended or not hasattr(self._encoder, "force_key_frame"):
            return False
        self._encoder.force_key_frame()
        return True

    def end(self, timeout_s: float, *, reason: Optional[str] = None) -> bool:
        """Stop, and tell `reason` where there is one. False when the encoder hangs; may be called again."""
        if reason is None:
            self.delivery.end()
        else:
            self.delivery.lose(reason)
        return self._calls.end(self._stop, timeout_s)

    def _stop(self) -> None:
        try:
            if self._encoder in self._camera.encoders:
                self._camera.stop_encoder(self._encoder)
        except (RuntimeError, OSError, LookupError):
            logger.exception("the encoder of the second stream did not stop in order")
