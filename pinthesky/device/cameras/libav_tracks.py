"""From libav's packets to ours: passed through beside a decoder, or decoded, masked and encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Optional, Protocol

import av
from av.bitstream import BitStreamFilterContext

from pinthesky.device.cameras import annex_b
from pinthesky.device.cameras.geometry import even_size
from pinthesky.device.cameras.h264_encoder import H264Encoder
from pinthesky.device.cameras.pictures import LumaMaker, Masker, as_video
from pinthesky.device.cameras.timeline import LumaRate
from pinthesky.device.ports import Packet
from pinthesky.errors import PinTheSkyError

if TYPE_CHECKING:
    from av.packet import Packet as LibavPacket
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from pinthesky.model.settings import CameraSettings, Polygon

_KEYFRAMES_WITHOUT_IDR_MAX = 5
_LOW_DELAY = 1 << 19
"""AV_CODEC_FLAG_LOW_DELAY: pictures come out as their packets go in."""


class UnfitForPassthrough(PinTheSkyError):
    """The stream turned out to be one that must be encoded here; the text says why."""


class PictureSizeChanged(PinTheSkyError):
    """The source changed its picture's size while it ran: the camera must be opened anew."""


class Track(Protocol):
    """Takes libav's packets one by one, in order, in one thread."""

    width: int
    height: int
    encodes: bool
    luma_size: tuple[int, int]
    picture: Optional[VideoFrame]
    """The last picture that was decoded of the packet taken last, unturned; None when it gave none."""

    def packets(self, packet: LibavPacket[VideoStream], timestamp_us: int) -> list[Packet]:
        """What `packet` gives to the recording. Raises what libav and this module raise."""
        ...

    def luma_frames(self) -> Iterator[NDArray[Any]]:
        """Luma frames, as shown, of the packet that was taken last: one or none."""
        ...

    def request_keyframe(self) -> bool:
        """Ask the encoder, where there is one. From any thread."""
        ...

    def restart(self) -> None:
        """The source begins again from its start."""
        ...


class PassthroughTrack:
    """Packets as they came, in Annex B, keyframes with their parameter sets; decoded for luma frames and stills.

    Decoding keeps the deblocking filter: leaving it out saves little, and its drift would jump at every keyframe,
    which a motion detector sees.
    """

    encodes = False

    def __init__(self, stream: VideoStream, rotation: int) -> None:
        codec = stream.codec_context
        codec.thread_count = 1
        codec.flags |= _LOW_DELAY
        self.width, self.height = codec.width, codec.height
        self._luma = _LumaTap(self.width, self.height, rotation)
        self.luma_size = self._luma.size
        self.picture: Optional[VideoFrame] = None
        extradata = codec.extradata or b""
        self._filter: Optional[BitStreamFilterContext] = None
        self._parameter_sets = b""
        if annex_b.is_annex_b(extradata):
            self._parameter_sets = annex_b.parameter_sets_of(extradata)
        elif extradata:
            self._filter = BitStreamFilterContext("h264_mp4toannexb", stream)
        self._begun = False
        self._keyframes_without_idr = 0
        self._newest_pts: Optional[int] = None

    def restart(self) -> None:
        """See `Track.restart`."""
        self._newest_pts = None
        if self._filter is not None:
            self._filter.flush()

    def request_keyframe(self) -> bool:
        """Nobody can be asked."""
        return False

    def packets(self, packet: LibavPacket[VideoStream], timestamp_us: int) -> list[Packet]:
        """See `Track.packets`."""
        if packet.pts is not None:
            if self._newest_pts is not None and packet.pts < self._newest_pts and _reorders(packet):
                raise UnfitForPassthrough("it has B-frames")
            self._newest_pts = packet.pts
        claims_keyframe = packet.is_keyframe
        self._decode(packet, timestamp_us)
        units = [packet] if self._filter is None else self._filter.filter(packet)
        handed: list[Packet] = []
        for unit in units:
            access_unit = self._access_unit(bytes(unit), timestamp_us, claims_keyframe=claims_keyframe)
            if access_unit is not None:
                handed.append(access_unit)
        return handed

    def luma_frames(self) -> Iterator[NDArray[Any]]:
        """See `Track.luma_frames`."""
        return self._luma.take()

    def _access_unit(self, data: bytes, timestamp_us: int, *, claims_keyframe: bool) -> Optional[Packet]:
        is_keyframe = False
        if claims_keyframe:
            is_keyframe = annex_b.has_idr(data)
            if is_keyframe:
                data = self._self_contained(data)
                is_keyframe = annex_b.stands_alone(data)
            self._keyframes_without_idr = 0 if is_keyframe else self._keyframes_without_idr + 1
            if self._keyframes_without_idr >= _KEYFRAMES_WITHOUT_IDR_MAX:
                raise UnfitForPassthrough("it has no IDR pictures with parameter sets")
        self._begun = self._begun or is_keyframe
        return Packet(data, timestamp_us, is_keyframe) if self._begun else None

    def _self_contained(self, unit: bytes) -> bytes:
        in_band = annex_b.parameter_sets_of(unit)
        if in_band:
            self._parameter_sets = in_band
            return unit
        return annex_b.with_parameter_sets(unit, self._parameter_sets)

    def _decode(self, packet: LibavPacket[VideoStream], timestamp_us: int) -> None:
        self.picture = None
        for picture in _decoded(packet):
            _check_size(picture, self.width, self.height)
            self.picture = picture
            self._luma.put(picture, timestamp_us)


class EncodedTrack:
    """Decoded, masked and encoded once. Costs an encoder, and gives what no source of its own accord does: masks."""

    encodes = True

    def __init__(
        self, stream: VideoStream, settings: CameraSettings, privacy_masks: Sequence[Polygon], *, framerate: float
    ) -> None:
        codec = stream.codec_context
        codec.thread_count = 1
        self._source_size = codec.width, codec.height
        self.width, self.height = even_size(codec.width, codec.height)
        self._luma = _LumaTap(self.width, self.height, settings.rotation)
        self.luma_size = self._luma.size
        self.picture: Optional[VideoFrame] = None
        self._masker: Optional[Masker] = None
        if privacy_masks:
            self._masker = Masker(privacy_masks, width=self.width, height=self.height, rotation=settings.rotation)
        self._encoder = H264Encoder(settings, width=self.width, height=self.height, framerate=framerate)
        self._frame_us = max(1, round(1_000_000 / framerate))
        self._last_us = -1

    def restart(self) -> None:
        """See `Track.restart`."""

    def request_keyframe(self) -> bool:
        """The encoder does it with the next picture."""
        self._encoder.request_keyframe()
        return True

    def packets(self, packet: LibavPacket[VideoStream], timestamp_us: int) -> list[Packet]:
        """See `Track.packets`. A decoder that reorders gives pictures late: they take the time at which they come.

        An empty packet makes it give those it still holds.
        """
        handed: list[Packet] = []
        self.picture = None
        for picture in _decoded(packet):
            _check_size(picture, *self._source_size)
            shown = as_video(picture)
            if self._masker is not None:
                shown = self._masker.apply(shown)
            self.picture = shown
            self._last_us = timestamp_us if timestamp_us > self._last_us else self._last_us + self._frame_us
            self._luma.put(shown, self._last_us)
            handed.extend(self._encoder.encode(shown, self._last_us))
        return handed

    def luma_frames(self) -> Iterator[NDArray[Any]]:
        """See `Track.luma_frames`."""
        return self._luma.take()


class _LumaTap:
    """Makes luma frames of some of the pictures that pass."""

    def __init__(self, width: int, height: int, rotation: int) -> None:
        self._maker = LumaMaker(width, height, rotation)
        self._rate = LumaRate()
        self._waiting: list[NDArray[Any]] = []
        self.size = self._maker.size

    def put(self, picture: VideoFrame, timestamp_us: int) -> None:
        if self._rate.takes(timestamp_us):
            self._waiting.append(self._maker.luma(picture))

    def take(self) -> Iterator[NDArray[Any]]:
        waiting, self._waiting = self._waiting, []
        return iter(waiting)


def _decoded(packet: LibavPacket[VideoStream]) -> list[VideoFrame]:
    """The pictures of a packet; none for one that is broken: the next keyframe mends what follows."""
    try:
        return list(packet.decode())
    except av.error.InvalidDataError:
        return []


def _reorders(packet: LibavPacket[VideoStream]) -> bool:
    """Whether the packet's own times say that it is shown out of order, rather than that the clock was set back."""
    return packet.dts is None or packet.pts != packet.dts


def _check_size(picture: VideoFrame, width: int, height: int) -> None:
    if (picture.width, picture.height) != (width, height):
        raise PictureSizeChanged(f"the picture changed from {width}x{height} to {picture.width}x{picture.height}")
