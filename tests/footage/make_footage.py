"""Makes people.mp4 and tree.mp4 from the videos of Debian's package opencv-doc. Run by hand; the results are committed.

    apt-get install opencv-doc && python tests/footage/make_footage.py

people.mp4 is the lower middle of vtest.avi, where now and then somebody crosses an otherwise empty lawn. Nothing is
rearranged: frames FIRST to LAST follow each other as they were filmed, at their 10 frames a second. The cut-out is
shown at twice its size so that a daemon meets the usual 640x480. tree.mp4 is the whole of tree.avi.

Truth: the ranges were found as differences from the median of the empty lawn (a blurred pixel more than 22 grey levels
away, at least six of them), and each border was then looked at by eye; in tree.mp4 by eye alone.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.video.frame import VideoFrame

SOURCES = Path("/usr/share/doc/opencv-doc/examples/data")
HERE = Path(__file__).parent


class Cut(NamedTuple):
    """What is taken of a source, and how large it is shown."""

    source: str
    name: str
    first: int
    last: int
    crop: tuple[int, int, int, int]
    """x, y, width, height in the source."""
    size: tuple[int, int]
    framerate: int
    crf: int
    moving: list[tuple[int, int]]
    """Frames of the source with motion, inclusive."""


PEOPLE = Cut(
    source="vtest.avi",
    name="people",
    first=180,
    last=789,
    crop=(240, 336, 320, 240),
    size=(640, 480),
    framerate=10,
    crf=29,
    moving=[(222, 246), (257, 266), (357, 379), (480, 502), (516, 682), (768, 789)],
)
TREE = Cut(
    source="tree.avi",
    name="tree",
    first=0,
    last=67,
    crop=(0, 0, 320, 240),
    size=(320, 240),
    framerate=15,
    crf=30,
    moving=[(53, 67)],
)


def make(cut: Cut) -> None:
    """Write `<name>.mp4` and `<name>.json`."""
    x, y, width, height = cut.crop
    target = HERE / f"{cut.name}.mp4"
    faststart = {"movflags": "faststart"}
    with av.open(str(SOURCES / cut.source)) as source, av.open(str(target), "w", options=faststart) as sink:
        stream = sink.add_stream("libx264", rate=cut.framerate)
        stream.width, stream.height = cut.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 2 * cut.framerate
        # One slice thread: the same bytes on every machine.
        stream.codec_context.thread_count = 1
        stream.options = {
            "profile": "baseline",
            "preset": "veryslow",
            "crf": str(cut.crf),
            "keyint_min": "1",
            "sc_threshold": "0",
        }
        for number, picture in enumerate(source.decode(video=0)):
            if not cut.first <= number <= cut.last:
                continue
            cropped = picture.to_ndarray(format="rgb24")[y : y + height, x : x + width]
            frame = VideoFrame.from_ndarray(cropped.copy(), format="rgb24").reformat(
                *cut.size, format="yuv420p", interpolation="LANCZOS"
            )
            frame.pts, frame.time_base = number - cut.first, Fraction(1, cut.framerate)
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    truth = {
        "framerate": cut.framerate,
        "frames": cut.last - cut.first + 1,
        "moving": [[begin - cut.first, end - cut.first] for begin, end in cut.moving],
    }
    target.with_suffix(".json").write_text(json.dumps(truth) + "\n")


if __name__ == "__main__":
    for each in (PEOPLE, TREE):
        make(each)
