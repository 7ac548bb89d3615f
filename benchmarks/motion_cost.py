#!/usr/bin/env python3
"""CPU per frame of the motion detector, beside the least any detector must do, in one run.

    python benchmarks/motion_cost.py [--rounds 5]

A quiet scene and one in which somebody always walks, at three sizes. The floor is one numpy pass over two planes
(maximum minus minimum into buffers that exist already). Each figure is the median over rounds, in microseconds of CPU
per frame, after four seconds of learning; frames come out of a cycle that does not fit the second-level cache.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pinthesky.device.motion import LumaMotion  # noqa: E402 - the checkout, installed or not

SIZES = ((320, 240), (320, 180), (160, 120))
FRAMES = 200
FPS = 10.0


def scene(width: int, height: int, *, walker: bool) -> list[Frame]:
    """Frames of a noisy wall, with somebody walking to and fro or nobody."""
    rng = np.random.default_rng(3)
    wall = np.kron(rng.uniform(70, 190, (height // 20 + 1, width // 20 + 1)), np.ones((20, 20)))[:height, :width]
    frames = []
    for i in range(FRAMES):
        picture = wall + rng.normal(0, 1.5, (height, width))
        if walker:
            left = int((width * 7 // 8) * abs((i % 100) / 50 - 1))
            picture[height // 3 : height // 3 * 2, left : left + width // 8] = 30
        frames.append(np.clip(picture, 0, 255).astype(np.uint8))
    return frames


def per_frame_us(step: Callable[[int], object], rounds: int) -> float:
    """Median over rounds of the CPU time of one step."""
    spent = []
    for round_number in range(rounds):
        before = time.process_time_ns()
        for i in range(FRAMES):
            step(round_number * FRAMES + i)
        spent.append((time.process_time_ns() - before) / FRAMES / 1000)
    return statistics.median(spent)


def detector_us(frames: list[Frame], rounds: int) -> float:
    """CPU per frame of the detector, learned."""
    height, width = frames[0].shape
    motion = LumaMotion(width, height)
    for i in range(40):
        motion.update(frames[i], i / FPS)
    return per_frame_us(lambda i: motion.update(frames[i % FRAMES], (40 + i) / FPS), rounds)


def floor_us(frames: list[Frame], rounds: int) -> float:
    """CPU per frame of one pass over two planes."""
    upper, lower = np.empty_like(frames[0]), np.empty_like(frames[0])

    def step(i: int) -> None:
        one, other = frames[i % FRAMES], frames[(i + 1) % FRAMES]
        np.maximum(one, other, out=upper)
        np.minimum(one, other, out=lower)
        np.subtract(upper, lower, out=upper)

    return per_frame_us(step, rounds)


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print(f"{'size':>8} {'quiet':>8} {'walker':>8} {'floor':>8}   CPU us per frame")
    for width, height in SIZES:
        quiet, busy = scene(width, height, walker=False), scene(width, height, walker=True)
        print(
            f"{width}x{height} {detector_us(quiet, rounds):8.1f} {detector_us(busy, rounds):8.1f}"
            f" {floor_us(quiet, rounds):8.1f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
