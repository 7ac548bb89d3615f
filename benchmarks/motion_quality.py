#!/usr/bin/env python3
"""Judge the motion detector: the shared scenes over many seeds, and this project's own scenes made from the same clips.

    python benchmarks/motion_quality.py [--seeds 7,1,2,3] [--shared ../shared/motion] [--width 320 --height 240]

Prints one line per seed and scene and leaves with 1 when a bar is missed. Own scenes marked "wish" are printed and not
held against the detector. Without the shared folder only the project's own footage is judged.
Needs numpy, opencv-python-headless and av; `detector` is what the shared scorer calls.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pinthesky.device.motion import LumaMotion  # noqa: E402 - the checkout, installed or not

if TYPE_CHECKING:
    from types import ModuleType

Frame = NDArray[np.uint8]
Render = Callable[[int], Frame]
Events = list[tuple[int, int]]


class detector:  # noqa: N801 - the scorer calls its factory so
    """The product's detector with the product's defaults, as the shared scorer calls it."""

    def __init__(self, width: int, height: int, fps: float) -> None:  # noqa: ARG002 - the time stamps tell the rate
        self._motion = LumaMotion(width, height)

    def update(self, luma: Frame, timestamp: float) -> bool:
        """Whether the scene is in motion at this frame."""
        return self._motion.update(luma, timestamp).in_motion


@dataclass(frozen=True)
class Scene:
    """Frames with known motion. `seen_share`: least share of the events' frames that must be in motion."""

    name: str
    frames: int
    events: Events
    render: Render
    fps: float = 10.0
    wish: bool = False
    skip: int = 20
    seen_share: float = 0.0
    still: Events = field(default_factory=list)

    def __iter__(self) -> Iterator[Frame]:
        return (self.render(i) for i in range(self.frames))


def decoded(file: Any) -> list[Frame]:
    """The luma of every frame of a video file (a path or an open file)."""
    with av.open(file, "r") as container:
        return [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in container.decode(video=0)]


class Workshop:
    """Own scenes out of real clips: other places, other light, other weather than the shared ones."""

    def __init__(self, width: int, height: int, *, seed: int, shared: ModuleType) -> None:
        self.width, self.height, self.seed = width, height, seed
        self.rng = np.random.default_rng(seed + 77_000)
        clips = shared.CLIPS
        self.people: list[Frame] = shared.read_luma(clips / "intel_one_by_one_person.mp4", width, height)[:1390]
        self.walk: list[Frame] = shared.read_luma(clips / "opencv_vtest.avi", width, height)
        self.tree: list[Frame] = shared.read_luma(clips / "opencv_tree.avi", width, height)
        self.events: Events = list(shared.PEOPLE)
        self.yard: Frame = np.median(np.stack(self.walk[::6]), axis=0).astype(np.uint8)
        self.room: Frame = np.median(np.stack(self.people[2:56:4]), axis=0).astype(np.uint8)
        self.yy, self.xx = np.mgrid[0:height, 0:width].astype(np.float32)
        self.scale = width / 320
        self._noise = {
            sigma: [np.round(self.rng.standard_normal((height, width)) * sigma).astype(np.int16) for _ in range(17)]
            for sigma in (1.5, 3.0, 6.0)
        }

    def noisy(self, frame: Frame, i: int, sigma: float = 1.5) -> Frame:
        """The frame with sensor noise of `sigma` grey levels."""
        layer = np.roll(self._noise[sigma][(i * 5 + i // 17) % 17], (i * 29) % self.height, 0)
        return np.asarray(cv2.add(frame, layer, dtype=cv2.CV_8U), np.uint8)

    def lit(self, frame: Frame, gain: Any, offset: float = 0.0) -> Frame:
        """The frame under another light; the sensor saturates."""
        lit: Frame = np.clip(frame * np.asarray(gain, np.float32) + offset, 0, 255).astype(np.uint8)
        return lit

    def waving(self, i: int) -> Frame:
        """The swaying tree without end: its frames forth and back."""
        k = i % 104
        return self.tree[k if k <= 52 else 104 - k]

    def cut_out(self, i: int, backdrop: Frame, size: float = 1.0) -> Frame:
        """Whoever is in frame `i` of the people clip, walking before `backdrop`, `size` as tall."""
        shape = cv2.morphologyEx(
            (cv2.absdiff(self.people[i], self.room) > 26).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
        )
        person = self.people[i]
        if size < 1.0:
            small = (int(self.width * size), int(self.height * size))
            left, top = (self.width - small[0]) // 2, self.height - small[1]
            shape_small, person_small = cv2.resize(shape, small), cv2.resize(person, small)
            shape, person = np.zeros_like(shape), np.zeros_like(person)
            shape[top:, left : left + small[0]] = shape_small
            person[top:, left : left + small[0]] = person_small
        return np.where(shape > 0, person, backdrop)

    def compressed(self, render: Render, frames: int, *, rate: int, group: int) -> list[Frame]:
        """The luma of the scene after H.264 at `rate` bit/s with a keyframe every `group` frames."""
        file = io.BytesIO()
        with av.open(file, "w", "mp4") as container:
            stream = container.add_stream(
                "libx264", rate=10, options={"g": str(group), "preset": "veryfast", "sc_threshold": "0"}
            )
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = self.width, self.height, "yuv420p", rate
            for i in range(frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(render(i), "gray")))
            container.mux(stream.encode())
        file.seek(0)
        return decoded(file)

    def scenes(self) -> list[Scene]:
        """All own scenes."""
        return [*self.people_scenes(), *self.still_scenes(), *self.light_scenes(), *self.weather_scenes()]

    def people_scenes(self) -> list[Scene]:
        """Somebody moves."""
        people, walk, tree, events, n = self.people, self.walk, self.tree, self.events, len(self.people)
        half = [(a // 2, b // 2) for a, b in events]
        quick = [(30, 226), (251, 352), (372, 436), (460, 683)]  # what lies closer than 1.5 s is one event
        h264 = self.compressed(lambda i: self.noisy(people[i], i), n, rate=90_000, group=20)
        late = [(a - 100, b - 100) for a, b in events[1:]]
        return [
            Scene(
                "own_people_mirrored_dusk",
                n,
                events,
                lambda i: self.noisy(self.lit(people[i][:, ::-1], 0.3, 12), i, 3.0),
            ),
            Scene("own_people_upside_down", n, events, lambda i: self.noisy(people[i][::-1], i)),
            Scene("own_people_twice_as_fast", n // 2, quick, lambda i: self.noisy(people[2 * i], i), wish=True),
            Scene("own_people_5_fps", n // 2, half, lambda i: self.noisy(people[2 * i], i), fps=5.0),
            Scene(
                "own_people_20_fps",
                2 * n,
                [(2 * a, 2 * b + 1) for a, b in events],
                lambda i: self.noisy(people[i // 2], i),
                fps=20.0,
                skip=40,
            ),
            Scene("own_people_h264_90_kbit", n, events, lambda i: h264[i]),
            Scene("own_people_in_the_yard", n, events, lambda i: self.noisy(self.cut_out(i, self.yard, 0.45), i)),
            Scene("own_people_before_a_tree", n, events, lambda i: self.noisy(self.cut_out(i, self.waving(i)), i)),
            Scene("own_somebody_there_at_start", n - 100, late, lambda i: self.noisy(people[i + 100], i), skip=110),
            Scene("own_vtest_people_throughout", len(walk), [(0, len(walk) - 1)], lambda i: walk[i], seen_share=0.9),
            Scene("own_tree_then_hand", len(tree), [(53, 67)], lambda i: tree[i], fps=15.0, skip=20, seen_share=0.7),
            Scene("own_slow_mover", 900, [(150, 750)], lambda i: self.noisy(self.slow(i), i), seen_share=0.5),
        ]

    def slow(self, i: int) -> Frame:
        """Somebody small who takes a minute to cross half the yard."""
        frame = self.yard.copy()
        if 150 <= i <= 750:
            left, top = int((60 + (i - 150) * 0.3) * self.scale), int(self.height * 0.45)
            frame[top : top + int(24 * self.scale), left : left + int(9 * self.scale)] = 30
        return frame

    def still_scenes(self) -> list[Scene]:
        """Somebody or something that stays."""
        people = self.people

        def stands(i: int) -> Frame:
            """Comes in, stands for a minute like a statue, leaves."""
            k = i if i < 300 else 300 if i < 900 else i - 475
            return people[k]

        def stands_lit(i: int) -> Frame:
            return self.lit(stands(i), 1.0 if i < 450 else 1.5 if i < 700 else 0.9)

        def chair(i: int) -> Frame:
            frame = people[i].copy()
            if i >= 600:
                h, w = int(40 * self.scale), int(24 * self.scale)
                frame[self.height // 2 : self.height // 2 + h, self.width // 6 : self.width // 6 + w] //= 3
            return frame

        arrives_leaves = [(60, 203), (227, 300), (900, 927), (977, 1179)]
        still = [(340, 896)]
        return [
            Scene("own_stands_still_a_minute", 1215, arrives_leaves, lambda i: self.noisy(stands(i), i), still=still),
            Scene(
                "own_stands_still_light_steps",
                1215,
                arrives_leaves,
                lambda i: self.noisy(stands_lit(i), i),
                still=still,
            ),
            Scene("own_chair_was_moved", 740, self.events[:3], lambda i: self.noisy(chair(i), i)),
        ]

    def light_scenes(self) -> list[Scene]:
        """Only the light changes."""
        yard, room, n = self.yard, self.room, 1200
        rng = self.rng
        cloud_phase, lamp_x = rng.uniform(0, 6, 8), float(rng.uniform(0.2, 0.8)) * self.width
        exposure = np.ones(n, np.float32)
        level = 1.0
        for start in range(60, n, 110):
            goal = float(rng.uniform(0.6, 1.6))
            exposure[start : start + 8] = np.linspace(level, goal, 8)
            exposure[start + 8 :] = level = goal

        def clouds(i: int) -> Frame:
            wave = sum(
                np.sin(
                    self.xx * (0.012 + 0.006 * k) / self.scale
                    + self.yy * 0.008 * (k - 1) / self.scale
                    + cloud_phase[k]
                    - i * (0.05 + 0.02 * k)
                )
                for k in range(3)
            )
            return self.lit(yard, 0.75 + 0.25 * np.clip(np.asarray(wave), -1, 1))

        def lamp(i: int) -> Frame:
            falloff = np.exp(-((self.xx - lamp_x) ** 2 + (self.yy * 0.7) ** 2) / (2 * (90 * self.scale) ** 2))
            return self.lit(room, 0.55 + 0.5 * falloff * ((i // 150) % 2))

        def headlights(i: int) -> Frame:
            k = i % 220
            base = self.lit(yard, 0.25)
            if k > 25:
                return base
            x = (k / 25 * 1.6 - 0.3) * self.width
            glow = np.exp(
                -(((self.xx - x) / (45 * self.scale)) ** 2 + ((self.yy - 0.55 * self.height) / (30 * self.scale)) ** 2)
            )
            return self.lit(yard, 0.25 + 0.5 * glow)

        def bands(i: int) -> Frame:
            return self.lit(room, 1 + 0.08 * np.sin(2 * np.pi * (self.yy / (130 * self.scale) + 0.37 * i)))

        return [
            Scene("own_exposure_jumps", n, [], lambda i: self.noisy(self.lit(room, exposure[i]), i), wish=True),
            Scene("own_sunrise", n, [], lambda i: self.noisy(self.lit(yard, 0.2 + 1.2 * min(i / 400, 1)), i, 3.0)),
            Scene("own_mains_bands", n, [], lambda i: self.noisy(bands(i), i)),
            Scene("own_cloud_shadows", n, [], lambda i: self.noisy(clouds(i), i), wish=True),
            Scene("own_lamp_in_the_corner", n, [], lambda i: self.noisy(lamp(i), i)),
            Scene("own_headlights", n, [], lambda i: self.noisy(headlights(i), i, 3.0), wish=True),
        ]

    def weather_scenes(self) -> list[Scene]:
        """Only the weather and the encoder move."""
        yard, n = self.yard, 1200
        width, height, scale = self.width, self.height, self.scale

        def rain(i: int) -> Frame:
            frame, rng = yard.copy(), np.random.default_rng(self.seed * 9_999 + i)
            for x, y in rng.integers(0, (width, height), (60, 2)):
                cv2.line(frame, (int(x), int(y)), (int(x) + 1, int(y) + int(9 * scale)), 185, 1)
            return frame

        flakes = self.rng.uniform(0, 1, (40, 3))

        def snow(i: int) -> Frame:
            frame = self.lit(yard, 0.5)
            for x, y, pace in flakes:
                left = int((x * width + 9 * np.sin(i / 6 + 20 * pace)) % width)
                top = int((y + i * (0.02 + 0.02 * pace)) % 1 * height)
                frame[top : top + max(1, int(2 * scale)), left : left + max(1, int(2 * scale))] = 220
            return frame

        def insects(i: int) -> Frame:
            frame, k = self.lit(yard, 0.4), i % 130
            if k < 4:
                x, y = int((0.2 + 0.2 * k) * width), int((0.3 + 0.1 * k) * height)
                glow = np.exp(-((self.xx - x) ** 2 + (self.yy - y) ** 2) / (2 * (7 * scale) ** 2))
                frame = self.lit(frame, 1.0 + 2.0 * glow)
            return frame

        def gust(i: int) -> Frame:
            return self.waving(i if i > 300 else 0)

        h264 = self.compressed(lambda i: self.noisy(yard, i, 3.0), 600, rate=60_000, group=15)
        return [
            Scene("own_tree_for_two_minutes", n, [], lambda i: self.noisy(self.waving(i), i)),
            Scene("own_calm_then_wind", n, [], lambda i: self.noisy(gust(i), i), wish=True),
            Scene("own_rain", n, [], lambda i: self.noisy(rain(i), i)),
            Scene("own_snow", n, [], lambda i: self.noisy(snow(i), i), wish=True),
            Scene("own_h264_60_kbit_keyframe_pulse", 600, [], lambda i: h264[i]),
            Scene("own_insects", n, [], lambda i: self.noisy(insects(i), i), wish=True),
        ]


@dataclass(frozen=True)
class Verdict:
    """How a detector did on one scene; times in frames."""

    hits: int
    of: int
    false_events: int
    merged: int
    latency: list[int | None]
    quiet_percent: float
    seen_share: float
    still_percent: float
    cpu_us: float

    def missed_bars(self, scene: Scene, *, prompt: bool) -> list[str]:
        """The bars this misses; `prompt` asks for a latency of at most one frame."""
        late = prompt and any(frames is None or frames > 1 for frames in self.latency)
        return [
            name
            for name, missed in (
                ("hits", self.hits < self.of),
                ("merged", self.merged > 0),
                ("false", self.false_events > 1),
                ("quiet", self.quiet_percent > 2.0),
                ("latency", late),
                ("seen", self.seen_share < scene.seen_share),
                ("still", self.still_percent > 2.0),
            )
            if missed
        ]


def runs_of(flags: list[bool], gap: float) -> Events:
    """Frames in motion closer than `gap` frames are one event."""
    found: list[tuple[int, int]] = []
    for i, flag in enumerate(flags):
        if flag and found and i - found[-1][1] <= gap:
            found[-1] = (found[-1][0], i)
        elif flag:
            found.append((i, i))
    return found


def judge(scene: Scene, width: int, height: int) -> Verdict:
    """Run the product's detector over a scene and compare with its truth, by the shared scorer's rules in seconds."""
    motion, flags, spent = detector(width, height, scene.fps), [], 0
    for i, luma in enumerate(scene):
        before = time.process_time_ns()
        flags.append(motion.update(luma, i / scene.fps))
        spent += time.process_time_ns() - before
    fps, truth = scene.fps, scene.events
    found = runs_of(flags, fps)
    near = [(s - 0.5 * fps, s, e) for s, e in truth]
    false = [
        (a, b)
        for a, b in found
        if b >= scene.skip and not any(a <= e + 1.5 * fps and b >= early for early, _, e in near)
    ]
    quiet = [
        flag
        for i, flag in enumerate(flags)
        if i >= scene.skip and not any(s - 0.3 * fps <= i <= e + fps for s, e in truth)
    ]
    shares = [float(np.mean(flags[max(s, scene.skip) : e + 1])) for s, e in truth if e > scene.skip]
    return Verdict(
        hits=sum(any(a <= e + 0.5 * fps and b >= early for a, b in found) for early, _, e in near),
        of=len(truth),
        false_events=len(false),
        merged=sum(max(0, sum(a <= e and b >= s for s, e in truth) - 1) for a, b in found),
        latency=[next((i - s for i in range(s, min(e + 1, len(flags))) if flags[i]), None) for s, e in truth],
        quiet_percent=100 * sum(quiet) / max(1, len(quiet)),
        seen_share=float(np.mean(shares)) if shares else 0.0,
        still_percent=100 * max((float(np.mean(flags[a:b])) for a, b in scene.still), default=0.0),
        cpu_us=spent / 1000 / len(flags),
    )


def report(seed: int | str, scene: Scene, verdict: Verdict, *, prompt: bool) -> bool:
    """Print a line; whether all bars hold, or the scene is only a wish."""
    missed = verdict.missed_bars(scene, prompt=prompt)
    latency = " ".join("-" if frames is None else str(frames) for frames in verdict.latency)
    remark = ("wish, misses " if scene.wish else "MISSES ") + ", ".join(missed) if missed else ""
    print(
        f"{seed!s:>6} {scene.name:34} {verdict.hits}/{verdict.of} {verdict.merged:6} {verdict.false_events:5}"
        f" {verdict.quiet_percent:6.2f} {verdict.seen_share:5.2f} {verdict.cpu_us:7.1f}  {latency:24} {remark}",
        flush=True,
    )
    return scene.wish or not missed


def footage_scenes(width: int, height: int) -> list[Scene]:
    """The project's own footage, which is in every checkout."""
    scenes = []
    for name in ("people", "tree"):
        path = ROOT / "tests" / "footage" / f"{name}.mp4"
        if not path.exists():
            print(f"{path} is missing", file=sys.stderr)
            continue
        truth = json.loads(path.with_suffix(".json").read_text())
        frames = [
            np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            for grey in decoded(str(path))
        ]
        # Passages a second apart are one event; the tips of two shoes are not asked for (tests/footage/README.md).
        events = runs_of([any(a <= i <= b for a, b in truth["moving"]) for i in range(len(frames))], 20)
        scenes.append(
            Scene(f"footage_{name}", len(frames), events, partial(list.__getitem__, frames), float(truth["framerate"]))
        )
    return scenes


def shared_scenes(folder: Path, seed: int, size: tuple[int, int]) -> Iterator[Scene]:
    """The shared scenes and this project's own made of the same clips."""
    sys.path.insert(0, str(folder))
    shared = importlib.import_module("scenarios")
    for given in shared.scenarios(*size, seed):
        yield Scene(given.name, given.frames, given.events, given.render)
    yield from Workshop(*size, seed=seed, shared=shared).scenes()


def main() -> int:
    """Judge and print; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="7,1")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "motion")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    options = parser.parse_args()
    size = options.width, options.height
    print("  seed scene                              hits merged false quiet%  seen  CPU us  latency in frames")
    held = [report("-", scene, judge(scene, *size), prompt=False) for scene in footage_scenes(*size)]
    if (options.shared / "scenarios.py").exists():
        for seed in map(int, options.seeds.split(",")):
            held.extend(
                report(seed, scene, judge(scene, *size), prompt=scene.name.startswith("people_"))
                for scene in shared_scenes(options.shared, seed, size)
            )
    else:
        print(f"{options.shared} is not there: only the project's own footage was judged")
    print(f"{sum(held)} of {len(held)} scenes hold their bars or are wishes")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
