"""Runs a camera by its port and measures what comes: pictures, keyframes and stills on demand, and what it costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pinthesky.device.cameras import annex_b
from pinthesky.device.ports import (
    Camera,
    CameraDescription,
    CameraLost,
    FootageEnded,
    Frame,
    LumaFrame,
    Packet,
    SubstreamLost,
)
from pinthesky.errors import PinTheSkyError
from pinthesky.model.settings import CameraSettings

TRIES_MAX = 10
"""Stills and keyframes that are asked for, each."""
OPEN_PATIENCE_S = 12.0
STILL_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0
FORCED_FRAMES_MAX = 6
"""A keyframe that was asked for and comes later came by itself."""
SUBSTREAM_BITRATE = 300_000
SYSTEM = Path("/")


class Seen(NamedTuple):
    """What is kept of a packet."""

    arrived_s: float
    timestamp_us: int
    size: int
    is_keyframe: bool
    stands_alone: bool


class Recorder:
    """The sink: keeps a line of each frame, from any thread, and the first keyframe."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self.packets: list[Seen] = []
        self.luma_us: list[int] = []
        self.luma_shape: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        """Shape and strides."""
        self.first_keyframe = b""
        self.ended: str | None = None

    def __call__(self, frame: Frame) -> None:
        """Take a frame."""
        arrived_s = self._monotonic()
        with self._changed:
            if isinstance(frame, Packet):
                alone = frame.is_keyframe and annex_b.stands_alone(frame.data)
                self.packets.append(
                    Seen(arrived_s, frame.timestamp_us, len(frame.data), frame.is_keyframe, stands_alone=alone)
                )
                self.first_keyframe = self.first_keyframe or (frame.data if frame.is_keyframe else b"")
            elif isinstance(frame, LumaFrame):
                self.luma_us.append(frame.timestamp_us)
                self.luma_shape = self.luma_shape or (frame.luma.shape, frame.luma.strides)
            elif isinstance(frame, CameraLost):
                self.ended = self.ended or f"the camera was lost: {frame.reason}"
            elif isinstance(frame, FootageEnded):
                self.ended = self.ended or "the footage has ended"
            self._changed.notify_all()

    def wait(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Wait until `condition` holds or the camera gives no more; whether it holds."""
        with self._changed:
            self._changed.wait_for(lambda: condition() or self.ended is not None, max(0.0, timeout_s))
            return bool(condition())


class SecondStream:
    """The second stream, for the second half of a run: how soon it came, how much, and whether it ended by itself."""

    def __init__(self, camera: Camera, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began_s = monotonic()
        self.seen: list[Seen] = []
        self.failure: str | None = None
        try:
            camera.start_substream(self, bitrate=SUBSTREAM_BITRATE)
        except PinTheSkyError as error:
            self.failure = str(error)

    def __call__(self, frame: Packet | SubstreamLost) -> None:
        """Take a packet."""
        if isinstance(frame, SubstreamLost):
            self.failure = self.failure or frame.reason
            return
        alone = frame.is_keyframe and annex_b.stands_alone(frame.data)
        self.seen.append(
            Seen(self._monotonic(), frame.timestamp_us, len(frame.data), frame.is_keyframe, stands_alone=alone)
        )

    @property
    def first_s(self) -> float | None:
        """From asking for it to its first packet."""
        return self.seen[0].arrived_s - self._began_s if self.seen else None

    def stop(self, camera: Camera) -> None:
        """End it."""
        try:
            camera.stop_substream()
        except PinTheSkyError as error:
            self.failure = self.failure or str(error)


class Measured(NamedTuple):
    """Everything that a run has shown. Seconds, bytes, and percent of one core."""

    settings: CameraSettings
    description: CameraDescription
    recorder: Recorder
    open_s: float
    first_packet_s: float | None
    still_s: list[float]
    still_bytes: list[int]
    still_failures: list[str]
    forced_s: list[float]
    forced_asked: int
    forced_refused: int
    cpu_quiet: float
    cpu_all: float
    close_s: float
    closed: bool
    degrees: tuple[float | None, float | None]
    second: SecondStream | None
    """None where the camera has none."""


def measure(
    camera: Camera, settings: CameraSettings, seconds: float, *, monotonic: Callable[[], float] = time.monotonic
) -> Measured:
    """Run the camera: left alone for half of the time, then with stills and keyframes asked for in turn.

    The camera's second stream, where it has one, runs in the second half too.

    Raises Unavailable and InvalidInput as the camera does when it is opened and started.
    """
    recorder = Recorder(monotonic)
    degrees = temperature()
    began_s = monotonic()
    description = camera.open(settings, [])
    opened_s = monotonic()
    try:
        camera.start(recorder)
        recorder.wait(lambda: recorder.packets, description.first_packet_s or OPEN_PATIENCE_S)
        first_s = recorder.packets[0].arrived_s - opened_s if recorder.packets else None
        run_s, run_cpu_s = monotonic(), time.process_time()
        recorder.wait(lambda: False, seconds / 2)
        quiet = _percent(time.process_time() - run_cpu_s, monotonic() - run_s)
        asked = _Asked(camera, recorder, monotonic)
        second = None if description.substream_size is None else SecondStream(camera, monotonic)
        asked.run(run_s + seconds, seconds / 2)
        if second is not None:
            second.stop(camera)
        overall = _percent(time.process_time() - run_cpu_s, monotonic() - run_s)
    finally:
        close_s = monotonic()
        closed = camera.close(CLOSE_TIMEOUT_S)
        close_s = monotonic() - close_s
    return Measured(
        settings=settings,
        description=description,
        recorder=recorder,
        open_s=opened_s - began_s,
        first_packet_s=first_s,
        still_s=asked.still_s,
        still_bytes=asked.still_bytes,
        still_failures=asked.still_failures,
        forced_s=asked.forced_s,
        forced_asked=asked.forced_asked,
        forced_refused=asked.forced_refused,
        cpu_quiet=quiet,
        cpu_all=overall,
        close_s=close_s,
        closed=closed,
        degrees=(degrees, temperature()),
        second=second,
    )


class _Asked:
    """Asks a running camera for stills and keyframes, and keeps how long they took."""

    def __init__(self, camera: Camera, recorder: Recorder, monotonic: Callable[[], float]) -> None:
        self._camera = camera
        self._recorder = recorder
        self._monotonic = monotonic
        self.still_s: list[float] = []
        self.still_bytes: list[int] = []
        self.still_failures: list[str] = []
        self.forced_s: list[float] = []
        self.forced_asked = self.forced_refused = 0

    def run(self, until_s: float, seconds: float) -> None:
        """Go on until `until_s`, with something asked for about every second but not more often than is useful."""
        tries = min(TRIES_MAX, max(1, int(seconds)))
        pause_s = seconds / (2 * tries + 1)
        for ask in [self._still, self._keyframe] * tries:
            self._recorder.wait(lambda: False, min(pause_s, until_s - self._monotonic()))
            if self._recorder.ended is not None:
                return
            ask()
        self._recorder.wait(lambda: False, until_s - self._monotonic())

    def _still(self) -> None:
        began_s = self._monotonic()
        try:
            data = self._camera.still(STILL_TIMEOUT_S)
        except PinTheSkyError as error:
            self.still_failures.append(str(error))
            return
        self.still_s.append(self._monotonic() - began_s)
        self.still_bytes.append(len(data))
        if not data.startswith(b"\xff\xd8"):
            self.still_failures.append("what came is no JPEG")

    def _keyframe(self) -> None:
        packets = self._recorder.packets
        asked_s, count = self._monotonic(), len(packets)
        self.forced_asked += 1
        if not self._camera.request_keyframe():
            self.forced_refused += 1
            return
        self._recorder.wait(lambda: len(packets) >= count + FORCED_FRAMES_MAX, OPEN_PATIENCE_S)
        came = [packet for packet in packets[count : count + FORCED_FRAMES_MAX] if packet.is_keyframe]
        if came:
            self.forced_s.append(came[0].arrived_s - asked_s)


def _percent(cpu_s: float, wall_s: float) -> float:
    return 100 * cpu_s / wall_s if wall_s > 0 else 0.0


def temperature() -> float | None:
    """Degrees Celsius of the board, where it says."""
    text = read("sys/class/thermal/thermal_zone0/temp")
    return int(text) / 1000 if text is not None and text.isdigit() else None


def read(path: str) -> str | None:
    """A small file of the system, from its root; None where it is not there."""
    try:
        return (SYSTEM / path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
