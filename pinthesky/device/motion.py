"""From luma frames to a motion score, and from scores to "motion began" and "motion ended"."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

import numpy as np

from pinthesky.device.light_model import BlockGrid, LightModel, Neighbourhood, Polygon
from pinthesky.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pinthesky.device.light_model import BoolGrid, FloatGrid

__all__ = ["GateChange", "LumaMotion", "MotionGate", "MotionScore", "Polygon", "checked_sensitivity"]

MIN_SENSITIVITY, DEFAULT_SENSITIVITY, MAX_SENSITIVITY = 1, 10, 1000


@dataclass(frozen=True)
class MotionScore:
    """What one frame says about motion."""

    in_motion: bool
    score: float
    """0.0 for a still scene; motion is reported from 1.0 on."""
    changed_blocks: int
    """Blocks (8x8 pixels, or macroblocks) that took part in the judgement of this frame."""


def checked_sensitivity(sensitivity: int) -> int:
    """The number, within its bounds. Raises InvalidInput."""
    if not MIN_SENSITIVITY <= sensitivity <= MAX_SENSITIVITY:
        raise InvalidInput("sensitivity", f"must be {MIN_SENSITIVITY}..{MAX_SENSITIVITY}, not {sensitivity!r}")
    return sensitivity


class _Lag:
    """What the differences were a moment ago, so that what merely differs can be told from what moves."""

    SPAN_S, EVERY_S = 0.35, 0.095
    SLOTS = 5

    def __init__(self, rows: int, columns: int) -> None:
        self._sharp = [np.zeros((rows, columns), np.float32) for _ in range(self.SLOTS)]
        self._residual = [np.zeros((rows, columns), np.float32) for _ in range(self.SLOTS)]
        self._taken_s: list[float] = [0.0] * self.SLOTS
        self._newest = 0
        self._spare = np.zeros((rows, columns), np.float32)

    def restart(self, timestamp_s: float) -> None:
        self._taken_s = [timestamp_s] * self.SLOTS
        for grid in (*self._sharp, *self._residual):
            grid[...] = 0.0

    def change(self, light: LightModel, timestamp_s: float, out: FloatGrid) -> None:
        """Write by how much each block's difference itself changed within the last ``SPAN_S`` (grey levels)."""
        slot = self._newest
        for _ in range(self.SLOTS - 1):
            if timestamp_s - self._taken_s[slot] >= self.SPAN_S:
                break
            slot = slot - 1 if slot else self.SLOTS - 1
        np.subtract(light.sharp, self._sharp[slot], out=out)
        np.abs(out, out=out)
        out *= np.float32(LightModel.SHARPENED)
        np.subtract(light.residual, self._residual[slot], out=self._spare)
        np.abs(self._spare, out=self._spare)
        np.minimum(out, self._spare, out=out)
        # The fit of the light wavers by some percent, and what differs much wavers with it.
        np.multiply(light.rough, np.float32(0.04), out=self._spare)
        out -= self._spare
        if timestamp_s - self._taken_s[self._newest] >= self.EVERY_S:
            self._newest = (self._newest + 1) % self.SLOTS
            np.copyto(self._sharp[self._newest], light.sharp)
            np.copyto(self._residual[self._newest], light.residual)
            self._taken_s[self._newest] = timestamp_s


class LumaMotion:
    """Judge of luma frames: is somebody or something moving in the scene, whatever the light and the weather do.

    A frame becomes means of 8x8 blocks. :class:`LightModel` says how each block differs from the learned scene in a way
    that light does not explain. A block takes part when that exceeds its threshold (six times its learned noise, 1.3
    times the peak it is known for, 0.7 times its neighbours', at least ``FLOOR`` grey levels) and has changed within a
    third of a second, so nothing that merely stands there is motion. Evidence is summed over 3x3 blocks: much of it
    counts at once, little of it only in two frames in a row, and less when the whole picture twitches (rain, snow).

    The score is below 1 while evidence is too thin; from there on it is a tenth of the changed blocks (of 1200, the
    number in a 320x240 picture), but at least 1; all of it divided by ``sensitivity / 10``.

    `docs/reference/motion.md` has the scale of ``sensitivity`` and what is not seen; `benchmarks/motion_cost.py` prints
    what a frame costs. Not for use by several threads at once.
    """

    LEARNING_S = 1.0
    """After a start nothing is reported for so long."""
    STALL_S = 4.0
    """A longer gap between frames, or a step back in time, begins a new scene."""
    TICK_S, SET_S = 0.19, 0.39
    """How often, at most, blocks are learned and thresholds set; not on every frame, to save CPU."""
    FLOOR = 7.0
    """Grey levels a block's mean must change by at least, however quiet it is."""
    PLENTY, LITTLE = 8.0, 1.5
    """Evidence that counts at once, and in two frames in a row: multiples of the threshold, at most 3 a block, summed
    over 3x3 blocks."""
    STAYS_ACTIVE_S = 1.0
    """Around evidence the scene is not learned for so long."""

    def __init__(
        self,
        width: int,
        height: int,
        *,
        sensitivity: int = DEFAULT_SENSITIVITY,
        zones: Sequence[Polygon] = (),
        masks: Sequence[Polygon] = (),
    ) -> None:
        """``width`` and ``height`` in pixels, at least 16; polygons in thousandths of the picture.

        Raises InvalidInput for a size or a sensitivity out of bounds.
        """
        if width < 16 or height < 16:
            raise InvalidInput("size", f"must be at least 16x16, not {width}x{height}")
        self._need = checked_sensitivity(sensitivity) / DEFAULT_SENSITIVITY
        self._grid = BlockGrid(width, height)
        rows, columns = shape = self._grid.rows, self._grid.columns
        self._watched = self._grid.watched(zones, masks)
        self._tenth = 120.0 / (rows * columns)
        self._light = LightModel(rows, columns)
        self._lag = _Lag(rows, columns)
        self._around = Neighbourhood(rows, columns, 1)
        (
            self._seen, self._ratio, self._change, self._evidence, self._evidence_before, self._noise, self._peak,
            self._visits, self._least, self._threshold, self._per_threshold, self._stirs,
        ) = (np.zeros(shape, np.float32) for _ in range(12))  # fmt: skip
        self._free, self._front, self._moving, self._live, self._visiting = (
            np.zeros(shape, np.bool_) for _ in range(5)
        )
        self._active_until_s = np.zeros(shape, np.float64)
        self._stirred_s, self._unsettled_s = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
        self._clear_s = np.zeros(shape, np.float64)
        self._thin, self._nobody_visits, self._visited = True, True, False
        self._everywhere = np.ones(shape, np.bool_)
        self._thrice_least = np.zeros(shape, np.float32)
        self._started_s: Optional[float] = None
        self._last_s = self._ticked_s = self._set_s = self._moved_s = 0.0
        self._clutter = self._twitch = 0.0

    def update(self, luma: NDArray[np.uint8], timestamp_s: float) -> MotionScore:
        """Judge one frame: ``luma`` uint8 (height, at least width), ``timestamp_s`` on the camera's clock in seconds.

        Rows may be wider than the picture (stride). Frame rate may vary; after a stall, or when the clock goes back,
        the scene is learned anew. Raises InvalidInput (a ValueError) for any other shape or type.
        """
        self._grid.means(luma, self._seen)
        elapsed_s = timestamp_s - self._last_s
        if self._started_s is None or not 0.0 <= elapsed_s <= self.STALL_S:
            self._restart(timestamp_s)
            return MotionScore(False, 0.0, 0)
        self._last_s = timestamp_s
        np.less_equal(self._active_until_s, timestamp_s, out=self._free)
        self._light.compare(
            self._seen,
            self._free,
            self._least,
            differed=self._front,
            in_motion=timestamp_s - self._moved_s < 1.5,
            elapsed_s=elapsed_s,
        )
        changed = self._find_live(timestamp_s)
        raw = self._weigh(changed, timestamp_s, elapsed_s)
        score = 0.0 if timestamp_s - self._started_s < self.LEARNING_S else raw / self._need
        if score >= 1.0:
            self._moved_s = timestamp_s
        self._count_visits()
        age_s = timestamp_s - self._started_s
        if age_s < 4.0 or timestamp_s - self._ticked_s >= self.TICK_S:
            self._learn(timestamp_s, age_s)
        return MotionScore(score >= 1.0, score, changed)

    def _restart(self, timestamp_s: float) -> None:
        if not math.isfinite(timestamp_s):
            return
        self._started_s = self._last_s = self._ticked_s = self._set_s = timestamp_s
        self._moved_s = timestamp_s - 60.0
        self._light.restart(self._seen)
        self._lag.restart(timestamp_s)
        self._noise[...] = 1.0
        for grid in (self._peak, self._visits, self._evidence_before):
            grid[...] = 0.0
        for mark in (self._front, self._visiting):
            mark[...] = False
        for moment in (self._active_until_s, self._stirred_s, self._unsettled_s):
            moment[...] = timestamp_s - 60.0
        self._clear_s[...] = timestamp_s
        self._clutter = self._twitch = 0.0
        self._thin, self._nobody_visits, self._visited = True, True, False
        self._set_thresholds(timestamp_s, 0.0)

    def _find_live(self, timestamp_s: float) -> int:
        """Mark the blocks that take part in this frame and count them."""
        np.multiply(self._light.size, self._per_threshold, out=self._ratio)
        np.greater(self._ratio, 1.0, out=self._front)
        self._lag.change(self._light, timestamp_s, self._change)
        np.greater(self._change, self._stirs, out=self._moving)
        np.copyto(self._stirred_s, timestamp_s, where=self._moving)
        np.logical_and(self._front, self._moving, out=self._live)
        np.logical_and(self._live, self._watched, out=self._live)
        return int(np.count_nonzero(self._live))

    def _weigh(self, changed: int, timestamp_s: float, elapsed_s: float) -> float:
        """The score before sensitivity."""
        age_s = timestamp_s - (self._started_s or 0.0)
        settle = min(1.0, elapsed_s / min(8.0, max(1.0, age_s)))
        if not changed:
            if not self._thin:
                self._evidence_before[...] = 0.0
                self._thin = True
            self._clutter -= settle * self._clutter
            return 0.0
        self._thin = False
        np.minimum(self._ratio, 3.0, out=self._ratio)
        np.multiply(self._ratio, self._live, out=self._around.input)
        evidence = self._evidence
        self._around.sum(evidence)
        most = float(evidence.max())
        np.minimum(evidence, self._evidence_before, out=self._ratio)
        twice = float(self._ratio.max())
        alone = np.count_nonzero(np.logical_and(evidence < 3.5, self._live))
        self._clutter += settle * (alone - self._clutter)
        little = self.LITTLE + 0.5 * max(0.0, self._clutter - 2.0) + self._twitch
        raw = max(most / self.PLENTY, twice / little)
        # Somebody who stays stirs a little: that keeps motion going, but does not begin it.
        stays = False
        if timestamp_s - self._moved_s < 2.0:
            known = np.logical_and(self._live, ~self._free)
            stays = bool(np.count_nonzero(known) >= 3.0 + self._clutter)
            if stays:
                np.copyto(self._active_until_s, timestamp_s + self.STAYS_ACTIVE_S, where=known)
        np.copyto(self._active_until_s, timestamp_s + self.STAYS_ACTIVE_S, where=evidence > self.LITTLE)
        self._evidence, self._evidence_before = self._evidence_before, evidence
        return max(1.0, changed * self._tenth) if raw >= 1.0 or stays else raw

    def _count_visits(self) -> None:
        """Count, per block, how often something came and went again: leaves do so all the time, people do not."""
        strong = np.greater(self._light.size, self._least, out=self._live)
        np.logical_and(strong, self._moving, out=strong)
        if self._nobody_visits and not np.count_nonzero(strong):
            return
        visiting = np.logical_or(self._visiting, strong, out=self._visiting)
        gone = np.logical_and(visiting, np.less(self._light.size, 0.6 * self._least), out=strong)
        self._visits += gone
        np.logical_xor(visiting, gone, out=visiting)
        self._nobody_visits = not np.count_nonzero(visiting)

    def _learn(self, timestamp_s: float, age_s: float) -> None:
        """Learn noise, peaks and scene, and what has come to rest; not every frame."""
        elapsed_s = timestamp_s - self._ticked_s
        learning = age_s < self.LEARNING_S
        light, spare, rate = self._light, self._ratio, self._change
        resting = np.less_equal(self._active_until_s, timestamp_s, out=self._free)
        still = np.greater(resting, self._front, out=self._live)
        # Peaks are learned where nothing moves, and where something comes and goes all the time.
        np.minimum(light.size, 80.0 if learning else 30.0, out=spare)
        known = np.logical_or(still, self._visits > 4.5) if self._visited else still
        np.maximum(self._peak, spare, out=self._peak, where=self._everywhere if learning else known)
        # Noise: the mean difference, as the deviation of a normal distribution, a quarter more.
        pace = min(1.0, elapsed_s / (0.5 if learning else 3.0))
        rate.fill(0.05 * pace)
        np.copyto(rate, np.float32(pace), where=still)
        np.minimum(spare, self._thrice_least, out=spare)
        np.multiply(spare, np.float32(1.25), out=spare)
        np.subtract(spare, self._noise, out=spare)
        np.multiply(spare, rate, out=spare)
        np.add(self._noise, spare, out=self._noise)
        self._settle(timestamp_s, resting)
        pace = min(1.0, elapsed_s / 2.0)
        rate.fill(0.1 * pace)
        np.copyto(rate, np.float32(pace), where=still)
        if not learning:
            # Much, but smooth: light that only this place got.
            lit = np.logical_and(still, light.rough > np.maximum(self._least, light.MIN_SIGHT))
            if np.count_nonzero(lit):
                lit &= light.size <= self._least
                np.copyto(rate, np.float32(min(1.0, elapsed_s / 0.3)), where=lit)
        light.learn(rate, self._seen)
        self._ticked_s = timestamp_s
        if age_s < 4.0 or timestamp_s - self._set_s >= self.SET_S:
            self._set_thresholds(timestamp_s, age_s)

    def _settle(self, timestamp_s: float, resting: BoolGrid) -> None:
        """What no longer stirs becomes scene (a parked car, a chair); what hid the scene and left gives it back."""
        np.copyto(self._clear_s, timestamp_s, where=~self._front)
        if not np.count_nonzero(self._front):
            return
        patience = np.where(resting, 0.7, 5.0)
        rested = timestamp_s - self._stirred_s > patience
        if timestamp_s - self._moved_s > 0.8:
            rested |= timestamp_s - self._clear_s > 2.0
        rested &= self._front
        if np.count_nonzero(rested):
            self._light.take_in(self._seen, rested, timestamp_s - self._unsettled_s > 30.0)
        back = self._light.bring_back(self._seen, self._least)
        np.copyto(self._unsettled_s, timestamp_s, where=np.logical_or(self._front, rested))
        np.copyto(self._unsettled_s, timestamp_s - 60.0, where=back)

    def _set_thresholds(self, timestamp_s: float, age_s: float) -> None:
        elapsed_s, self._set_s = timestamp_s - self._set_s, timestamp_s
        self._peak *= np.float32(math.exp(-elapsed_s / 60.0))
        self._visits *= np.float32(math.exp(-elapsed_s / 40.0))
        self._visited = float(self._visits.max()) > 4.5
        restless = float(np.minimum(self._visits, 3.0, out=self._ratio).sum()) / (3 * self._ratio.size)
        self._twitch = max(0.0, 10 * (restless - 0.3))
        noise = np.multiply(self._noise, np.float32(6.0), out=self._ratio)
        np.maximum(noise, self.FLOOR, out=self._least)
        np.multiply(self._least, np.float32(3.0), out=self._thrice_least)
        own = np.multiply(self._peak, np.float32(1.3), out=self._around.input)
        np.maximum(own, noise, out=own)
        self._around.max(self._threshold)
        self._threshold *= np.float32(0.7)
        np.maximum(own, self._threshold, out=self._threshold)
        np.maximum(self._threshold, self.FLOOR, out=self._threshold)
        # A new scene is trusted step by step: leaves have shown only part of what they do.
        self._threshold *= np.float32(1.0 + max(0.0, 1.0 - age_s / 4.0))
        np.divide(1.0, self._threshold, out=self._per_threshold)
        np.multiply(self._threshold, np.float32(0.5), out=self._stirs)
        self._light.refresh(own)


class GateChange(enum.Enum):
    """What an update of the gate changed."""

    NONE = "none"
    BEGAN = "began"
    ENDED = "ended"


class MotionGate:
    """Scores in, "motion began" and "motion ended" out; time is what the caller says it is.

    Motion begins when it has lasted ``min_duration_s`` (quiet shorter than ``hold_s`` does not interrupt it),
    and ends after ``hold_s`` of quiet. Post-roll and cool-down belong to the clip (`clip_recorder`).

    A clock that jumps back counts as no time at all. A clock that jumps ahead by more than ``LEAP_S`` says nothing
    about what happened meanwhile: motion not yet begun starts over; the hold is over.
    """

    LEAP_S = 10.0
    SAME_S = 1e-6
    """Differences of times that are sums of fractions are not trusted beyond this."""

    def __init__(self, *, min_duration_s: float = 0.0, hold_s: float = 1.0) -> None:
        for name, value in (("min_duration", min_duration_s), ("hold", hold_s)):
            if not 0 <= value < math.inf:
                raise InvalidInput(name, f"must be a finite number of seconds from 0 on, not {value!r}")
        self._min_duration_s, self._hold_s = min_duration_s, hold_s
        self._in_motion = False
        self._now_s: Optional[float] = None
        self._moving_since_s: Optional[float] = None
        self._moved_at_s = 0.0
        self._was_quiet = True

    @property
    def in_motion(self) -> bool:
        """Whether motion has begun and not ended."""
        return self._in_motion

    def update(self, in_motion: bool, timestamp_s: float) -> GateChange:
        """Take one judgement made at ``timestamp_s`` (any clock, seconds) and say what it changes."""
        elapsed_s = self._advance(timestamp_s)
        if in_motion:
            return self._moved(elapsed_s)
        return self._rested()

    def _advance(self, timestamp_s: float) -> float:
        """Take over the time; stored times move with a clock that jumped back."""
        now_s = timestamp_s if math.isfinite(timestamp_s) else self._now_s or 0.0
        elapsed_s = 0.0 if self._now_s is None else now_s - self._now_s
        if elapsed_s < 0:
            if self._moving_since_s is not None:
                self._moving_since_s += elapsed_s
            self._moved_at_s += elapsed_s
            elapsed_s = 0.0
        self._now_s = now_s
        return elapsed_s

    def _moved(self, elapsed_s: float) -> GateChange:
        now_s = self._now_s or 0.0
        interrupted = elapsed_s > self.LEAP_S or (
            self._was_quiet and now_s - self._moved_at_s >= self._hold_s - self.SAME_S
        )
        if self._moving_since_s is None or interrupted:
            self._moving_since_s = now_s
        self._moved_at_s, self._was_quiet = now_s, False
        lasted = now_s - self._moving_since_s >= self._min_duration_s - self.SAME_S
        if self._in_motion or not lasted:
            return GateChange.NONE
        self._in_motion = True
        return GateChange.BEGAN

    def _rested(self) -> GateChange:
        now_s = self._now_s or 0.0
        self._was_quiet = True
        if now_s - self._moved_at_s < self._hold_s - self.SAME_S:
            return GateChange.NONE
        self._moving_since_s = None
        if not self._in_motion:
            return GateChange.NONE
        self._in_motion = False
        return GateChange.ENDED
