"""Pictures as a Pi's camera lays them into memory: three planes with padded rows. Views, masks, luma and stills."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import numpy as np

from pinthesky.device.cameras.geometry import (
    LUMA_HEIGHT_MAX,
    LUMA_WIDTH_MAX,
    even_size,
    polygon_mask,
    turned,
    turned_size,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pinthesky.model.settings import Polygon

_NEUTRAL_CHROMA = 128
_BLACK_LIMITED, _BLACK_FULL = 16, 0


class Planes(NamedTuple):
    """Views of one picture: `luma` uint8 (height, width), `blue` and `red` uint8 (height / 2, width / 2)."""

    luma: NDArray[Any]
    blue: NDArray[Any]
    red: NDArray[Any]

    def copy(self) -> Planes:
        """The same in memory of its own."""
        return Planes(self.luma.copy(), self.blue.copy(), self.red.copy())


class Layout(NamedTuple):
    """Where the planes of a picture lie: rows of `stride` bytes, those of colour half as long, without gaps between."""

    width: int
    height: int
    stride: int

    def planes(self, buffer: NDArray[Any]) -> Planes:
        """Views into `buffer`, uint8 (bytes,), which may be longer than the picture."""
        luma_end = self.height * self.stride
        quarter = (self.height // 2) * (self.stride // 2)
        rows, columns = self.height // 2, self.width // 2
        return Planes(
            buffer[:luma_end].reshape(self.height, self.stride)[:, : self.width],
            buffer[luma_end : luma_end + quarter].reshape(rows, self.stride // 2)[:, :columns],
            buffer[luma_end + quarter : luma_end + 2 * quarter].reshape(rows, self.stride // 2)[:, :columns],
        )


class _Patch(NamedTuple):
    """A hidden part of a plane: its bounding box, and which pixels of it where that is not all."""

    box: tuple[slice, slice]
    within: Optional[NDArray[np.bool_]]

    def fill(self, plane: NDArray[Any], value: int) -> None:
        if self.within is None:
            plane[self.box] = value
        else:
            np.copyto(plane[self.box], value, where=self.within)


class PrivacyBurner:
    """Blackens privacy masks in the camera's own memory, before anything is made of the picture.

    Only the box around each mask is touched: a rectangle costs as much as filling memory.
    """

    def __init__(
        self, polygons: Sequence[Polygon], layout: Layout, *, rotation_left: int, full_range: bool = False
    ) -> None:
        """The polygons are those of the picture as shown, which is this one turned by `rotation_left`."""
        self._black = _BLACK_FULL if full_range else _BLACK_LIMITED
        self._luma: list[_Patch] = []
        self._chroma: list[_Patch] = []
        width, height = layout.width, layout.height
        for polygon in polygons:
            shown = polygon_mask([polygon], *turned_size(width, height, rotation_left))
            hidden = np.ascontiguousarray(turned(shown, -rotation_left))
            # A colour sample is hidden as soon as one of its four pixels is.
            blocks = hidden.reshape(height // 2, 2, width // 2, 2).any(axis=(1, 3))
            self._luma.append(_patch(hidden))
            self._chroma.append(_patch(np.asarray(blocks)))

    def burn(self, planes: Planes) -> None:
        """Hide what is to be hidden, in place."""
        for patch in self._luma:
            patch.fill(planes.luma, self._black)
        for patch in self._chroma:
            patch.fill(planes.blue, _NEUTRAL_CHROMA)
            patch.fill(planes.red, _NEUTRAL_CHROMA)


class LumaTap:
    """Makes luma frames, as shown and in full range, of the low-resolution stream.

    The stream has the right size as a rule. Where the camera gave a larger one, each pixel is the mean of a block.
    """

    def __init__(self, layout: Layout, *, rotation_left: int, full_range: bool = False) -> None:
        width_max, height_max = turned_size(LUMA_WIDTH_MAX, LUMA_HEIGHT_MAX, rotation_left)
        self._block = max(1, math.ceil(layout.width / width_max), math.ceil(layout.height / height_max))
        self._width, self._height = even_size(layout.width // self._block, layout.height // self._block)
        self._rotation_left = rotation_left
        self._table = None if full_range else _full_range_table(16, 219).tobytes()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the luma frames."""
        return turned_size(self._width, self._height, self._rotation_left)

    def luma(self, planes: Planes) -> NDArray[Any]:
        """uint8 (height, width) in memory that nothing else uses."""
        plane = planes.luma
        if self._block > 1:
            block = self._block
            whole = plane[: self._height * block, : self._width * block]
            plane = whole.reshape(self._height, block, self._width, block).mean(axis=(1, 3)).astype(np.uint8)
        return turned(self._in_full_range(plane), self._rotation_left)

    def _in_full_range(self, plane: NDArray[Any]) -> NDArray[Any]:
        if self._table is None:
            return plane.copy()
        # Of bytes, since numpy would look up by indices eight times the size of the picture, in fresh memory each time.
        return np.frombuffer(bytearray(plane.tobytes()).translate(self._table), np.uint8).reshape(plane.shape)


def as_shown(planes: Planes, *, rotation_left: int, full_range: bool = False) -> Planes:
    """`planes` as a JPEG holds them: turned, contiguous, luma and colour in full range (JFIF)."""
    luma, blue, red = (np.ascontiguousarray(turned(plane, rotation_left)) for plane in planes)
    if full_range:
        return Planes(luma, blue, red)
    luma_table, chroma_table = _full_range_table(16, 219), _full_range_chroma_table()
    return Planes(luma_table.take(luma), chroma_table.take(blue), chroma_table.take(red))


def _patch(hidden: NDArray[np.bool_]) -> _Patch:
    rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    within = hidden[box]
    return _Patch(box, None if within.all() else within.copy())


def _full_range_table(black: int, span: int) -> NDArray[Any]:
    """From video range, in which `span` steps lie above `black` (ITU-R BT.601), to 0 to 255."""
    values = (np.arange(256) - black) * 255.0 / span
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _full_range_chroma_table() -> NDArray[Any]:
    values = (np.arange(256) - _NEUTRAL_CHROMA) * 255.0 / 224 + _NEUTRAL_CHROMA
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
