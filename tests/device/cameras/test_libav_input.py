"""What libav says, in our terms: sizes, rates and errors that no real file or server here brings about."""

from __future__ import annotations

import types
from fractions import Fraction

import pytest

from pinthesky.device.cameras.address import Address, Kind
from pinthesky.errors import InvalidInput, PinTheSkyError, Unavailable
from pinthesky.model.settings import CameraSettings

av = pytest.importorskip("av", reason="needs PyAV, which is not installed here")
pytestmark = pytest.mark.needs_av

from pinthesky.device.cameras import libav_input  # noqa: E402 - needs PyAV

STREAM = Address(Kind.STREAM, "rtsp://user:secret@camera/live", "rtsp://camera/live")
FILE = Address(Kind.FILE, "file:/srv/clip.mp4", "clip.mp4")


def opened(*, width: int, height: int, media_format: str = "rtsp", rate: Fraction | None = None):
    """As much of a container as is looked at."""
    codec = types.SimpleNamespace(width=width, height=height)
    stream = types.SimpleNamespace(codec_context=codec, average_rate=rate, guessed_rate=None)
    return types.SimpleNamespace(
        streams=types.SimpleNamespace(video=[stream]), format=types.SimpleNamespace(name=media_format)
    )


def test_a_stream_that_does_not_tell_its_size_may_do_so_later():
    with pytest.raises(Unavailable, match="how large"):
        libav_input._video_stream(opened(width=0, height=0), STREAM)


def test_a_picture_too_large_for_any_memory_is_refused():
    with pytest.raises(InvalidInput, match="too large"):
        libav_input._video_stream(opened(width=100_000, height=100_000), STREAM)


def test_video_that_no_decoder_knows_is_refused():
    container = opened(width=640, height=480)
    container.streams.video[0].codec_context = None
    with pytest.raises(InvalidInput, match="cannot be decoded"):
        libav_input._video_stream(container, STREAM)


@pytest.mark.parametrize(
    "media_format,rate,expected",
    [
        ("rtsp", Fraction(15), 15.0),
        ("rtsp", Fraction(90_000), 12.0),
        ("rtsp", None, 12.0),
        ("mpjpeg", Fraction(25), 12.0),
    ],
)
def test_a_framerate_that_cannot_be_true_gives_way_to_that_of_the_settings(
    media_format: str, rate: Fraction | None, expected: float
):
    container = opened(width=640, height=480, media_format=media_format, rate=rate)
    settings = CameraSettings(framerate=12)
    assert libav_input.framerate_of(container, container.streams.video[0], settings) == expected


@pytest.mark.parametrize(
    "error,address,kind,words",
    [
        (av.error.ProtocolNotFoundError(1, "no such protocol"), STREAM, InvalidInput, "what this PyAV cannot do"),
        (av.error.InvalidDataError(1, "bad", STREAM.url), STREAM, Unavailable, "failed: bad"),
        (av.error.InvalidDataError(1, "bad", FILE.url), FILE, InvalidInput, "not a video"),
        (av.error.TimeoutError(110, "timed out", STREAM.url), STREAM, Unavailable, "in time"),
        (av.error.HTTPForbiddenError(1, "403", STREAM.url), STREAM, Unavailable, "refuses the user name"),
        (OSError(5, "Input/output error"), STREAM, Unavailable, "failed: Input/output error"),
        (ValueError("rtsp://user:secret@camera"), STREAM, InvalidInput, "cannot be played"),
    ],
)
def test_errors_are_told_in_our_terms_and_without_a_password(
    error: Exception, address: Address, kind: type[PinTheSkyError], words: str
):
    with pytest.raises(kind, match=words) as caught, libav_input.errors_mapped(address):
        raise error
    assert "secret" not in f"{caught.value} {caught.value.__cause__!r}"


def test_our_own_errors_pass_as_they_are():
    with pytest.raises(Unavailable, match=r"^as it is$"), libav_input.errors_mapped(STREAM):
        raise Unavailable("as it is")
