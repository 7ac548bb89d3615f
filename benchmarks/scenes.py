"""Recordings for the benchmarks, made of the project's own footage: real pictures at 640x480 and 20 fps.

The footage has 10 pictures a second, so each is shown twice; noise like that of a sensor is laid over every picture, or
the second of each pair would cost the encoder, the decoder and the detector nothing. H.264 at 2 Mb/s, as an encoder in
hardware gives it: no B-frames, a keyframe every two seconds, parameter sets before each. Luma frames are 320x240, ten
a second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from benchmarks.measuring import ROOT
from benchmarks.replay_camera import Recording
from pinthesky.device.cameras.pictures import LumaMaker, jpeg
from pinthesky.device.ports import Packet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Planes = NDArray[np.uint8]

WIDTH, HEIGHT, FPS = 640, 480, 20
BITRATE = 2_000_000
GOP = 2 * FPS
NOISE_SIGMA = 1.5
_FOOTAGE = ROOT / "tests" / "footage" / "people.mp4"
_FOOTAGE_FPS = 10

# Frames of the footage, first and last, by what tests/footage/people.json says of them.
QUIET = (204, 297)
"""Nothing moves; played forth and back."""
BUSY = (100, 329)
"""23 s, of which two passages of somebody take 4.6 s: a fifth."""
BUSY_SHORT = (150, 205)
"""5.6 s with one passage, for a quick look at whether everything runs."""
CROSSINGS_QUIET_S = (4.2, 4.7, 4.4)
"""Before each of the crossings of `crossings`: a clip with the shortest post-roll ends within 3.2 s, and the event that
tells of it keeps the event file for 0.6 s more."""
CROSSING_S = 1.0


def quiet(folder: Path, *, short: bool = False) -> Recording:
    """A lawn on which nothing happens, 18.8 s."""
    frames = _footage(QUIET[0], QUIET[0] + 20 if short else QUIET[1])
    return _record(folder, [*frames, *frames[::-1]], repeat=FPS // _FOOTAGE_FPS, marks=())


def busy(folder: Path, *, short: bool = False) -> Recording:
    """The lawn, which somebody crosses twice in 23 s: motion a fifth of the time."""
    return _record(folder, _footage(*(BUSY_SHORT if short else BUSY)), repeat=FPS // _FOOTAGE_FPS, marks=())


def crossings(folder: Path) -> Recording:
    """The lawn, and again and again a dark figure that is there from one picture to the next; those are marked."""
    lawn = _footage(QUIET[0], QUIET[0])[0]
    frames: list[Planes] = []
    marks = []
    for number, quiet_s in enumerate(CROSSINGS_QUIET_S):
        frames += [lawn] * round(quiet_s * FPS)
        marks.append(len(frames))
        for step in range(round(CROSSING_S * FPS)):
            shown = lawn.copy()
            left, top = 80 + number * 140 + step * 6, 150
            shown[top : top + 180, left : left + 70] = 30
            frames.append(shown)
    return _record(folder, frames, repeat=1, marks=marks)


def packets_of(recording: Recording) -> list[Packet]:
    """All its packets, as the RTSP server of the tests takes them."""
    data = recording.data.read_bytes()
    return [
        Packet(data[picture.offset : picture.offset + picture.size], picture.timestamp_us, picture.is_keyframe)
        for picture in recording.pictures
    ]


def _footage(first: int, last: int) -> list[Planes]:
    """Frames of the footage as planes of yuv420p."""
    with av.open(str(_FOOTAGE)) as container:
        shown = enumerate(container.decode(video=0))
        return [
            frame.to_ndarray(format="yuv420p").astype(np.uint8, copy=False)
            for number, frame in shown
            if first <= number <= last
        ]


def _record(folder: Path, frames: Sequence[Planes], *, repeat: int, marks: Sequence[int]) -> Recording:
    folder.mkdir(parents=True)
    pictures: list[list[Any]] = []
    luma_maker = LumaMaker(WIDTH, HEIGHT, 0)
    still_size = 0
    with (folder / "data").open("wb") as data:
        for number, (picture, packet) in enumerate(_encoded(frames, repeat)):
            if number == 0:
                still_size = data.write(jpeg(picture, 0))
            offset = data.tell()
            data.write(packet)
            luma_offset = None
            # A mark is put on a picture with a luma frame, which is every second one.
            if number % (FPS // 10) == 0:
                luma_offset = data.tell()
                data.write(luma_maker.luma(picture).tobytes())
            pictures.append(
                [number * 1_000_000 // FPS, packet.is_keyframe, offset, packet.size, luma_offset, number in marks]
            )
    index = {
        "size": [WIDTH, HEIGHT],
        "luma_size": luma_maker.size,
        "framerate": FPS,
        "duration_us": len(pictures) * 1_000_000 // FPS,
        "still_size": still_size,
        "pictures": pictures,
    }
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return Recording(folder)


def _encoded(frames: Sequence[Planes], repeat: int) -> Iterator[tuple[av.VideoFrame, Any]]:
    """Each picture with noise, and its packet."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.bit_rate, encoder.gop_size, encoder.max_b_frames = BITRATE, GOP, 0
    encoder.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "profile": "high",
        "maxrate": str(BITRATE),
        "bufsize": str(BITRATE // 2),
        "forced-idr": "1",
        "x264-params": f"keyint={GOP}:min-keyint={GOP}:scenecut=0:repeat-headers=1:annexb=1",
    }
    random = np.random.default_rng(1)
    layers = [np.round(random.normal(0, NOISE_SIGMA, (HEIGHT, WIDTH))).astype(np.int16) for _ in range(13)]
    number = 0
    for planes in frames:
        for _ in range(repeat):
            noisy = planes.copy()
            layer = np.roll(layers[number % len(layers)], number * 37 % HEIGHT, axis=0)
            noisy[:HEIGHT] = np.clip(planes[:HEIGHT] + layer, 0, 255)
            picture = av.VideoFrame.from_ndarray(noisy, format="yuv420p")
            picture.pts, picture.time_base = number, encoder.time_base
            (packet,) = encoder.encode(picture)
            yield picture, packet
            number += 1
