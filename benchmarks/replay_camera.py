"""A camera that replays a recording at its own pace, reading it from a file as a driver hands over its buffers.

The process that replays neither encodes nor decodes, and keeps nothing of the recording in memory. `benchmarks.scenes`
makes recordings: a folder with `index.json` and `data`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pinthesky.device.ports import DEFAULT_PICTURE, Camera, CameraDescription, LumaFrame, Packet

if TYPE_CHECKING:
    from pinthesky.device.ports import Sink
    from pinthesky.model.settings import CameraSettings, PictureSettings, Polygon

LUMA_BUFFERS = 6
"""The port promises a luma frame to its receiver until the adapter's next but three."""


class Picture(NamedTuple):
    """One picture of a recording; offsets and sizes in bytes of its `data`."""

    timestamp_us: int
    is_keyframe: bool
    offset: int
    size: int
    luma_offset: int | None
    """Where its luma frame is, for pictures that have one."""
    is_mark: bool
    """Whether its luma frame is the first that shows something moving."""


class Recording:
    """A recording on the disk."""

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / "index.json").read_bytes())
        self.data = folder / "data"
        self.size: tuple[int, int] = tuple(index["size"])
        self.luma_size: tuple[int, int] = tuple(index["luma_size"])
        self.framerate: float = index["framerate"]
        self.duration_us: int = index["duration_us"]
        self.still_size: int = index["still_size"]
        """The first bytes of `data` are a JPEG of this size."""
        self.pictures = [Picture(*values) for values in index["pictures"]]

    @property
    def bytes_per_s(self) -> float:
        """Encoded bytes in a second."""
        return sum(picture.size for picture in self.pictures) / (self.duration_us / 1e6)


class ReplayCamera(Camera):
    """Replays a recording over and over. With `marks`, notes there when a marked luma frame was handed over."""

    def __init__(self, folder: Path, marks: Path | None = None) -> None:
        self._recording = Recording(folder)
        self._marks = marks
        self._stop = threading.Event()
        self._player: threading.Thread | None = None

    def open(
        self,
        settings: CameraSettings,  # noqa: ARG002 - the port's
        privacy_masks: Sequence[Polygon],  # noqa: ARG002 - the port's
        *,
        picture: PictureSettings = DEFAULT_PICTURE,  # noqa: ARG002 - the port's
    ) -> CameraDescription:
        """See `Camera.open`."""
        width, height = self._recording.size
        return CameraDescription(
            model="replay",
            width=width,
            height=height,
            framerate=self._recording.framerate,
            rotation_left=0,
            luma_size=self._recording.luma_size,
            can_mask=False,
        )

    def start(self, sink: Sink) -> None:
        """See `Camera.start`."""
        self._stop.clear()
        self._player = threading.Thread(target=self._play, args=(sink,), name="camera-replay", daemon=True)
        self._player.start()

    def still(self, timeout_s: float) -> bytes:  # noqa: ARG002 - the port's
        """See `Camera.still`: a JPEG of the recording, as an encoder in hardware gives it."""
        with self._recording.data.open("rb") as file:
            return file.read(self._recording.still_size)

    def request_keyframe(self) -> bool:
        """See `Camera.request_keyframe`."""
        return False

    def close(self, timeout_s: float) -> bool:
        """See `Camera.close`."""
        self._stop.set()
        if self._player is not None:
            self._player.join(timeout_s)
        return True

    def _play(self, sink: Sink) -> None:
        recording = self._recording
        width, height = recording.luma_size
        buffers: list[Any] = [np.empty((height, width), np.uint8) for _ in range(LUMA_BUFFERS)]
        used = 0
        began_s = time.monotonic()
        offset_us = 0
        with recording.data.open("rb", buffering=0) as file:
            descriptor = file.fileno()
            while True:
                for picture in recording.pictures:
                    now_us = offset_us + picture.timestamp_us
                    if self._stop.wait(max(0.0, began_s + now_us / 1e6 - time.monotonic())):
                        return
                    sink(Packet(os.pread(descriptor, picture.size, picture.offset), now_us, picture.is_keyframe))
                    if picture.luma_offset is None:
                        continue
                    used = (used + 1) % LUMA_BUFFERS
                    os.preadv(descriptor, [buffers[used]], picture.luma_offset)
                    handed_ns = time.monotonic_ns()
                    sink(LumaFrame(buffers[used], now_us))
                    if picture.is_mark and self._marks is not None:
                        with self._marks.open("a", encoding="utf-8") as marks:
                            marks.write(f"{handed_ns}\n")
                offset_us += recording.duration_us
