"""A camera made of arithmetic: a scene in which things move on a script, numbered picture by picture."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional

import msgspec
from av.video.frame import VideoFrame

from pinthesky.device.cameras.delivery import Delivery
from pinthesky.device.cameras.fixed_picture import refuse_picture_settings
from pinthesky.device.cameras.geometry import luma_size_before_turn
from pinthesky.device.cameras.h264_encoder import H264Encoder
from pinthesky.device.cameras.pictures import LumaMaker, Masker, jpeg
from pinthesky.device.cameras.script import Action, SyntheticAddress
from pinthesky.device.cameras.still_source import StillSource
from pinthesky.device.cameras.synthetic_scene import Scene
from pinthesky.device.cameras.timeline import LumaRate
from pinthesky.device.ports import (
    DEFAULT_PICTURE,
    Camera,
    CameraDescription,
    CameraLost,
    FootageEnded,
    LumaFrame,
    Sink,
    SubstreamLost,
    SubstreamSink,
)
from pinthesky.errors import InvariantBroken, Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pinthesky.model.settings import CameraSettings, PictureSettings, Polygon

logger = logging.getLogger(__name__)

_US = 1_000_000
_BEHIND_MAX_S = 10.0
"""Further behind its time than this (a machine that slept), the camera leaves pictures out, as a real one would."""


class _Kit(NamedTuple):
    """What an open camera works with."""

    settings: CameraSettings
    scene: Scene
    encoder: H264Encoder
    luma: LumaMaker
    masker: Optional[Masker]
    framerate: int
    rotation: int

    @property
    def substream_size(self) -> tuple[int, int]:
        """(width, height), as the low-resolution stream of a Pi's camera has it."""
        return luma_size_before_turn(*self.settings.size, self.rotation)


class _Substream(NamedTuple):
    """The second stream, while somebody wants it."""

    encoder: H264Encoder
    delivery: Delivery
    size: tuple[int, int]


class SyntheticCamera(Camera):
    """The camera `synthetic`, for demos and tests. Needs PyAV to encode.

    Picture n is due n / framerate seconds after the camera's epoch and says so itself: its number and time stand in the
    picture, its timestamp is that time. Script and numbers go on while the camera is closed, as the world does.
    """

    def __init__(
        self,
        address: str = "synthetic",
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        """`monotonic` and `wait` are for tests that bend time. Raises InvalidInput for a wrong address."""
        self._address = SyntheticAddress.parse(address)
        self._monotonic = monotonic
        self._wait = wait
        self._epoch_s = self._address.epoch_s
        self._judged_s = -1.0
        self._kit: Optional[_Kit] = None
        self._painter: Optional[threading.Thread] = None
        self._stop = threading.Event()
        self._released = threading.Event()
        self._stills: StillSource[VideoFrame] = StillSource(monotonic)
        self._substream: Optional[_Substream] = None

    def open(
        self,
        settings: CameraSettings,
        privacy_masks: Sequence[Polygon],
        *,
        picture: PictureSettings = DEFAULT_PICTURE,
    ) -> CameraDescription:
        """See `Camera.open`."""
        if self._kit is not None:
            raise InvariantBroken("the camera is open already")
        refuse_picture_settings(picture, "the synthetic camera")
        width, height = settings.size
        rotation = settings.rotation
        self._kit = kit = _Kit(
            settings=settings,
            scene=Scene(width, height, self._address.seed),
            encoder=H264Encoder(settings, width=width, height=height, framerate=settings.framerate),
            luma=LumaMaker(width, height, rotation),
            masker=Masker(privacy_masks, width=width, height=height, rotation=rotation) if privacy_masks else None,
            framerate=settings.framerate,
            rotation=rotation,
        )
        self._stop.clear()
        self._stills = StillSource(self._monotonic)
        return CameraDescription(
            model="synthetic",
            width=width,
            height=height,
            framerate=float(settings.framerate),
            rotation_left=rotation,
            luma_size=kit.luma.size,
            can_mask=True,
            extra={"encoder": "libx264", "forced_keyframes": "yes"},
            substream_size=kit.substream_size,
        )

    def start(self, sink: Sink) -> None:
        """See `Camera.start`."""
        if self._kit is None or self._painter is not None:
            raise InvariantBroken("the camera is not open, or has been started")
        # Daemonic, since a script may tell it to hang as a driver would; close joins it otherwise.
        self._painter = threading.Thread(target=self._run, args=(self._kit, sink), name="camera-synthetic", daemon=True)
        self._painter.start()

    def still(self, timeout_s: float) -> bytes:
        """See `Camera.still`."""
        if self._kit is None:
            raise Unavailable("the camera is closed")
        return jpeg(self._stills.latest(timeout_s), self._kit.rotation)

    def request_keyframe(self) -> bool:
        """See `Camera.request_keyframe`."""
        if self._kit is None:
            return False
        self._kit.encoder.request_keyframe()
        return True

    def start_substream(self, sink: SubstreamSink, *, bitrate: int) -> None:
        """See `Camera.start_substream`."""
        kit = self._kit
        if kit is None or self._painter is None:
            raise Unavailable("the camera is not started")
        self.stop_substream()
        width, height = kit.substream_size
        wanted = msgspec.structs.replace(kit.settings, encoding_bitrate=bitrate)
        encoder = H264Encoder(wanted, width=width, height=height, framerate=kit.framerate)
        self._substream = _Substream(encoder, Delivery(sink, SubstreamLost), (width, height))

    def request_substream_keyframe(self) -> bool:
        """See `Camera.request_substream_keyframe`."""
        if self._substream is None or self._substream.delivery.ended:
            return False
        self._substream.encoder.request_keyframe()
        return True

    def stop_substream(self) -> None:
        """See `Camera.stop_substream`."""
        if self._substream is not None:
            self._substream.delivery.end()
        self._substream = None

    def close(self, timeout_s: float) -> bool:
        """See `Camera.close`."""
        self._stop.set()
        self._lose_substream("the camera is closed")
        self._stills.end("the camera is closed")
        if self._painter is not None:
            self._painter.join(timeout_s)
            if self._painter.is_alive():
                return False
        self._painter = self._kit = self._substream = None
        return True

    def release(self) -> None:
        """End the script's `hang`, now and later."""
        self._released.set()

    def _run(self, kit: _Kit, sink: Sink) -> None:
        try:
            reason = self._play(kit, sink)
        except Exception as error:
            logger.exception("the synthetic camera failed")
            reason = f"the synthetic camera failed: {type(error).__name__}"
        if reason is not None and not self._stop.is_set():
            self._stills.end(reason)
            self._lose_substream(reason)
            sink(CameraLost(reason))

    def _play(self, kit: _Kit, sink: Sink) -> Optional[str]:
        """Give pictures until told to stop; returns why there are no more, None when the script has ended."""
        if self._epoch_s is None:
            self._epoch_s = self._monotonic()
            number = 0
        else:
            number = self._number_now(kit) + 1
        luma_rate = LumaRate()
        while self._wait_until(number / kit.framerate):
            number = max(number, self._number_now(kit) - round(_BEHIND_MAX_S * kit.framerate))
            time_s = number / kit.framerate
            lost = self._address.script.losses_between(self._judged_s, time_s)
            self._judged_s = time_s
            if lost:
                return "the script says so"
            moment = self._address.script.at(time_s)
            if moment is None:
                self._lose_substream("the footage has ended")
                sink(FootageEnded())
                return None
            if moment.action is Action.HANG:
                self._hang(time_s + moment.length_s - moment.elapsed_s)
            elif moment.action is not Action.STALL:
                self._give(kit, sink, number, luma_rate=luma_rate)
            number += 1
        return None

    def _give(self, kit: _Kit, sink: Sink, number: int, *, luma_rate: LumaRate) -> None:
        time_s = number / kit.framerate
        moment = self._address.script.at(time_s)
        if moment is None:
            return
        timestamp_us = number * _US // kit.framerate
        planes = kit.scene.scenery(number, moment)
        luma = kit.luma.luma(_masked(kit, planes)) if luma_rate.takes(timestamp_us) else None
        kit.scene.write_strip(planes, number, time_s)
        picture = _masked(kit, planes)
        for packet in kit.encoder.encode(picture, timestamp_us):
            sink(packet)
        if luma is not None:
            sink(LumaFrame(luma, timestamp_us))
        self._stills.put(picture)
        self._give_small(picture, timestamp_us)

    def _give_small(self, picture: VideoFrame, timestamp_us: int) -> None:
        substream = self._substream
        if substream is None or substream.delivery.ended:
            return
        try:
            for packet in substream.encoder.encode(picture.reformat(*substream.size), timestamp_us):
                substream.delivery.hand_over(packet)
        except Exception as error:
            logger.exception("the second stream failed")
            substream.delivery.lose(f"its pictures cannot be handed over: {type(error).__name__}")

    def _lose_substream(self, reason: str) -> None:
        if self._substream is not None:
            self._substream.delivery.lose(reason)

    def _number_now(self, kit: _Kit) -> int:
        return max(0, int(self._now_s() * kit.framerate))

    def _now_s(self) -> float:
        """Seconds since the epoch, as fast as the address says."""
        if self._epoch_s is None:
            return 0.0
        return (self._monotonic() - self._epoch_s) * self._address.speed

    def _wait_until(self, time_s: float) -> bool:
        """Wait for a time of the script. False when the camera is to stop."""
        return not self._wait(self._stop, max(0.0, (time_s - self._now_s()) / self._address.speed))

    def _hang(self, until_s: float) -> None:
        self._wait(self._released, max(0.0, (until_s - self._now_s()) / self._address.speed))


def _masked(kit: _Kit, planes: NDArray[np.uint8]) -> VideoFrame:
    picture = VideoFrame.from_ndarray(planes, format="yuv420p")
    return picture if kit.masker is None else kit.masker.apply(picture)
