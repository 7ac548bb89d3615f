"""Small scenes with known motion, drawn for the tests of the detector: a textured wall, and somebody who walks by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pinthesky.device.motion import LumaMotion, MotionScore

    Frame = NDArray[np.uint8]

FPS = 10.0
WIDTH, HEIGHT = 320, 240


class Camera:
    """A fixed camera before a textured wall, with sensor noise of `sigma` grey levels; the same frames every time."""

    def __init__(self, width: int = WIDTH, height: int = HEIGHT, *, sigma: float = 1.5, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.width, self.height = width, height
        coarse = rng.uniform(70, 190, (height // 20 + 2, width // 20 + 2))
        self.wall = np.kron(coarse, np.ones((20, 20)))[:height, :width].astype(np.float32)
        self._noise = [rng.standard_normal((height, width)).astype(np.float32) * sigma for _ in range(13)]

    def frame(self, i: int, gain: float = 1.0) -> Frame:
        """Frame `i` with nobody there."""
        return self._developed(self.wall * gain, i)

    def walker(self, i: int, left: float, *, top: float = 0.4, grey: float = 25.0) -> Frame:
        """Frame `i` with a person of 40x100 pixels (of 320x240) whose left side is at `left` pixels."""
        scene = self.wall.copy()
        wide, tall = self.width // 8, int(self.height * 0.42)
        first, row = round(left), int(self.height * top)
        scene[row : row + tall, max(first, 0) : max(first + wide, 0)] = grey
        return self._developed(scene, i)

    def _developed(self, scene: NDArray[np.float32], i: int) -> Frame:
        noise = np.roll(self._noise[i % 13], 17 * i, axis=1)
        return np.clip(scene + noise, 0, 255).astype(np.uint8)


def judged(
    detector: LumaMotion, frames: Iterable[Frame], *, fps: float = FPS, start_s: float = 0.0
) -> list[MotionScore]:
    """What the detector says of each frame at an even rate."""
    return [detector.update(frame, start_s + i / fps) for i, frame in enumerate(frames)]


def moving(scores: list[MotionScore]) -> list[int]:
    """Numbers of the frames in motion."""
    return [i for i, score in enumerate(scores) if score.in_motion]
