"""Opens what libav can read, within time, and says in our terms what went wrong."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import av

from pinthesky.device.cameras.address import FLAG, Address, Kind
from pinthesky.errors import InvalidInput, PinTheSkyError, Unavailable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from pinthesky.model.settings import CameraSettings

OPEN_TIMEOUT_S = 6.0
"""Each for reaching the source and for finding out what it sends."""
READ_TIMEOUT_S = 4.5
"""No byte for this long ends a stream. Below the 5 s that `close` is granted, so a silent peer never outlasts it."""
_WITHOUT_CLOCK = frozenset(("mpjpeg", "mjpeg", "h264", "image2pipe"))
"""Demuxers of bare pictures: they count 25 in a second, whatever comes."""
_PIXELS_MAX = 8192 * 8192
_FRAMERATE_MAX = 240.0


def open_container(address: Address, settings: CameraSettings) -> tuple[InputContainer, VideoStream]:
    """The container and its first video stream. Raises Unavailable or InvalidInput."""
    media_format = "v4l2" if address.kind is Kind.DEVICE else None
    with errors_mapped(address, patience_s=OPEN_TIMEOUT_S):
        container = av.open(
            address.url,
            "r",
            format=media_format,
            options=options_for(address, settings),
            metadata_errors="replace",
            timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S / 2 if _is_rtsp(address) else READ_TIMEOUT_S),
        )
    try:
        with errors_mapped(address):
            stream = _video_stream(container, address)
    except BaseException:
        container.close()
        raise
    return container, stream


def _video_stream(container: InputContainer, address: Address) -> VideoStream:
    if not container.streams.video:
        raise InvalidInput(FLAG, f"{address.shown} has no video")
    stream = container.streams.video[0]
    codec = getattr(stream, "codec_context", None)
    if codec is None:
        raise InvalidInput(FLAG, f"{address.shown} holds video that cannot be decoded")
    if codec.width < 2 or codec.height < 2:
        raise Unavailable(f"{address.shown} does not say how large its picture is")
    if codec.width * codec.height > _PIXELS_MAX:
        raise InvalidInput(FLAG, f"{address.shown} gives {codec.width}x{codec.height} pixels, which is too large")
    return stream


def options_for(address: Address, settings: CameraSettings) -> dict[str, str]:
    """Options of libav's demuxers and protocols.

    The protocols are named so that no playlist or redirection of a stranger can make us read a file.
    """
    if address.kind is Kind.DEVICE:
        return {"framerate": str(settings.framerate), "video_size": settings.resolution}
    if address.kind is Kind.FILE:
        return {"protocol_whitelist": "file"}
    network_us = str(int(READ_TIMEOUT_S * 1_000_000))
    options = {
        "protocol_whitelist": "rtsp,rtp,udp,tcp,tls,http,https,httpproxy,crypto",
        "timeout": network_us,
        "analyzeduration": "2000000",
    }
    if _is_rtsp(address):
        options["rtsp_transport"] = "tcp"
    return options


def _is_rtsp(address: Address) -> bool:
    """RTSP spends two time-outs on a silence: at the first the parser still hands over the picture that it held."""
    return address.url.lower().startswith("rtsp")


def has_clock(container: InputContainer) -> bool:
    """Whether timestamps and framerate are the source's own, not made up by the demuxer."""
    return container.format.name not in _WITHOUT_CLOCK


def framerate_of(container: InputContainer, stream: VideoStream, settings: CameraSettings) -> float:
    """Frames per second as the source says, or as the settings do where it says nothing that can be true."""
    if not has_clock(container):
        return float(settings.framerate)
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= _FRAMERATE_MAX:
            return float(rate)
    return float(settings.framerate)


@contextlib.contextmanager
def errors_mapped(address: Address, *, patience_s: float = math.inf) -> Iterator[None]:
    """Raise libav's errors as ours, once and here; the address appears without credentials.

    After `patience_s` any error means that the time was up, since demuxers give their own names to being interrupted.
    Whatever another machine or a device says may pass; only what lies in a file or in our own abilities may not.
    """
    began_s = time.monotonic()
    try:
        yield
    except PinTheSkyError:
        raise
    except (av.FFmpegError, OSError) as error:
        in_time = time.monotonic() - began_s < patience_s
        raise _meaning(error, address, in_time=in_time) from _without_address(error)
    except (UnicodeError, ValueError) as error:
        raise InvalidInput(FLAG, f"{address.shown} cannot be played") from _without_address(error)


def _meaning(error: Exception, address: Address, *, in_time: bool) -> PinTheSkyError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    where = address.shown
    if isinstance(
        error, (av.error.ProtocolNotFoundError, av.error.DecoderNotFoundError, av.error.DemuxerNotFoundError)
    ):
        return InvalidInput(FLAG, f"{where} needs what this PyAV cannot do: {reason}")
    if address.kind is Kind.FILE:
        return InvalidInput(FLAG, f"{where} is not a video that can be played: {reason}")
    if not in_time or isinstance(error, (av.error.ExitError, TimeoutError)):
        return Unavailable(f"{where} did not answer in time")
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return Unavailable(f"{where} refuses the user name or the password")
    if isinstance(error, FileNotFoundError):
        return Unavailable(f"{where} does not exist")
    return Unavailable(f"{where} failed: {reason}")


def _without_address(error: Exception) -> Exception:
    """What happened, as the cause of our error: PyAV's own text quotes the address with its password."""
    return RuntimeError(f"{type(error).__name__}: {getattr(error, 'strerror', None) or 'no further word'}")
