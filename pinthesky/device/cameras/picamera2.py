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
import time
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

# The library's own lines about every request would drown ours; its errors stay.
os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:WARN")

import libcamera
import msgspec
from picamera2 import MappedArray, Picamera2
from picamera2.encoders import H264Encoder, LibavH264Encoder

from pinthesky.device.cameras.detections import Detections
from pinthesky.device.cameras.geometry import luma_size_before_turn
from pinthesky.device.cameras.libcamera_controls import libcamera_controls
from pinthesky.device.cameras.picamera2_encoding import PacketOutput, SecondHardwareEncoder, SoftwareEncoder
from pinthesky.device.cameras.picamera2_imx500 import FIRST_PACKET_S, SENSOR, Imx500Network, imx500_network
from pinthesky.device.cameras.picamera2_session import Session, StreamView
from pinthesky.device.cameras.picamera2_substream import TIMEOUT_S, Substream
from pinthesky.device.cameras.yuv420 import Layout, LumaTap, Planes, PrivacyBurner, as_shown
from pinthesky.device.ports import DEFAULT_PICTURE, Camera, CameraDescription, Sink, SubstreamSink
from pinthesky.errors import InvalidInput, InvariantBroken, PinTheSkyError, Unavailable
from pinthesky.model.presets import SENSORS, sensor_of

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
    settings: CameraSettings
    framerate: float


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
        self._network: Optional[Imx500Network] = None
        self._substream: Optional[Substream] = None
        self._starter: Optional[threading.Thread] = None
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
        self._camera, self._network = _take(self._number)
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
        self._session = session = _session(opened, sink, self._network)
        if isinstance(opened.encoder, SoftwareEncoder):
            opened.encoder.on_failure = session.lose
        self._camera.pre_callback = session.picture_taken
        with _errors_mapped("the camera does not start"):
            # The encoder first: so the first picture is its first, and its keyframe.
            output = PacketOutput(opened.encoder, session.picture_encoded)
            self._camera.start_encoder(opened.encoder, output, name="main")
            if self._network is None:
                self._camera.start()
                return
        # Minutes may pass before it returns; whoever owns the camera has more to do. Nothing can wake it, so daemonic.
        self._starter = threading.Thread(
            target=_start_slowly, args=(self._camera, session), name="camera-start", daemon=True
        )
        self._starter.start()

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

    def start_substream(self, sink: SubstreamSink, *, bitrate: int) -> None:
        """See `Camera.start_substream`. The low-resolution stream, of which luma frames are made."""
        opened, session = self._opened, self._session
        if opened is None or session is None:
            raise Unavailable("the camera is not started")
        self.stop_substream()
        wanted = msgspec.structs.replace(opened.settings, encoding_bitrate=bitrate)
        encoder = _encoder(opened.lores, wanted, opened.framerate, hardware=SecondHardwareEncoder)
        self._substream = Substream(self._camera, encoder, sink)
        try:
            session.attach(self._substream.delivery)
            with _errors_mapped("the second stream does not start"):
                self._substream.start()
        except PinTheSkyError:
            self.stop_substream()
            raise

    def request_substream_keyframe(self) -> bool:
        """See `Camera.request_substream_keyframe`."""
        return self._substream is not None and self._substream.request_keyframe()

    def stop_substream(self) -> None:
        """See `Camera.stop_substream`. Raises Unavailable when its encoder hangs: only closing the camera may help."""
        if self._substream is not None:
            if not self._substream.end(TIMEOUT_S):
                raise Unavailable("the encoder of the second stream does not stop")
            self._substream = None

    def close(self, timeout_s: float) -> bool:
        """See `Camera.close`. What the encoder still holds is handed over before this returns."""
        if self._camera is None:
            return True
        deadline_s = time.monotonic() + timeout_s
        if self._substream is not None and self._substream.end(timeout_s / 2, reason="the camera is closed"):
            self._substream = None
        if self._closer is None:
            encoder = self._opened.encoder if self._opened is not None and self._session is not None else None
            # Daemonic, and apart: in a driver that hangs nothing can wake it.
            self._closer = threading.Thread(
                target=_give_back, args=(self._camera, encoder, self._starter), name="camera-close", daemon=True
            )
            self._closer.start()
        self._closer.join(max(0.0, deadline_s - time.monotonic()))
        if self._session is not None:
            self._session.end()
        if self._closer.is_alive() or self._substream is not None:
            # At the process's end the library would try once more, and hang there.
            atexit.unregister(self._camera.close)
            return False
        _in_use.discard(self._number)
        self._camera = self._network = self._opened = self._session = self._starter = self._closer = None
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
        self._opened = _Opened(
            layouts[0], layouts[1], rotation_left, full_range, tuple(privacy_masks), encoder, settings, framerate
        )
        return CameraDescription(
            model=str(camera.camera_properties.get("Model", "unknown")),
            width=layouts[0].width,
            height=layouts[0].height,
            framerate=framerate,
            rotation_left=rotation_left,
            luma_size=LumaTap(layouts[1], rotation_left=rotation_left).size,
            can_mask=True,
            extra={**_capabilities(camera, encoder), **_sensor_mode_given(given, self._network)},
            substream_size=(layouts[1].width, layouts[1].height),
            first_packet_s=None if self._network is None else FIRST_PACKET_S,
        )


def _take(number: int) -> tuple[Any, Optional[Imx500Network]]:
    """The camera, opened for us alone, and the network for its sensor where it takes one. Raises Unavailable."""
    if number in _in_use:
        raise Unavailable(f"camera {number} is in use by this process")
    with _errors_mapped("libcamera does not list the cameras"):
        found = Picamera2.global_camera_info()
    if number >= len(found):
        models = ", ".join(str(info.get("Model", "unknown")) for info in found) or "none"
        raise Unavailable(f"there is no camera {number} (found: {models})")
    network = imx500_network(found[number]["Id"]) if found[number].get("Model") == SENSOR else None
    with _errors_mapped("the camera cannot be opened, another program may use it"):
        camera = Picamera2(number)
    _in_use.add(number)
    return camera, network


def _streams_as_given(camera: Any, settings: CameraSettings) -> Mapping[str, Any]:
    """Configure the camera, and return what it really gives: it adjusts in silence."""
    mode = _sensor_mode(camera, settings)
    try:
        camera.configure(_streams_wanted(camera, settings, mode))
    except RuntimeError as error:
        if "Invalid camera configuration" not in str(error):
            raise
        if not mode:
            raise InvalidInput("camera.resolution", f"the camera refuses {settings.resolution}") from error
        # Older versions of the library ask libcamera for modes that the sensor may not have.
        logger.info("The sensor refuses its mode %dx%d, and may show less than it sees", *mode["output_size"])
        camera.configure(_streams_wanted(camera, settings, {}))
    given: Mapping[str, Any] = camera.camera_configuration()
    found = (given.get("sensor") or {}).get("output_size")
    if mode and found is not None and found != mode["output_size"]:
        logger.info("The sensor has no mode %dx%d and takes %dx%d", *mode["output_size"], *found)
    return given


def _streams_wanted(camera: Any, settings: CameraSettings, sensor: Mapping[str, Any]) -> Any:
    half_turn = settings.rotation == 180
    width, height = settings.size
    return camera.create_video_configuration(
        main={"size": (width, height), "format": "YUV420"},
        lores={"size": luma_size_before_turn(width, height, settings.rotation), "format": "YUV420"},
        transform=libcamera.Transform(hflip=half_turn, vflip=half_turn),
        buffer_count=_BUFFERS,
        controls=_controls(camera, settings),
        sensor=dict(sensor),
        # Nothing is displayed, and nothing asks the library for pictures: it need not keep one back.
        display=None,
        queue=False,
    )


def _sensor_mode(camera: Any, settings: CameraSettings) -> dict[str, Any]:
    """The sensor's smallest mode that shows all it sees, where it does for this picture; empty: the library's choice.

    The library would take a mode near the size of the picture, which with some sensors shows the middle only.
    """
    name = sensor_of(str(camera.camera_properties.get("Model", "")))
    if name is None:
        return {}
    sensor = SENSORS[name]
    width, height = settings.size
    if width > sensor.full_view[0] or height > sensor.full_view[1] or settings.framerate > sensor.fastest:
        logger.info("For %s at %d the sensor may show less than it sees", settings.resolution, settings.framerate)
        return {}
    return {"output_size": sensor.full_view, "bit_depth": sensor.bit_depth}


def _sensor_mode_given(given: Mapping[str, Any], network: Optional[Imx500Network]) -> dict[str, str]:
    """What becomes known of the sensor by configuring it."""
    size = (given.get("sensor") or {}).get("output_size")
    mode = {} if size is None else {"sensor_mode": f"{size[0]}x{size[1]}"}
    return mode if network is None else {**mode, "recognises": "objects"}


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


def _encoder(layout: Layout, settings: CameraSettings, framerate: float, *, hardware: Any = H264Encoder) -> Any:
    if H264Encoder is not LibavH264Encoder and HARDWARE_ENCODER.exists():
        most = max(_BITRATE_MIN, int(layout.width * layout.height * framerate * _BITS_PER_PIXEL))
        gop_s = GOP_S if _can_force_keyframe(H264Encoder) else GOP_WITHOUT_FORCE_S
        return hardware(
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
    h264 = OurEncoder(settings, width=layout.width, height=layout.height, framerate=framerate)
    return SoftwareEncoder(h264, layout)


def _can_force_keyframe(encoder: Any) -> bool:
    return hasattr(encoder, "force_key_frame")


def _capabilities(camera: Any, encoder: Any) -> dict[str, str]:
    in_hardware = not isinstance(encoder, SoftwareEncoder)
    return {
        "encoder": "hardware" if in_hardware else "libx264",
        "forced_keyframes": "yes" if _can_force_keyframe(encoder) else "no",
        "controls": " ".join(sorted(camera.camera_controls)),
    }


def _session(opened: _Opened, sink: Sink, network: Optional[Imx500Network]) -> Session:
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
        detections=None if network is None else Detections(network.labeller(opened.rotation_left), _metadata),
    )


def _mapped(request: Any, stream: str) -> Any:
    return MappedArray(request, stream, reshape=False)


def _sensor_us(request: Any) -> int:
    """The library's own arithmetic, so that luma frames and packets of one picture bear the same time."""
    return int(request.request.metadata[libcamera.controls.SensorTimestamp] / 1000)


def _metadata(request: Any) -> Mapping[str, Any]:
    metadata: Mapping[str, Any] = request.get_metadata()
    return metadata


def _start_slowly(camera: Any, session: Session) -> None:
    try:
        with _errors_mapped("the camera does not start"):
            camera.start()
    except Unavailable as error:
        session.lose(str(error))


def _give_back(camera: Any, encoder: Any, starter: Optional[threading.Thread]) -> None:
    """Stop and close. Not by `stop`, which hangs when the library's thread has died; `close` does not."""
    if starter is not None:
        starter.join()
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
