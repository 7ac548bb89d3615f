"""The judge of an encoder's motion vectors, for cameras that give no luma frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from pinthesky.device.light_model import BLOCK, BlockGrid, Polygon
from pinthesky.device.motion import DEFAULT_SENSITIVITY, MotionScore, checked_sensitivity
from pinthesky.errors import InvalidInput
from pinthesky.model.settings import before_turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pinthesky.device.light_model import BoolGrid

MACROBLOCK = 16
"""Edge of what one vector speaks for, in pixels (ITU-T H.264)."""


class VectorMotion:
    """The classic rule on an encoder's motion vectors: motion when more than ``sensitivity`` macroblocks move fast.

    Fast means a vector longer than 60, in the encoder's units, as in picamera's documented motion detection recipe.
    A macroblock belongs to zones and masks as a block of luma does (see `BlockGrid.watched`).
    """

    FAST = 60

    def __init__(
        self,
        width: int,
        height: int,
        *,
        sensitivity: int = DEFAULT_SENSITIVITY,
        rotation_left: int = 0,
        zones: Sequence[Polygon] = (),
        masks: Sequence[Polygon] = (),
    ) -> None:
        """``width`` and ``height`` in pixels of the picture as it is encoded, at least 16.

        Polygons are in thousandths of the picture as shown, which is the encoded one turned clockwise by
        ``rotation_left`` (0, 90, 180, 270). Raises InvalidInput for a size or a sensitivity out of bounds.
        """
        if width < MACROBLOCK or height < MACROBLOCK:
            raise InvalidInput("size", f"must be at least {MACROBLOCK}x{MACROBLOCK}, not {width}x{height}")
        self._sensitivity = checked_sensitivity(sensitivity)
        self._watched: Optional[BoolGrid] = None
        if zones or masks:
            shrunk = MACROBLOCK // BLOCK
            grid = BlockGrid(-(-width // shrunk), -(-height // shrunk))
            self._watched = grid.watched(
                [before_turn(polygon, rotation_left) for polygon in zones],
                [before_turn(polygon, rotation_left) for polygon in masks],
            )

    def update(
        self,
        vectors: NDArray[Any],
        timestamp_s: float,  # noqa: ARG002 - one call for both judges
    ) -> MotionScore:
        """Judge one frame of vectors: a structured array (rows, columns) with signed ``x`` and ``y``, or the last axis.

        One column more than the picture has macroblocks, as the Pi's firmware gives, is none of the picture. The score
        is the number of fast macroblocks over the least number that is reported. Raises InvalidInput for another shape.
        """
        if vectors.dtype.names is not None and {"x", "y"} <= set(vectors.dtype.names):
            x, y = vectors["x"], vectors["y"]
        elif vectors.dtype.names is None and vectors.ndim == 3 and vectors.shape[2] == 2:
            x, y = vectors[..., 0], vectors[..., 1]
        else:
            raise InvalidInput(
                "vectors",
                f"must have fields x and y or be (rows, columns, 2), not {vectors.dtype} {tuple(vectors.shape)}",
            )
        across, down = x.astype(np.int32), y.astype(np.int32)
        is_fast = across * across + down * down > self.FAST * self.FAST
        if self._watched is not None:
            is_fast = self._where_watched(is_fast, self._watched)
        fast = int(np.count_nonzero(is_fast))
        return MotionScore(fast > self._sensitivity, fast / (self._sensitivity + 1), fast)

    @staticmethod
    def _where_watched(is_fast: BoolGrid, watched: BoolGrid) -> BoolGrid:
        rows, columns = watched.shape
        if is_fast.shape not in ((rows, columns), (rows, columns + 1)):
            raise InvalidInput("vectors", f"must be {rows} rows of {columns} macroblocks, not {tuple(is_fast.shape)}")
        return np.logical_and(is_fast[:, :columns], watched)
