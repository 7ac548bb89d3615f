"""The Pi's own cameras, by picamera2 and libcamera.

The library comes with Raspberry Pi OS only (`apt install python3-picamera2`), so this module is imported when such a
camera is chosen. Oldest version: 0.3.18. What it does behind our back, and how this adapter answers, is in
docs/reference/picamera2.md.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

# The library's own lines about every request would drown ours; its errors stay.
os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:WARN")

import libcamera
from picamera2 import MappedArray, Picamera2
from picamera2.encoders import H264Encoder, LibavH264Encoder

from pinthesky.device.cameras.geometry import luma_size_before_turn
from pinthesky.device.cameras.libcamera_controls import libcamera_controls
from pinthesky.device.cameras.picamera2_encoding import PacketOutput, SoftwareEncoder
from pinthesky.device.cameras.picamera2_session import Session, StreamView
from pinthesky.device.cameras.yuv420 import Layout, LumaTap, Planes, PrivacyBurner, as_shown
from pinthesky.device.ports import DEFAULT_PICTURE, Camera, CameraDescription, Sink
from pinthesky.errors import InvalidInput, InvariantBroken, PinTheSkyError, Unavailable

if TYPE_CHECKING:
    from pinthesky.model.settings import CameraSettings, PictureSettings, Polygon

logger = logging.getLogger(__name__)

FLAG = "--camera"
HARDWARE_ENCODER = Path("/dev/video11")
"""Where the Pi Zero 2, 3 and 4 have their H.264 encoder; picamera2 knows no other place."""
GOP_S = 2.0
GOP_WITHOUT_FORCE_S = 1.0
"""Seconds between keyframes where the encoder cannot be asked for one (hardware, picamera2 before 0.3.33)."""
_BITS_PER_PIXEL = 0.25
"""More than this shows in no picture: 15 Mb/s for 1080p30 is what picamera2 calls very high quality."""
_BITRATE_MIN = 1_000_000
_BUFFERS = 6
_JPEG_QUALITY = 90
_PROFILES = {"constrained": "constrained baseline"}
_FAILED_OPEN_CLOSE_S = 5.0

_in_use: set[int] = set()
"""Numbers of the cameras this process has taken. Older versions of the library break a camera taken twice."""


class PiCamera(NamedTuple):
    """A camera as libcamera lists it."""

    number: int
    model: str


class _Opened(NamedTuple):
    """What an open camera works with."""

    main: Layout
    lores: Layout
    rotation_left: int
    full_range: bool
    masks: tuple[Polygon, ...]
    encoder: Any


def pi_cameras() -> list[PiCamera]:
    """The cameras on the Pi's own connectors, without those on USB. None of them is opened."""
    with _errors_mapped("libcamera does not list the cameras"):
        found = Picamera2.global_camera_info()
    return [
        PiCamera(number, str(info.get("Model", "unknown")))
        for number, info in enumerate(found)
        if "/usb" not in info.get("Id", "")
    ]


class Picamera2Camera(Camera):
    """One of the Pi's cameras: `picamera2`, or `picamera2:1` for the second.

    - H.264 by the hardware encoder where the Pi has one, else by libx264.
    - Privacy masks are burned into the camera's memory, both streams of it, before anything else sees a picture.
    - Half turns are the sensor's; quarter turns are left to the player. Luma frames and stills are as shown.
    - Luma frames come from the low-resolution stream; stills are copies of the picture that is encoded next.
    - A camera whose cable slipped falls silent; the library says nothing then, and neither does this.
    """

    def __init__(self, address: str = "picamera2") -> None:
        """Raises InvalidInput for an address that can never work."""
        found = re.fullmatch(r"picamera2(?::([0-9]))?", address)
        if found is None:
            raise InvalidInput(FLAG, f"must be picamera2 or picamera2:N with N from 0 to 9, got {address[:40]!r}")
        self._number = int(found.group(1) or 0)
        self._camera: Any = None
        self._opened: Optional[_Opened] = None
        self._session: Optional[Session] = None
        self._closer: Optional[threading.Thread] = None

    def __repr__(self) -> str:
        """For logs."""
        return f"Picamera2Camera({self._number})"

    def open(
        self,
        settings: CameraSettings,
        privacy_masks: Sequence[Polygon],
        *,
        picture: PictureSettings = DEFAULT_PICTURE,
    ) -> CameraDescription:
        """See `Camera.open`."""
        if self._camera is not None:
            raise InvariantBroken("the camera is open already")
        self._camera = _take(self._number)
        try:
            with _errors_mapped("the camera refuses its settings"):
                return self._configure(settings, privacy_masks, picture)
        except BaseException:
            self.close(_FAILED_OPEN_CLOSE_S)
            raise

    def start(self, sink: Sink) -> None:
        """See `Camera.start`."""
        opened = self._opened
        if opened is None or self._session is not None:
            raise InvariantBroken("the camera is not open, or has been started")
        self._session = session = _session(opened, sink)
        if isinstance(opened.encoder, SoftwareEncoder):
            opened.encoder.on_failure = session.lose
        self._camera.pre_callback = session.picture_taken
        with _errors_mapped("the camera does not start"):
            # The encoder first: so the first picture is its first, and its keyframe.
            output = PacketOutput(opened.encoder, session.picture_encoded)
            self._camera.start_encoder(opened.encoder, output, name="main")
            self._camera.start()

    def still(self, timeout_s: float) -> bytes:
        """See `Camera.still`. The next picture at the size of the recording; made into a JPEG in this thread."""
        if self._opened is None or self._session is None:
            raise Unavailable("the camera is closed")
        planes = self._session.stills.take(timeout_s)
        opened = self._opened
        return _jpeg(as_shown(planes, rotation_left=opened.rotation_left, full_range=opened.full_range))

    def request_keyframe(self) -> bool:
        """See `Camera.request_keyframe`. False for the hardware encoder before picamera2 0.3.33."""
        if self._opened is None or not _can_force_keyframe(self._opened.encoder):
            return False
        self._opened.encoder.force_key_frame()
        return True

    def close(self, timeout_s: float) -> bool:
        """See `Camera.close`. What the encoder still holds is handed over before this returns."""
        if self._camera is None:
            return True
        if self._closer is None:
            encoder = self._opened.encoder if self._opened is not None and self._session is not None else None
            # Daemonic, and apart: in a driver that hangs nothing can wake it.
            self._closer = threading.Thread(
                target=_give_back, args=(self._camera, encoder), name="camera-close", daemon=True
            )
            self._closer.start()
        self._closer.join(timeout_s)
        if self._session is not None:
            self._session.end()
        if self._closer.is_alive():
            # At the process's end the library would try once more, and hang there.
            atexit.unregister(self._camera.close)
            return False
        _in_use.discard(self._number)
        self._camera = self._opened = self._session = self._closer = None
        return True

    def _configure(
        self, settings: CameraSettings, privacy_masks: Sequence[Polygon], picture: PictureSettings
    ) -> CameraDescription:
        camera = self._camera
        given = _streams_as_given(camera, settings)
        main, lores = given["main"], given["lores"]
        turn = given["transform"]
        rotation_left = 0 if settings.rotation == 180 and turn.hflip and turn.vflip else settings.rotation
        full_range = given["colour_space"].range == libcamera.ColorSpace.Range.Full
        layouts = [_layout(stream, settings) for stream in (main, lores)]
        if (layouts[0].width, layouts[0].height) != settings.size:
            logger.warning("The camera gives %dx%d in place of %s", *layouts[0][:2], settings.resolution)
        framerate = _framerate(camera, settings)
        camera.set_controls(libcamera_controls(picture, camera.camera_controls, framerate=framerate))
        encoder = _encoder(layouts[0], settings, framerate)
        self._opened = _Opened(layouts[0], layouts[1], rotation_left, full_range, tuple(privacy_masks), encoder)
        return CameraDescription(
            model=str(camera.camera_properties.get("Model", "unknown")),
            width=layouts[0].width,
            height=layouts[0].height,
            framerate=framerate,
            rotation_left=rotation_left,
            luma_size=LumaTap(layouts[1], rotation_left=rotation_left).size,
            can_mask=True,
            extra=_capabilities(camera, encoder),
        )


def _take(number: int) -> Any:
    """The camera, opened for us alone. Raises Unavailable."""
    if number in _in_use:
        raise Unavailable(f"camera {number} is in use by this process")
    with _errors_mapped("libcamera does not list the cameras"):
        found = Picamera2.global_camera_info()
    if number >= len(found):
        models = ", ".join(str(info.get("Model", "unknown")) for info in found) or "none"
        raise Unavailable(f"there is no camera {number} (found: {models})")
    with _errors_mapped("the camera cannot be opened, another program may use it"):
        camera = Picamera2(number)
    _in_use.add(number)
    return camera


def _streams_as_given(camera: Any, settings: CameraSettings) -> Mapping[str, Any]:
    """Configure the camera, and return what it really gives: it adjusts in silence."""
    half_turn = settings.rotation == 180
    width, height = settings.size
    wanted = camera.create_video_configuration(
        main={"size": (width, height), "format": "YUV420"},
        lores={"size": luma_size_before_turn(width, height, settings.rotation), "format": "YUV420"},
        transform=libcamera.Transform(hflip=half_turn, vflip=half_turn),
        buffer_count=_BUFFERS,
        controls=_controls(camera, settings),
        # Nothing is displayed, and nothing asks the library for pictures: it need not keep one back.
        display=None,
        queue=False,
    )
    try:
        camera.configure(wanted)
    except RuntimeError as error:
        if "Invalid camera configuration" not in str(error):
            raise
        raise InvalidInput("camera.resolution", f"the camera refuses {settings.resolution}") from error
    given: Mapping[str, Any] = camera.camera_configuration()
    return given


def _layout(stream: Mapping[str, Any], settings: CameraSettings) -> Layout:
    width, height = stream["size"]
    if stream["format"] != "YUV420" or width % 2 or height % 2:
        raise InvalidInput(
            "camera.resolution",
            f"for {settings.resolution} the camera gives {width}x{height} {stream['format']}, not even-sized YUV420",
        )
    return Layout(width, height, stream["stride"])


def _controls(camera: Any, settings: CameraSettings) -> dict[str, Any]:
    """What the camera is told, as far as it has these controls: the library refuses others."""
    wanted = {"FrameDurationLimits": (1_000_000 // settings.framerate,) * 2}
    if "AfMode" in camera.camera_controls:
        wanted["AfMode"] = libcamera.controls.AfModeEnum.Continuous
    return {name: value for name, value in wanted.items() if name in camera.camera_controls}


def _framerate(camera: Any, settings: CameraSettings) -> float:
    """Pictures per second: those asked for, or the most that the sensor gives at this size."""
    shortest_us = camera.camera_controls.get("FrameDurationLimits", (0,))[0]
    fastest = 1_000_000 / shortest_us if shortest_us else float(settings.framerate)
    # Durations are whole microseconds, so 30 pictures a second read as 30.0003.
    return float(settings.framerate) if fastest > settings.framerate * 0.999 else fastest


def _encoder(main: Layout, settings: CameraSettings, framerate: float) -> Any:
    if H264Encoder is not LibavH264Encoder and HARDWARE_ENCODER.exists():
        most = max(_BITRATE_MIN, int(main.width * main.height * framerate * _BITS_PER_PIXEL))
        gop_s = GOP_S if _can_force_keyframe(H264Encoder) else GOP_WITHOUT_FORCE_S
        return H264Encoder(
            bitrate=min(settings.encoding_bitrate, most),
            repeat=True,
            iperiod=max(1, round(framerate * gop_s)),
            framerate=framerate,
            profile=_PROFILES.get(settings.encoding_profile, settings.encoding_profile),
        )
    try:
        from pinthesky.device.cameras.h264_encoder import H264Encoder as OurEncoder  # noqa: PLC0415 - needs PyAV
    except ImportError as error:
        raise InvalidInput(FLAG, "this Pi has no H.264 encoder in hardware, and PyAV is not installed") from error
    h264 = OurEncoder(settings, width=main.width, height=main.height, framerate=framerate)
    return SoftwareEncoder(h264, main)


def _can_force_keyframe(encoder: Any) -> bool:
    return hasattr(encoder, "force_key_frame")


def _capabilities(camera: Any, encoder: Any) -> dict[str, str]:
    in_hardware = not isinstance(encoder, SoftwareEncoder)
    return {
        "encoder": "hardware" if in_hardware else "libx264",
        "forced_keyframes": "yes" if _can_force_keyframe(encoder) else "no",
        "controls": " ".join(sorted(camera.camera_controls)),
    }


def _session(opened: _Opened, sink: Sink) -> Session:
    def view(layout: Layout) -> StreamView:
        if not opened.masks:
            return StreamView(layout, None)
        turn, full = opened.rotation_left, opened.full_range
        return StreamView(layout, PrivacyBurner(opened.masks, layout, rotation_left=turn, full_range=full))

    return Session(
        sink,
        main=view(opened.main),
        lores=view(opened.lores),
        luma=LumaTap(opened.lores, rotation_left=opened.rotation_left, full_range=opened.full_range),
        mapped=_mapped,
        timestamp_us=_sensor_us,
    )


def _mapped(request: Any, stream: str) -> Any:
    return MappedArray(request, stream, reshape=False)


def _sensor_us(request: Any) -> int:
    """The library's own arithmetic, so that luma frames and packets of one picture bear the same time."""
    return int(request.request.metadata[libcamera.controls.SensorTimestamp] / 1000)


def _give_back(camera: Any, encoder: Any) -> None:
    """Stop and close. Not by `stop`, which hangs when the library's thread has died; `close` does not."""
    try:
        if encoder is not None:
            # KeyError: it failed to start, so the camera does not know it; it has been stopped all the same.
            with contextlib.suppress(KeyError):
                camera.stop_encoder(encoder)
    except Exception:
        logger.exception("the encoder did not stop in order")
    try:
        camera.close()
    except Exception:
        logger.exception("the camera did not close in order")


def _jpeg(planes: Planes) -> bytes:
    try:
        from simplejpeg import encode_jpeg_yuv_planes  # noqa: PLC0415 - not there with every version of the library
    except ImportError:
        return _jpeg_by_pillow(planes)
    jpeg: bytes = encode_jpeg_yuv_planes(*planes, _JPEG_QUALITY)
    return jpeg


def _jpeg_by_pillow(planes: Planes) -> bytes:
    from PIL import Image  # noqa: PLC0415 - the slower way, seldom needed

    height, width = planes.luma.shape
    bands = [Image.fromarray(plane).resize((width, height)) for plane in planes]
    jpeg = BytesIO()
    Image.merge("YCbCr", bands).save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return jpeg.getvalue()


@contextlib.contextmanager
def _errors_mapped(what: str) -> Iterator[None]:
    """What the library raises when a camera, its driver or its encoder does not do its part."""
    try:
        yield
    except PinTheSkyError:
        raise
    except (RuntimeError, OSError, LookupError) as error:
        raise Unavailable(f"{what}: {error.__cause__ or error}") from error
