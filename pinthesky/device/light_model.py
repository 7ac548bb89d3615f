"""Luma frames as grids of 8x8 block means, and the map of light from the learned scene to the present frame.

Everything here is about one picture and its light; what counts as motion is decided in :mod:`pinthesky.device.motion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pinthesky.errors import InvalidInput

if TYPE_CHECKING:  # numpy 1.19, which Bullseye has, knows no NDArray
    from numpy.typing import NDArray

    FloatGrid = NDArray[np.float32]
    BoolGrid = NDArray[np.bool_]

BLOCK = 8
"""Edge of a block in pixels."""

Polygon = Sequence[tuple[int, int]]

_ADD_LANES = np.uint64(0x0001000100010001)
_TOP_LANE = np.uint64(48)


class BlockGrid:
    """Means of 8x8 blocks of a uint8 plane; blocks cut by the right or lower edge are means over what is there.

    Columns of eight pixels are summed into uint16 (at most 2040); then four such columns at a time, as the lanes of a
    64-bit word (two words of a block together hold at most 4080 a lane, a block at most 16320): nothing can wrap.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows, self.columns = -(-height // BLOCK), -(-width // BLOCK)
        self._padded = np.zeros((self.rows * BLOCK, self.columns * BLOCK), np.uint8)
        self._whole = self._padded.shape == (height, width)
        self._columns = np.empty((self.rows, self.columns * BLOCK), np.uint16)
        words: NDArray[np.uint64] = self._columns.view(np.uint64)
        self._left, self._right = words[:, ::2], words[:, 1::2]
        self._sums = np.empty((self.rows, self.columns), np.uint64)
        tall = np.full(self.rows, BLOCK)
        tall[-1] = height - (self.rows - 1) * BLOCK
        wide = np.full(self.columns, BLOCK)
        wide[-1] = width - (self.columns - 1) * BLOCK
        self._per_pixel = (1.0 / np.outer(tall, wide)).astype(np.float32)

    def means(self, luma: NDArray[np.uint8], out: FloatGrid) -> None:
        """Write the block means of ``luma`` (uint8; height, at least width) into ``out`` (rows, columns; grey levels).

        Raises InvalidInput for another shape or type.
        """
        if luma.ndim != 2 or luma.shape[0] != self.height or luma.shape[1] < self.width or luma.dtype != np.uint8:
            raise InvalidInput(
                "luma", f"must be uint8 ({self.height}, {self.width} or wider), not {luma.dtype} {tuple(luma.shape)}"
            )
        if self._whole:
            pixels = luma[:, : self.width]
        else:
            pixels = self._padded
            np.copyto(pixels[: self.height, : self.width], luma[:, : self.width])
        by_block = pixels.reshape(self.rows, BLOCK, self.columns * BLOCK)
        np.add.reduce(by_block, axis=1, dtype=np.uint16, out=self._columns)
        np.add(self._left, self._right, out=self._sums)
        np.multiply(self._sums, _ADD_LANES, out=self._sums)
        np.right_shift(self._sums, _TOP_LANE, out=self._sums)
        np.multiply(self._sums, self._per_pixel, out=out, casting="unsafe")

    def coverage(self, polygon: Polygon) -> FloatGrid:
        """Part (0..1) of each block inside ``polygon``, whose points are thousandths of the picture.

        By the even-odd rule, sampled at 4x4 points per block. A polygon too small to hold a sample still covers a
        little of the block its middle lies in.
        """
        steps = 4
        x = (np.arange(self.columns * steps) + 0.5) * (BLOCK / steps) * (1000.0 / self.width)
        y = (np.arange(self.rows * steps) + 0.5) * (BLOCK / steps) * (1000.0 / self.height)
        inside = np.zeros((y.size, x.size), np.bool_)
        corners = [(float(px), float(py)) for px, py in polygon]
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1]):
            if y0 == y1:
                continue
            spans = (y0 <= y) != (y1 <= y)
            crossing = x0 + (y - y0) * ((x1 - x0) / (y1 - y0))
            inside ^= spans[:, None] & (x[None, :] < crossing[:, None])
        part = inside.reshape(self.rows, steps, self.columns, steps).mean(axis=(1, 3), dtype=np.float32)
        if corners and not inside.any():
            middle_x = sum(px for px, _ in corners) / len(corners)
            middle_y = sum(py for _, py in corners) / len(corners)
            column = int(middle_x * self.width / 1000 / BLOCK)
            row = int(middle_y * self.height / 1000 / BLOCK)
            part[min(max(row, 0), self.rows - 1), min(max(column, 0), self.columns - 1)] = 1 / 32
        return np.asarray(part, np.float32)

    def watched(self, zones: Sequence[Polygon], masks: Sequence[Polygon]) -> BoolGrid:
        """Which blocks count: at least half inside some zone (all when there is none), untouched by every mask.

        A zone that covers no block by half counts the blocks it covers most, so a small zone does not vanish.
        """
        counted = np.full((self.rows, self.columns), not zones)
        for zone in zones:
            part = self.coverage(zone)
            counted |= part >= min(0.5, float(part.max()) or 1.0)
        for mask in masks:
            counted &= self.coverage(mask) == 0
        return counted


class Neighbourhood:
    """Sums or maxima over the square of 3 (``reach`` 1) or 5 (``reach`` 2) blocks around each block.

    Outside the picture counts as zero. A span of five is two, four, then five: three additions instead of four.
    """

    def __init__(self, rows: int, columns: int, reach: int) -> None:
        self._wide = reach == 2
        self._padded = np.zeros((rows + 2 * reach, columns + 2 * reach), np.float32)
        self._across = np.empty((rows + 2 * reach, columns), np.float32)
        self._pairs_across = np.empty((rows + 2 * reach, columns + 2 * reach - 1), np.float32)
        self._pairs_down = np.empty((rows + 2 * reach - 1, columns), np.float32)
        self._rows, self._columns, self._last = rows, columns, 2 * reach
        self.input = self._padded[reach : reach + rows, reach : reach + columns]
        """Write here what is to be summed."""

    def sum(self, out: FloatGrid) -> None:
        """Write the sums over ``input`` into ``out`` (rows, columns)."""
        self._reduce(np.add, out)

    def max(self, out: FloatGrid) -> None:
        """Write the maxima over ``input`` (nothing negative) into ``out`` (rows, columns)."""
        self._reduce(np.maximum, out)

    def _reduce(self, join: np.ufunc, out: FloatGrid) -> None:
        rows, columns, last = self._rows, self._columns, self._last
        padded, across, pairs, below = self._padded, self._across, self._pairs_across, self._pairs_down
        join(padded[:, :-1], padded[:, 1:], out=pairs)
        if self._wide:
            join(pairs[:, :columns], pairs[:, 2 : columns + 2], out=across)
            join(across, padded[:, last:], out=across)
        else:
            join(pairs[:, :columns], padded[:, last:], out=across)
        join(across[:-1], across[1:], out=below)
        if self._wide:
            join(below[:rows], below[2 : rows + 2], out=out)
            join(out, across[last:], out=out)
        else:
            join(below[:rows], across[last:], out=out)


class ToneCurve:
    """How the brightness of a scene maps to what is seen of it now, whatever the scene's blocks are.

    A monotone curve through the medians of groups of equally bright blocks: medians let less than half of a group be
    something else, and a curve follows what gain and offset cannot (saturation, gamma, the switch to infrared).
    """

    GROUPS = 12

    def __init__(self, scene: NDArray[np.float32], seen: NDArray[np.float32]) -> None:
        order = np.argsort(scene)
        size = scene.size // self.GROUPS
        order = order[: size * self.GROUPS].reshape(self.GROUPS, size)
        before = scene[order[:, size // 2]]
        after = np.maximum.accumulate(np.partition(seen[order], size // 2, axis=1)[:, size // 2])
        contrast = float(before[-1] - before[0])
        self.usable = contrast >= 16.0
        """Whether the scene has blocks of different brightness to tell a curve from."""
        slope = float(after[-1] - after[0]) / max(contrast, 1.0)
        dark = min(max(float(after[0]) - slope * float(before[0]), 0.0), float(after[0]))
        bright = max(min(float(after[-1]) + slope * (255.0 - float(before[-1])), 255.0), float(after[-1]))
        self._before = np.concatenate(([0.0], before, [255.0]))
        self._after = np.concatenate(([dark], after, [bright]))

    def __call__(self, scene: FloatGrid) -> FloatGrid:
        """The scene as the present light would show it (grey levels)."""
        return np.interp(scene, self._before, self._after).astype(np.float32)


class LightModel:
    """The learned scene in the present light, and how each block differs from it.

    The light of the whole picture is followed on every frame as gain and offset (weighted least squares over blocks
    where nothing moves). When many quiet blocks change at once, three explanations compete for each block: a tone
    curve, light that differs from place to place, and no change at all; what one of them explains is light. What
    remains is compared with its surroundings: a shadow's or a lamp's light is smooth over 5x5 blocks, a person's
    outline is not.

    Grids are (rows, columns) float32 in grey levels. After :meth:`compare`: ``residual`` is seen minus expected,
    ``rough`` its magnitude, ``sharp`` the residual minus the surroundings' common gain, and ``size`` how much of the
    change no light explains.
    """

    MIN_SIGHT = 9.0
    """Grey levels by which a block must miss its expected value before light is asked again."""
    FRESH_SHARE = 0.02
    """Share of blocks that must change at once, away from motion, before more than gain and offset is tried."""
    FRESH_SHARE_IN_MOTION = 0.04
    """The same while somebody moves, who also changes many blocks at once."""
    UNEXPLAINED_SHARE = 0.12
    """Above this share of unexplained blocks the change was not light: a person near the camera is mostly interior,
    which looks like light, but has an outline."""
    EXPLAINED = 0.35
    """A block that misses its expectation by less than this part of its whole change counts as explained."""
    SHARPENED = 1.4
    """The surroundings' mean holds part of the object itself; this gives it back."""
    SOFT = 0.5
    """In restless light, part of the explained change that the unexplained one must exceed."""
    CALMS_DOWN_S = 10.0
    FORGOTTEN = -1000.0
    """Value of ``before`` where there is nothing to remember."""

    def __init__(self, rows: int, columns: int) -> None:
        shape = (rows, columns)
        self.scene, self.before = np.zeros(shape, np.float32), np.full(shape, self.FORGOTTEN, np.float32)
        self.residual, self.rough = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.sharp, self.size = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._spare, self._local = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._weight, self._surroundings = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._missed, self._fresh = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        self.limit = np.full(shape, self.MIN_SIGHT, np.float32)
        self._ones = np.ones(rows * columns, np.float32)
        self._near = Neighbourhood(rows, columns, 2)
        self._gain, self._offset, self._restless = 1.0, 0.0, 0.0

    def restart(self, seen: FloatGrid) -> None:
        """Take what is seen for the scene."""
        self.scene[...] = seen
        self.before[...] = self.FORGOTTEN
        self._gain, self._offset, self._restless = 1.0, 0.0, 0.0

    def refresh(self, usual: FloatGrid) -> None:
        """Bring up to date what need not follow every frame; ``usual`` is the difference each block is known for."""
        np.maximum(usual, self.MIN_SIGHT, out=self.limit)
        self._light_up_memory()
        np.multiply(self.scene, self.scene, out=self._near.input)
        self._near.sum(self._surroundings)
        # The constant keeps a black neighbourhood from explaining everything.
        self._surroundings += np.float32(400.0)
        np.divide(1.0, self._surroundings, out=self._surroundings)

    def _light_up_memory(self) -> None:
        """Bring what is remembered into the present light."""
        if self._gain != 1.0 or self._offset != 0.0:
            known = self.before > self.FORGOTTEN / 2
            if not known.any():
                self._gain, self._offset = 1.0, 0.0
                return
            self.before *= np.float32(self._gain)
            self.before += np.float32(self._offset)
            np.copyto(self.before, self.FORGOTTEN, where=~known)
            self._gain, self._offset = 1.0, 0.0

    def compare(
        self,
        seen: FloatGrid,
        free: BoolGrid,
        least: FloatGrid,
        *,
        differed: BoolGrid,
        in_motion: bool,
        elapsed_s: float,
    ) -> None:
        """Follow the light to ``seen`` and set the differences.

        ``free`` marks blocks where nothing moved lately, ``differed`` those that differed in the last frame; ``least``
        is the difference per block that noise does not make; ``in_motion`` asks for more proof before a change of
        many blocks passes for light.
        """
        if self._restless > 0.02:
            self._restless *= max(0.0, 1.0 - elapsed_s / self.CALMS_DOWN_S)
        np.copyto(self._weight, free)
        np.copyto(self._weight, 0.0, where=differed)
        gain, offset = self._fit(seen)
        expected = self._expect(seen, gain, offset)
        np.greater(self.rough, self.limit, out=self._missed)
        np.logical_and(self._missed, free, out=self._fresh)
        fresh = int(np.count_nonzero(self._fresh))
        if fresh <= 2:
            self._follow(expected, gain, offset)
            self._sharpen(expected)
            return
        if fresh > (self.FRESH_SHARE_IN_MOTION if in_motion else self.FRESH_SHARE) * seen.size:
            self._follow_far(seen, free, least, unexplained=0.05 if in_motion else self.UNEXPLAINED_SHARE)
            return
        np.copyto(self._weight, 0.0, where=self._missed)
        gain, offset = self._fit(seen)
        expected = self._expect(seen, gain, offset)
        self._follow(expected, gain, offset)
        self._sharpen(expected)

    def _fit(self, seen: FloatGrid) -> tuple[float, float]:
        """Gain and offset from the scene to ``seen``; no change without at least eight blocks to go by."""
        weight, scene, now = self._weight.ravel(), self.scene.ravel(), seen.ravel()
        total = float(np.dot(weight, self._ones))
        if total < 8:
            return 1.0, 0.0
        weighted = np.multiply(self._weight, self.scene, out=self._spare).ravel()
        mean_scene = float(np.dot(weight, scene)) / total
        mean_now = float(np.dot(weight, now)) / total
        spread = float(np.dot(weighted, scene)) / total - mean_scene * mean_scene
        together = float(np.dot(weighted, now)) / total - mean_scene * mean_now
        # A flat scene says nothing about gain: the ridge then leaves the change to the offset.
        gain = (together + 4.0) / (max(spread, 0.0) + 4.0)
        return gain, mean_now - gain * mean_scene

    def _expect(self, seen: FloatGrid, gain: float, offset: float) -> FloatGrid:
        expected = np.multiply(self.scene, np.float32(gain), out=self._local)
        expected += np.float32(offset)
        np.subtract(seen, expected, out=self.residual)
        np.abs(self.residual, out=self.rough)
        return expected

    def _follow(self, expected: FloatGrid, gain: float, offset: float) -> None:
        """Make ``expected`` (in the spare grid ``_local``) the scene, and let what is remembered follow later."""
        self.scene, self._local = expected, self.scene
        self._gain, self._offset = self._gain * gain, self._offset * gain + offset

    def _sharpen(self, expected: FloatGrid) -> None:
        """``sharp`` and ``size`` from ``residual``: what the least-squares gain of the 5x5 surroundings leaves over."""
        np.multiply(self.residual, expected, out=self._near.input)
        local = self._local
        self._near.sum(local)
        local *= self._surroundings
        local *= expected
        np.subtract(self.residual, local, out=self.sharp)
        np.abs(self.sharp, out=self.size)
        self.size *= np.float32(self.SHARPENED)
        np.minimum(self.size, self.rough, out=self.size)
        if self._restless > 0.05:
            np.abs(local, out=local)
            local *= np.float32(self.SOFT * self._restless)
            self.size -= local
            np.maximum(self.size, 0.0, out=self.size)

    def _follow_far(self, seen: FloatGrid, free: BoolGrid, least: FloatGrid, *, unexplained: float) -> None:
        """Many quiet blocks changed at once: find the light that explains most of it, or leave it as motion."""
        origin = self.scene.copy()
        change = seen - origin
        count = int(np.count_nonzero(self._fresh))
        # From place to place: the scene as it was, only its surroundings' gain.
        self.residual[...] = change
        np.abs(change, out=self.rough)
        self._sharpen(origin)
        local_size, local_sharp = self.size.copy(), self.sharp.copy()
        # Everywhere alike: a curve, or gain and offset without the blocks that miss it.
        enough = np.count_nonzero(free) > 0.3 * free.size
        curve = ToneCurve(origin[free], seen[free]) if enough else ToneCurve(origin.ravel(), seen.ravel())
        expected = curve(origin)
        left_over = np.count_nonzero((np.abs(seen - expected) > self.limit) & free)
        if curve.usable and left_over < 0.6 * count:
            self._light_up_memory()
            known = self.before > self.FORGOTTEN / 2
            np.copyto(self.before, curve(self.before), where=known)
            np.subtract(seen, expected, out=self.residual)
            np.abs(self.residual, out=self.rough)
            self.scene[...] = expected
        else:
            np.copyto(self._weight, 0.0, where=self._missed)
            gain, offset = self._fit(seen)
            self._follow(self._expect(seen, gain, offset), gain, offset)
        self._sharpen(self.scene)
        better = local_size < self.size
        np.copyto(self.size, local_size, where=better)
        np.copyto(self.sharp, local_sharp, where=better)
        # No change at all: where the picture is saturated, the light elsewhere says nothing.
        np.abs(change, out=change)
        np.minimum(self.size, change, out=self.size)
        # Measured by what changed at all: a poor fit of the light makes many blocks look changed.
        count = int(np.count_nonzero((change > self.limit) & free))
        change *= np.float32(self.EXPLAINED)
        tolerance = np.maximum(least, change)
        if np.count_nonzero((self.size > tolerance) & free) <= unexplained * count:
            self._accept(origin, seen, free, tolerance=tolerance, share=count / seen.size)

    def _accept(
        self, origin: FloatGrid, seen: FloatGrid, free: BoolGrid, *, tolerance: FloatGrid, share: float
    ) -> None:
        """The change was light: what lies still is learned at once, what moves is carried along with its neighbours."""
        self._restless = max(self._restless, min(1.0, 10 * share))
        lit = free if share > 0.15 else free & (self.size < tolerance)
        np.copyto(self.before, self.scene, where=lit & (self.before < self.FORGOTTEN / 2))
        self.scene[lit] = seen[lit]
        for grid in (self.size, self.sharp, self.rough, self.residual):
            grid[lit] = 0.0
        if free.all():
            return
        weight = free * origin
        np.multiply(seen - origin, weight, out=self._near.input)
        self._near.sum(self._spare)
        change = self._spare.copy()
        np.multiply(origin, weight, out=self._near.input)
        self._near.sum(self._spare)
        carried = (self._spare > 3000) & ~free
        gain = np.clip(change[carried] / self._spare[carried], -0.6, 1.5)
        self.scene[carried] = origin[carried] * (1 + gain)
        np.subtract(seen, self.scene, out=self.residual)
        np.abs(self.residual, out=self.rough)
        self._sharpen(self.scene)

    def learn(self, rate: FloatGrid, seen: FloatGrid) -> None:
        """Move the scene toward ``seen`` by ``rate`` (0..1 per block)."""
        np.subtract(seen, self.scene, out=self._spare)
        np.multiply(self._spare, rate, out=self._spare)
        self.scene += self._spare

    def take_in(self, seen: FloatGrid, where: BoolGrid, settled: BoolGrid) -> None:
        """What stands still becomes scene; what it hides is remembered where it was ``settled`` or nothing is yet."""
        self._light_up_memory()
        remembered = where & (settled | (self.before < self.FORGOTTEN / 2))
        np.copyto(self.before, self.scene, where=remembered)
        np.copyto(self.scene, seen, where=where)

    def bring_back(self, seen: FloatGrid, least: FloatGrid) -> BoolGrid:
        """Where the remembered scene is seen again it returns; tells where that was."""
        self._light_up_memory()
        back: BoolGrid = (np.abs(seen - self.before) < 0.5 * least) & (self.rough > least)
        np.copyto(self.scene, seen, where=back)
        np.copyto(self.before, self.FORGOTTEN, where=back)
        return back
