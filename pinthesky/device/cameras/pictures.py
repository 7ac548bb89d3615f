"""What is made of decoded pictures: luma frames, stills, and pictures with privacy masks burned in."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from pinthesky.device.cameras.geometry import even_size, luma_size_before_turn, polygon_mask, turned, turned_size
from pinthesky.errors import Unavailable

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from numpy.typing import NDArray

    from pinthesky.model.settings import Polygon

_JPEG_QUALITY = 3
"""Quantiser of the JPEG encoder, 2 (best) to 31."""
_VIDEO_RANGE = 1
"""AVCOL_RANGE_MPEG: black is 16, white is 235."""
_FULL_RANGE = 2
"""AVCOL_RANGE_JPEG: black is 0, white is 255."""
_BLACK_LUMA = 16
_NEUTRAL_CHROMA = 128


def as_video(picture: VideoFrame) -> VideoFrame:
    """The picture as our encoder takes it: yuv420p in video range with even sides; itself where it is so already."""
    width, height = even_size(picture.width, picture.height)
    same = (picture.width, picture.height, picture.format.name) == (width, height, "yuv420p")
    if same and picture.color_range != _FULL_RANGE:
        return picture
    return picture.reformat(width, height, "yuv420p", dst_color_range=_VIDEO_RANGE)


class Masker:
    """Burns privacy masks into pictures. The polygons are those of the picture as shown."""

    def __init__(self, polygons: Sequence[Polygon], *, width: int, height: int, rotation: int) -> None:
        """`width` and `height` are those of the picture before it is turned by `rotation`."""
        shown = polygon_mask(polygons, *turned_size(width, height, rotation))
        luma = np.ascontiguousarray(turned(shown, -rotation))
        # A chroma sample is neutral as soon as one of its four pixels is hidden.
        blocks = luma[: height // 2 * 2, : width // 2 * 2].reshape(height // 2, 2, width // 2, 2)
        self._luma = np.flatnonzero(luma)
        self._chroma = np.flatnonzero(blocks.any(axis=(1, 3)))
        self._width, self._height = width, height

    def apply(self, picture: VideoFrame) -> VideoFrame:
        """A masked copy of a picture from `as_video`, which may be a decoder's reference and stays as it is."""
        planes: NDArray[Any] = picture.to_ndarray()
        flat = planes.reshape(-1)
        luma_end = self._width * self._height
        chroma_end = luma_end + luma_end // 4
        flat[:luma_end][self._luma] = _BLACK_LUMA
        flat[luma_end:chroma_end][self._chroma] = _NEUTRAL_CHROMA
        flat[chroma_end:][self._chroma] = _NEUTRAL_CHROMA
        masked = VideoFrame.from_ndarray(planes, format="yuv420p")
        masked.color_range, masked.colorspace = picture.color_range, picture.colorspace
        return masked


class LumaMaker:
    """Scales decoded pictures to luma frames as shown.

    Each pixel is the mean of those it covers (swscale's AREA), stretched to full range: as quick as the crude ways of
    scaling, and quicker than numpy.
    """

    def __init__(self, width: int, height: int, rotation: int) -> None:
        """`width` and `height` are those of the pictures before they are turned by `rotation`."""
        self._reformatter = VideoReformatter()
        self._width, self._height = luma_size_before_turn(width, height, rotation)
        self._rotation = rotation

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the luma frames."""
        return turned_size(self._width, self._height, self._rotation)

    def luma(self, picture: VideoFrame) -> NDArray[np.uint8]:
        """uint8 (height, width): a view of memory that nothing else uses."""
        grey = self._reformatter.reformat(picture, self._width, self._height, "gray", interpolation="AREA")
        plane = grey.planes[0]
        whole: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return turned(whole[: self._height, : self._width], self._rotation)


def jpeg(picture: VideoFrame, rotation: int) -> bytes:
    """`picture` as a JPEG, turned clockwise by `rotation`. Raises Unavailable when the encoder refuses it."""
    width, height = even_size(picture.width, picture.height)
    full = picture.reformat(width, height, "yuv420p", dst_color_range=_FULL_RANGE)
    if rotation:
        full = _turned_picture(full, rotation)
    frame = VideoFrame.from_ndarray(full.to_ndarray(), format="yuvj420p")
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    try:
        encoder: VideoCodecContext = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height = frame.width, frame.height
        encoder.pix_fmt = "yuvj420p"
        encoder.time_base = Fraction(1, 25)
        encoder.options = {"qmin": str(_JPEG_QUALITY), "qmax": str(_JPEG_QUALITY)}
        return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    except av.FFmpegError as error:
        raise Unavailable(f"no still could be made: {error.strerror}") from error


def _turned_picture(picture: VideoFrame, rotation: int) -> VideoFrame:
    """A yuv420p picture with even sides, turned clockwise."""
    width, height = picture.width, picture.height
    flat: NDArray[Any] = picture.to_ndarray().reshape(-1)
    quarter = width * height // 4
    planes = (
        flat[: 4 * quarter].reshape(height, width),
        flat[4 * quarter : 5 * quarter].reshape(height // 2, width // 2),
        flat[5 * quarter :].reshape(height // 2, width // 2),
    )
    joined = np.concatenate([np.ascontiguousarray(turned(plane, rotation)).reshape(-1) for plane in planes])
    shown_width, shown_height = turned_size(width, height, rotation)
    return VideoFrame.from_ndarray(joined.reshape(shown_height * 3 // 2, shown_width), format="yuv420p")
