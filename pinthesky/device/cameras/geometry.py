"""Sizes, turns and polygons of pictures: plain arithmetic on arrays, for every adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pinthesky.model.settings import Polygon

LUMA_WIDTH_MAX = 320
LUMA_HEIGHT_MAX = 240


def luma_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of luma frames of a picture: its shape, within 320x240, never enlarged, both even."""
    scale = min(1.0, LUMA_WIDTH_MAX / width, LUMA_HEIGHT_MAX / height)
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def turned_size(width: int, height: int, rotation: int) -> tuple[int, int]:
    """(width, height) after turning by `rotation` degrees."""
    return (height, width) if rotation in (90, 270) else (width, height)


def turned(plane: NDArray[Any], rotation: int) -> NDArray[Any]:
    """A view of `plane` (height, width) turned clockwise by `rotation`, a multiple of 90 degrees."""
    return np.rot90(plane, -rotation // 90 % 4)


def polygon_mask(polygons: Sequence[Polygon], width: int, height: int) -> NDArray[np.bool_]:
    """Pixels of a picture, (height, width), that any polygon covers (even-odd rule), its border included.

    A pixel is covered when its centre lies inside, or when a border passes through it: what shall be hidden is hidden
    to the last pixel.
    """
    covered = np.zeros((height, width), bool)
    xs = (np.arange(width) + 0.5)[None, :]
    ys = (np.arange(height) + 0.5)[:, None]
    for polygon in polygons:
        inside = np.zeros((height, width), bool)
        corners = [(x * width / 1000, y * height / 1000) for x, y in polygon]
        for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1]):
            if y1 != y2:
                inside ^= ((ys >= y1) != (ys >= y2)) & (xs < x1 + (ys - y1) * (x2 - x1) / (y2 - y1))
            steps = 2 * int(max(abs(x2 - x1), abs(y2 - y1))) + 2
            columns = np.clip(np.linspace(x1, x2, steps).astype(int), 0, width - 1)
            rows = np.clip(np.linspace(y1, y2, steps).astype(int), 0, height - 1)
            covered[rows, columns] = True
        covered |= inside
    return covered


def even_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) with the odd pixel taken off: planes of colour have half the size."""
    return width // 2 * 2, height // 2 * 2


def luma_size_before_turn(width: int, height: int, rotation: int) -> tuple[int, int]:
    """(width, height) to scale to, so that the turned luma frame is within 320x240."""
    return turned_size(*luma_size(*turned_size(width, height, rotation)), rotation)
