"""Lets the real picamera2 run where there is no Raspberry Pi, on the virtual camera of Debian's libcamera.

`install` replaces the hardware only, before picamera2 is imported: the DMA allocator, the probe of the platform, the
list of raw modes, the sensor with its clock, and modules that the library imports but needs for screens, raw files and
a progress bar alone. Everything else is picamera2 and libcamera as they are.

The sensor shows the synthetic scene in video range, one number a picture: what it could not deliver because nobody gave
it a buffer is missing, as with a real one. It turns by 180 degrees when it is told to, as the Pi's sensors do.
"""

from __future__ import annotations

import collections
import enum
import mmap
import os
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import numpy as np

STRIDE_ALIGNMENT = 64
DEFAULT_PERIOD_S = 1 / 30


class Stage:
    """What the camera sees, and the hand that breaks it."""

    def __init__(self) -> None:
        self.script = "quiet:2,walk:4"
        self.stalled = threading.Event()
        """Set: the sensor delivers nothing, and libcamera says nothing."""
        self.stall_file: Path | None = None
        """The same from another process: stalled while this exists."""
        self.hanging = threading.Event()
        """Set: giving the camera back never returns, as in a driver that has died."""
        self.refused_format: str | None = None
        """A pixel format that the camera gives in place of the one asked for."""
        self.turns = True
        """Whether the sensor can turn by 180 degrees; it says so when it is configured."""
        self.periods_s: list[float] = []
        """Seconds between two pictures, one for each start."""
        self._scenes: dict[tuple[int, int], Any] = {}
        self._painting = threading.Lock()

    @property
    def is_stalled(self) -> bool:
        """Whether the sensor is silent."""
        return self.stalled.is_set() or (self.stall_file is not None and self.stall_file.exists())

    def reset(self) -> None:
        """As at first; ends what hangs."""
        self.stalled.clear()
        self.hanging.clear()
        self.refused_format, self.turns = None, True

    def picture(self, number: int, time_s: float, size: tuple[int, int]) -> Any:
        """The picture `number` in yuv420p, uint8 (height * 3 / 2, width)."""
        from pinthesky.device.cameras.script import Script
        from pinthesky.device.cameras.synthetic_scene import Scene

        with self._painting:
            scene = self._scenes.get(size)
            if scene is None:
                scene = self._scenes[size] = Scene(*size, seed=1)
            moment = Script.parse(self.script).at(time_s)
            assert moment is not None
            planes = scene.scenery(number, moment)
            scene.write_strip(planes, number, time_s)
            return planes


stage = Stage()


def install(platform: str = "pisp") -> Stage:
    """Put the virtual hardware in place: platform "pisp" (Pi 5) or "vc4" (all before)."""
    assert "picamera2" not in sys.modules
    os.environ.setdefault("LIBCAMERA_PIPELINES_MATCH_LIST", "virtual")
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:FATAL")
    _stand_in("pykms", PixelFormat=type("PixelFormat", (), {"__getattr__": lambda _, name: name})())
    _stand_in("pidng")
    _stand_in("pidng.camdefs", Picamera2Camera=object)
    _stand_in("pidng.core", PICAM2DNG=object)
    # What the part for the IMX500 imports for a progress bar, and to put pictures into the sensor's network.
    _stand_in("tqdm", tqdm=object)
    _stand_in("OpenEXR", InputFile=object)
    _stand_in("Imath")
    probe = _platform_probe(platform)

    import picamera2

    picamera2.platform = probe
    _replace_buffers()
    _replace_sensor()
    return stage


def _stand_in(name: str, **names: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(names)
    sys.modules[name] = module
    return module


class Platform(enum.Enum):
    """What the library tells apart."""

    VC4 = 0
    PISP = 1


def _platform_probe(platform: str) -> types.ModuleType:
    kind = Platform[platform.upper()]
    return _stand_in("picamera2.platform", Platform=Platform, _platform=kind, get_platform=lambda: kind)


def _replace_buffers() -> None:
    """Give libcamera memory it can write to, and the application what a Pi's image processor would write."""
    import picamera2.picamera2 as library

    library.DmaAllocator = PaintedAllocator
    update_stream, update_camera = library.Picamera2._update_stream_config, library.Picamera2._update_camera_config

    def update_stream_config(self, stream: Any, given: Any) -> None:
        wanted = stream["format"]
        update_stream(self, stream, given)
        if wanted == "YUV420":
            width, height = stream["size"]
            stride = -(-width // STRIDE_ALIGNMENT) * STRIDE_ALIGNMENT
            stream.update(format=stage.refused_format or wanted, stride=stride, framesize=stride * height * 3 // 2)

    def update_camera_config(self, config: Any, given: Any) -> None:
        import libcamera

        update_camera(self, config, given)
        if not stage.turns:
            config["transform"] = libcamera.Transform()
        names = ["main"] + (["lores"] if self.lores_index >= 0 else [])
        self.allocator.streams = [dict(config[name]) for name in names]
        self.allocator.half_turn = bool(config["transform"].hflip and config["transform"].vflip)
        # The virtual camera says 4, whatever was asked for.
        self.allocator.buffer_count = config["buffer_count"]

    library.Picamera2._update_stream_config = update_stream_config
    library.Picamera2._update_camera_config = update_camera_config


class PaintedAllocator:
    """In the place of the library's DMA allocator, with the same methods."""

    needs_sync = True

    def __init__(self) -> None:
        self.sync = MemorySync
        self.streams: list[dict[str, Any]] = []
        self.half_turn = False
        self.buffer_count = 1
        self.frame_buffers: dict[Any, list[Any]] = {}
        self.mapped_buffers: dict[Any, mmap.mmap] = {}
        self.taken: dict[Any, tuple[int, float]] = {}
        """Which picture each buffer holds: its number, and its second."""
        self._stream_of: dict[Any, dict[str, Any]] = {}
        self._fds: list[int] = []

    def allocate(self, libcamera_config: Any, _use_case: Any = None) -> None:
        """Memory for every buffer of every stream: libcamera's, which nobody looks at, and the application's."""
        self.close()
        for stream, config in zip(self.streams, libcamera_config):
            self.frame_buffers[config.stream] = []
            for _ in range(self.buffer_count):
                buffer = self._buffer(config.stride * config.size.height)
                self.mapped_buffers[buffer] = mmap.mmap(-1, stream["framesize"])
                self._stream_of[buffer] = stream
                self.frame_buffers[config.stream].append(buffer)

    def _buffer(self, luma_size: int) -> Any:
        import libcamera

        size = luma_size * 3 // 2
        fd = os.memfd_create("virtual-camera", os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        self._fds.append(fd)
        planes = []
        for offset, length in ((0, luma_size), (luma_size, size - luma_size)):
            plane = libcamera.FrameBuffer.Plane()
            plane.fd, plane.offset, plane.length = fd, offset, length
            planes.append(plane)
        return libcamera.FrameBuffer(planes)

    def buffers(self, stream: Any) -> list[Any]:
        """The buffers of one of libcamera's streams."""
        return self.frame_buffers[stream]

    def acquire(self, buffers: Any) -> None:
        """Called once for every completed request, with its buffer of each stream."""
        for buffer in buffers.values():
            number, time_s = self.taken[buffer]
            stream = self._stream_of[buffer]
            planes = stage.picture(number, time_s, tuple(stream["size"]))
            _lay_out(planes, self.mapped_buffers[buffer], stream, half_turn=self.half_turn)

    def release(self, _buffers: Any) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Give all memory back."""
        self.frame_buffers, self.mapped_buffers, self._stream_of, self.taken = {}, {}, {}, {}
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def __del__(self) -> None:
        self.close()


class MemorySync:
    """Memory that needs no flushing."""

    def __init__(self, allocator: Any, buffer: Any, _write: bool) -> None:  # noqa: FBT001, RUF100 - the library's order
        self._memory = allocator.mapped_buffers[buffer]

    def __enter__(self) -> Any:
        return self._memory

    def __exit__(self, *_: object) -> None: ...

    def get_buffer(self) -> Any:
        """As the library's."""
        return self._memory


def _lay_out(planes: Any, memory: mmap.mmap, stream: dict[str, Any], *, half_turn: bool) -> None:
    width, height = stream["size"]
    stride = stream["stride"]
    whole = np.frombuffer(memory, np.uint8)
    # What pads the rows is never anything in particular.
    whole[:] = 0xA5
    luma, colour = planes[:height], planes[height:].reshape(2, height // 2, width // 2)
    if half_turn:
        luma, colour = luma[::-1, ::-1], colour[:, ::-1, ::-1]
    end = stride * height
    whole[:end].reshape(height, stride)[:, :width] = luma
    whole[end : end * 3 // 2].reshape(2, height // 2, stride // 2)[:, :, : width // 2] = colour


def _replace_sensor() -> None:
    """libcamera's virtual camera completes a request the moment it is queued, and has no raw modes."""
    import libcamera
    import picamera2.picamera2 as library

    def raw_modes(self) -> list[dict[str, Any]]:
        formats = self.camera.generate_configuration([libcamera.StreamRole.VideoRecording]).at(0).formats
        return [
            {"format": str(pixel), "size": (size.width, size.height)}
            for pixel in formats.pixel_formats
            for size in formats.sizes(pixel)
        ]

    library.Picamera2._get_raw_modes = raw_modes
    # In libcamera 0.4 the virtual camera leaves the status of buffers and requests as it finds it in memory.
    if libcamera.CameraManager.singleton().version.startswith("v0.4."):
        libcamera.FrameMetadata.status = property(lambda _: libcamera.FrameMetadata.Status.Success)
        libcamera.Request.status = property(lambda _: libcamera.Request.Status.Complete)
    grab = library.Picamera2._grab_camera

    def grab_camera(self, index: Any) -> PacedCamera:
        return PacedCamera(grab(self, index), self)

    library.Picamera2._grab_camera = grab_camera


class PacedCamera:
    """A camera whose sensor has a clock. Everything but that is libcamera's."""

    def __init__(self, camera: Any, library: Any) -> None:
        self._camera = camera
        self._library = library
        self._waiting: collections.deque[Any] = collections.deque()
        self._running = False
        self._thread: threading.Thread | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._camera, name)

    def start(self, controls: Any = None) -> None:
        """Start with the frame duration that the application asks for."""
        import libcamera

        limits = (controls or {}).get(libcamera.controls.FrameDurationLimits)
        period_s = limits[0] / 1_000_000 if limits else DEFAULT_PERIOD_S
        stage.periods_s.append(period_s)
        self._camera.start(controls or {})
        self._running = True
        self._thread = threading.Thread(target=self._tick, args=(period_s,), name="sensor-clock", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, as libcamera does: what was queued comes back unfilled."""
        self._running = False
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._waiting.clear()
        self._camera.stop()

    def release(self) -> None:
        """Give the camera back, unless the driver has died."""
        while stage.hanging.is_set():
            time.sleep(0.05)
        self._camera.release()

    def queue_request(self, request: Any) -> None:
        """Give the sensor a buffer to fill."""
        if self._running:
            self._waiting.append(request)

    def _tick(self, period_s: float) -> None:
        began_s, number = time.monotonic(), 0
        while self._running:
            number += 1
            time.sleep(max(0.0, began_s + number * period_s - time.monotonic()))
            if self._waiting and not stage.is_stalled:
                request = self._waiting.popleft()
                for buffer in request.buffers.values():
                    self._library.allocator.taken[buffer] = (number, number * period_s)
                self._camera.queue_request(request)
