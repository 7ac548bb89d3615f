"""USB cameras, network streams and files by PyAV: H.264 passes through untouched, all else is encoded once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional

from av.video.frame import VideoFrame

from pinthesky.device.cameras.address import Address, Kind
from pinthesky.device.cameras.fixed_picture import refuse_picture_settings
from pinthesky.device.cameras.libav_input import errors_mapped, framerate_of, has_clock, open_container
from pinthesky.device.cameras.libav_tracks import EncodedTrack, PassthroughTrack, Track, UnfitForPassthrough
from pinthesky.device.cameras.pictures import jpeg
from pinthesky.device.cameras.still_source import StillSource
from pinthesky.device.cameras.timeline import Timeline
from pinthesky.device.ports import DEFAULT_PICTURE, Camera, CameraDescription, CameraLost, FootageEnded, LumaFrame, Sink
from pinthesky.errors import InvariantBroken, PinTheSkyError, Unavailable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet as LibavPacket
    from av.video.stream import VideoStream

    from pinthesky.model.settings import CameraSettings, PictureSettings, Polygon

logger = logging.getLogger(__name__)

_US = 1_000_000


class _Opened(NamedTuple):
    """What an open camera works with."""

    container: InputContainer
    stream: VideoStream
    track: Track
    stills: StillSource[VideoFrame]
    rotation: int
    frame_us: int
    """Between two pictures, as the stream says."""


class LibavCamera(Camera):
    """One address that libav can play.

    - A stream of H.264 without B-frames passes through: its packets are handed on as they came, and decoded beside
      that for luma frames and stills. It cannot be masked.
    - Everything else, and H.264 when privacy masks are set, is decoded, masked and encoded once.
    - A stream that shows B-frames or no IDR picture only while it runs is lost with that reason, and encoded from the
      next `open` on: a `Packet` has one timestamp, so decoding order and showing order must be one.

    Pictures are not turned: `rotation_left` is what the settings say; luma frames and stills are as shown.
    The resolution and framerate of the settings are asked of a USB camera; streams and files come as they are.
    """

    def __init__(self, address: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises InvalidInput for an address that can never work."""
        self._address = Address.parse(address)
        self._monotonic = monotonic
        self._must_encode = False
        self._opened: Optional[_Opened] = None
        self._reader: Optional[threading.Thread] = None
        self._stop = threading.Event()

    def __repr__(self) -> str:
        """Without credentials, for logs."""
        return f"LibavCamera({self._address.shown!r})"

    def open(
        self,
        settings: CameraSettings,
        privacy_masks: Sequence[Polygon],
        *,
        picture: PictureSettings = DEFAULT_PICTURE,
    ) -> CameraDescription:
        """See `Camera.open`."""
        if self._opened is not None:
            raise InvariantBroken("the camera is open already")
        refuse_picture_settings(picture, "a USB camera, stream or file")
        container, stream = open_container(self._address, settings)
        try:
            with errors_mapped(self._address):
                framerate = framerate_of(container, stream, settings)
                track = self._make_track(stream, settings, privacy_masks, framerate=framerate)
        except BaseException:
            container.close()
            raise
        self._stop.clear()
        self._opened = _Opened(
            container=container,
            stream=stream,
            track=track,
            stills=StillSource(self._monotonic),
            rotation=settings.rotation,
            frame_us=max(1, round(_US / framerate)),
        )
        codec = stream.codec_context.name
        return CameraDescription(
            model=f"{codec} {self._address.shown}",
            width=track.width,
            height=track.height,
            framerate=framerate,
            rotation_left=settings.rotation,
            luma_size=track.luma_size,
            can_mask=track.encodes,
            extra={"codec": codec, "encoded": "here" if track.encodes else "at the source"},
        )

    def _make_track(
        self, stream: VideoStream, settings: CameraSettings, privacy_masks: Sequence[Polygon], *, framerate: float
    ) -> Track:
        passes = stream.codec_context.name == "h264" and not stream.codec_context.has_b_frames
        if passes and not privacy_masks and not self._must_encode:
            return PassthroughTrack(stream, settings.rotation)
        return EncodedTrack(stream, settings, privacy_masks, framerate=framerate)

    def start(self, sink: Sink) -> None:
        """See `Camera.start`."""
        if self._opened is None or self._reader is not None:
            raise InvariantBroken("the camera is not open, or has been started")
        # Daemonic, since a driver that never answers must not keep the process from ending; close joins it otherwise.
        self._reader = threading.Thread(target=self._read, args=(self._opened, sink), name="camera-libav", daemon=True)
        self._reader.start()

    def still(self, timeout_s: float) -> bytes:
        """See `Camera.still`. The last decoded picture, fully deblocked, at the stream's size."""
        if self._opened is None:
            raise Unavailable("the camera is closed")
        return jpeg(self._opened.stills.latest(timeout_s), self._opened.rotation)

    def request_keyframe(self) -> bool:
        """See `Camera.request_keyframe`. True where the pictures are encoded here."""
        return self._opened is not None and self._opened.track.request_keyframe()

    def close(self, timeout_s: float) -> bool:
        """See `Camera.close`. A silent peer is given up after READ_TIMEOUT_S; until then this answers False."""
        self._stop.set()
        if self._opened is None:
            return True
        self._opened.stills.end("the camera is closed")
        if self._reader is None:
            self._opened.container.close()
        else:
            self._reader.join(timeout_s)
            if self._reader.is_alive():
                return False
        self._reader = self._opened = None
        return True

    def _read(self, opened: _Opened, sink: Sink) -> None:
        try:
            reason = self._play(opened, sink)
        except UnfitForPassthrough as error:
            self._must_encode = True
            reason = f"{self._address.shown} cannot be passed through ({error}); it will be encoded here"
        except PinTheSkyError as error:
            reason = str(error)
        except Exception as error:
            logger.exception("reading %s failed", self._address.shown)
            reason = f"reading {self._address.shown} failed: {type(error).__name__}"
        finally:
            opened.container.close()
        if reason is not None and not self._stop.is_set():
            opened.stills.end(reason)
            sink(CameraLost(reason))

    def _play(self, opened: _Opened, sink: Sink) -> Optional[str]:
        """Hand over everything to the end; returns why there is no more, None for footage that has been played."""
        if self._address.kind is not Kind.FILE:
            self._play_live(opened, sink)
            return f"{self._address.shown} has ended"
        pace = _Pace(self._stop, self._monotonic, self._address.speed)
        offset_us = self._play_file(opened, sink, pace=pace, offset_us=0)
        while self._address.loop and not self._stop.is_set():
            opened.container.seek(0)
            offset_us = self._play_file(opened, sink, pace=pace, offset_us=offset_us)
        if not self._stop.is_set():
            sink(FootageEnded())
        return None

    def _play_live(self, opened: _Opened, sink: Sink) -> None:
        timeline = Timeline(opened.frame_us)
        clocked = has_clock(opened.container)
        for packet in self._packets(opened):
            if self._stop.is_set():
                return
            if packet.size:
                source_us = _source_us(packet, by_decoding_order=opened.track.encodes) if clocked else None
                timestamp_us = timeline.next(source_us, int(self._monotonic() * _US))
                self._hand_over(opened, packet, timestamp_us, sink=sink)

    def _play_file(self, opened: _Opened, sink: Sink, *, pace: _Pace, offset_us: int) -> int:
        """Play the file once from `offset_us` on; returns where its next round begins."""
        opened.track.restart()
        first_us: Optional[int] = None
        last_us = offset_us - opened.frame_us
        for packet in self._packets(opened):
            if not packet.size and not opened.track.encodes:
                continue
            source_us = _source_us(packet, by_decoding_order=opened.track.encodes)
            first_us = source_us if first_us is None else first_us
            if source_us is None or first_us is None:
                timestamp_us = last_us + opened.frame_us
            else:
                timestamp_us = max(last_us + 1, offset_us + source_us - first_us)
            last_us = timestamp_us
            if not pace.wait_for(timestamp_us):
                break
            self._hand_over(opened, packet, timestamp_us, sink=sink)
        return last_us + opened.frame_us

    def _packets(self, opened: _Opened) -> Iterator[LibavPacket[VideoStream]]:
        with errors_mapped(self._address):
            yield from opened.container.demux(opened.stream)

    def _hand_over(self, opened: _Opened, packet: LibavPacket[VideoStream], timestamp_us: int, *, sink: Sink) -> None:
        with errors_mapped(self._address):
            packets = opened.track.packets(packet, timestamp_us)
        for encoded in packets:
            sink(encoded)
        for luma in opened.track.luma_frames():
            sink(LumaFrame(luma, timestamp_us))
        if opened.track.picture is not None:
            opened.stills.put(opened.track.picture)


class _Pace:
    """Holds a file to its own pace, or a multiple of it, by its timestamps. What came late is caught up, not moved."""

    def __init__(self, stop: threading.Event, monotonic: Callable[[], float], speed: float) -> None:
        self._stop = stop
        self._monotonic = monotonic
        self._speed = speed
        self._began_s: Optional[float] = None
        self._first_us = 0

    def wait_for(self, timestamp_us: int) -> bool:
        """Wait until the picture is due. False when the camera is to stop."""
        if self._began_s is None:
            self._began_s, self._first_us = self._monotonic(), timestamp_us
        due_s = self._began_s + (timestamp_us - self._first_us) / _US / self._speed
        return not self._stop.wait(max(0.0, due_s - self._monotonic()))


def _source_us(packet: LibavPacket[VideoStream], *, by_decoding_order: bool) -> Optional[int]:
    """The packet's time in its source, µs: when its picture is shown, or when it is decoded, which always rises."""
    shown, decoded = packet.pts, packet.dts
    first, second = (decoded, shown) if by_decoding_order else (shown, decoded)
    ticks = second if first is None else first
    if ticks is None:
        return None
    base = packet.time_base
    return ticks * _US * base.numerator // base.denominator
