"""The measured side of `adapter_cost.py`, inside the root file system: prints one JSON object and ends.

The encoder hands out access units that exist already and the sensor shows one picture that was painted before, so what
is left to measure is the library, the stand-in for the hardware, and what Python does on top. CPU is that of the whole
process, user and kernel; of single calls that of the thread they run in.
"""

from __future__ import annotations

import collections
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.picamera2 import virtual_camera

stage = virtual_camera.install("pisp")

import picamera2  # noqa: E402 - with the stand-in for the hardware in place
from av.video.frame import VideoFrame  # noqa: E402 - as above
from picamera2.encoders import Encoder  # noqa: E402 - as above
from picamera2.outputs import Output  # noqa: E402 - as above

from pinthesky.device.cameras import picamera2_encoding, picamera2_session  # noqa: E402 - as above
from pinthesky.device.cameras.picamera2 import Picamera2Camera  # noqa: E402 - as above
from pinthesky.device.ports import Packet  # noqa: E402 - as above
from pinthesky.model.settings import CameraSettings  # noqa: E402 - as above

WIDTH, HEIGHT, FPS, GOP = 640, 480, 20, 40
LUMA_EVERY = 2
"""Every second picture is one of the ten luma frames a second."""
START = b"\x00\x00\x00\x01"
KEYFRAME = START + b"\x67\x42" + START + b"\x68\xce" + b"\x00\x00\x01\x65" + b"\x55" * 60_000
OTHER = START + b"\x41" + b"\x55" * 11_000
SOFTWARE_ENCODER: Callable[..., None] = picamera2_encoding.SoftwareEncoder.__init__
MASK = [(0, 0), (300, 0), (300, 400), (0, 400)]


class Units:
    """An encoder that has nothing to do: 2 Mb/s of access units."""

    def __init__(self) -> None:
        self._number = 0

    def next(self) -> bytes:
        """The next access unit."""
        unit = OTHER if self._number % GOP else KEYFRAME
        self._number += 1
        return unit

    def encode(self, _picture: Any, timestamp_us: int) -> list[Packet]:
        """As our encoder's."""
        unit = self.next()
        return [Packet(unit, timestamp_us, unit is KEYFRAME)]


class BareEncoder(Encoder):  # type: ignore[misc] # picamera2 has no types
    """The same for the library alone, with the picture brought to the encoder as the library's own does."""

    def __init__(self) -> None:
        super().__init__()
        self.units = Units()

    def _start(self) -> None:
        """Outputs need not know of the stream."""

    def _encode(self, _stream: Any, request: Any) -> None:
        with picamera2.MappedArray(request, "main", reshape=False) as mapped:
            rows = HEIGHT * 3 // 2
            array = mapped.array[: rows * self.stride].reshape(rows, self.stride)
            VideoFrame.from_numpy_buffer(array, format="yuv420p", width=WIDTH)
            unit = self.units.next()
            self.outputframe(unit, unit is KEYFRAME, self._timestamp(request))


class BareOutput(Output):  # type: ignore[misc] # picamera2 has no types
    """The least an output can do: keep the last packets."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: collections.deque[tuple[bytes, Any]] = collections.deque(maxlen=300)

    def outputframe(self, frame: bytes, keyframe: bool = True, timestamp: Any = None, *_more: object) -> None:  # noqa: ARG002 - the library's order
        """Keep it."""
        self.kept.append((frame, timestamp))


class BareLuma:
    """The least a luma frame can be: a copy of every second small picture."""

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._kept: collections.deque[Any] = collections.deque(maxlen=4)
        self._count = 0

    def look(self, request: Any) -> None:
        """Keep it, or not."""
        self._count += 1
        if self._count % LUMA_EVERY == 0:
            with picamera2.MappedArray(request, "lores", reshape=False) as mapped:
                self._kept.append(mapped.array[: 240 * self._stride].reshape(240, self._stride)[:, :320].copy())


@contextmanager
def bare() -> Iterator[None]:
    """The library alone: packets kept, every second small picture copied."""
    camera = picamera2.Picamera2(0)
    camera.configure(
        camera.create_video_configuration(
            main={"size": (WIDTH, HEIGHT), "format": "YUV420"},
            lores={"size": (320, 240), "format": "YUV420"},
            controls={"FrameDurationLimits": (1_000_000 // FPS,) * 2},
            buffer_count=6,
            display=None,
            queue=False,
        )
    )
    stride = camera.camera_configuration()["lores"]["stride"]
    camera.pre_callback = BareLuma(stride).look
    camera.start_encoder(BareEncoder(), BareOutput(), name="main")
    camera.start()
    try:
        yield
    finally:
        camera.close()


def _idle(encoder: Any, _h264: Any, layout: Any) -> None:
    SOFTWARE_ENCODER(encoder, Units(), layout)


@contextmanager
def adapter(*, masked: bool = False) -> Iterator[None]:
    """The adapter with a sink that keeps what it gets."""
    camera = Picamera2Camera()
    # The encoder that the adapter makes for itself has nothing to do either.
    picamera2_encoding.SoftwareEncoder.__init__ = _idle  # type: ignore[assignment,method-assign] # for this process only
    wanted = CameraSettings(rotation=0, resolution=f"{WIDTH}x{HEIGHT}", framerate=FPS)
    camera.open(wanted, [MASK] if masked else [])
    camera.start(collections.deque[Any](maxlen=300).append)
    try:
        yield
    finally:
        camera.close(5.0)


VARIANTS: dict[str, Callable[[], Any]] = {
    "bare": bare,
    "adapter": adapter,
    "masked": lambda: adapter(masked=True),
}


def cpu_s(variant: Callable[[], Any], seconds: float) -> float:
    """CPU seconds of a minute."""
    with variant():
        time.sleep(0.5)
        before_s, began_s = time.process_time(), time.monotonic()
        time.sleep(seconds)
        return (time.process_time() - before_s) / (time.monotonic() - began_s) * 60


@contextmanager
def timed(owner: Any, name: str, spent_us: list[float]) -> Iterator[None]:
    """Note the CPU of every call of a method."""
    real = getattr(owner, name)

    def call(*given: Any) -> Any:
        before_ns = time.thread_time_ns()
        result = real(*given)
        spent_us.append((time.thread_time_ns() - before_ns) / 1000)
        return result

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, real)


def calls_us(
    packets: tuple[Any, str], pictures: tuple[Any, str], variant: Callable[[], Any], *, seconds: float
) -> dict[str, float]:
    """Median CPU of what becomes of a packet, of a picture, and of one of which a luma frame is made, in µs."""
    of_packets: list[float] = []
    of_pictures: list[float] = []
    with timed(*packets, of_packets), timed(*pictures, of_pictures), variant():
        time.sleep(seconds)
    # Pictures of which a luma frame is made are half of them, and cost the most.
    ordered = sorted(of_pictures)
    return {
        "packet": statistics.median(of_packets),
        "picture": statistics.median(ordered[: len(ordered) // LUMA_EVERY]),
        "luma": statistics.median(ordered[len(ordered) // LUMA_EVERY :]),
    }


def main() -> None:
    """Measure, in turns, so that what else the machine does falls on all alike."""
    rounds, seconds = int(sys.argv[1]), float(sys.argv[2])
    painted = {size: stage.picture(1, 0.05, size) for size in ((WIDTH, HEIGHT), (320, 240))}
    stage.picture = lambda number, time_s, size: painted[size]  # type: ignore[method-assign] # noqa: ARG005 - painted
    spent: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name, variant in VARIANTS.items():
            spent[name].append(cpu_s(variant, seconds))
    output, session = picamera2_encoding.PacketOutput, picamera2_session.Session
    calls = {
        "bare": calls_us((BareOutput, "outputframe"), (BareLuma, "look"), bare, seconds=seconds),
        "adapter": calls_us((output, "outputframe"), (session, "picture_taken"), adapter, seconds=seconds),
    }
    print(json.dumps({"cpu_s": spent, "calls_us": calls, "fps": FPS}), flush=True)
    # Without waiting for the library's threads, which are of no more use.
    os._exit(0)


if __name__ == "__main__":
    main()
