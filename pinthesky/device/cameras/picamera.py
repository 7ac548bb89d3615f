"""The Pi's own cameras on the legacy camera stack, by picamera 1.13.

For systems that have nothing newer: 32-bit Raspberry Pi OS Bullseye with the legacy stack switched on, or older. What
the library and the firmware do behind our back, and how this adapter answers, is in docs/reference/picamera.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Callable, Optional

from pinthesky.device.cameras import picamera_limits
from pinthesky.device.cameras.bounded_calls import BoundedCalls
from pinthesky.device.cameras.fixed_picture import refuse_picture_settings
from pinthesky.device.cameras.picamera_output import EncoderOutput
from pinthesky.device.ports import DEFAULT_PICTURE, Camera, CameraDescription, Sink
from pinthesky.errors import InvalidInput, InvariantBroken, PinTheSkyError, Unavailable

if TYPE_CHECKING:
    from pinthesky.model.settings import CameraSettings, PictureSettings, Polygon

logger = logging.getLogger(__name__)

FLAG = "--camera"
GOP_S = 2
"""Seconds between keyframes that nobody asked for."""
OPEN_TIMEOUT_S = 8.0
"""The first Zero takes one to two seconds to set the camera up."""
_START_TIMEOUT_S = 5.0
_KEYFRAME_TIMEOUT_S = 1.0
_FAILED_OPEN_CLOSE_S = 2.0
_LOOK_AFTER_S = 0.5
_RECORDING_PORT, _STILL_PORT = 1, 0
"""Outputs of the splitter behind the camera's video port: a still taken there does not disturb the recording."""
_CLOSE_ATTEMPTS = 3
_LED_PIN = 32


def _load() -> Any:
    """The library. Raises InvalidInput where it cannot work."""
    try:
        import picamera  # type: ignore[import-not-found]  # noqa: PLC0415 - there on legacy systems only, untyped
    except ImportError as error:
        raise InvalidInput(
            FLAG, f"picamera needs the Python package picamera 1.13 (apt install python3-picamera): {error}"
        ) from error
    except OSError as error:
        # It loads the firmware's libraries while it is imported.
        raise InvalidInput(
            FLAG,
            "picamera needs the legacy camera stack, which only 32-bit Raspberry Pi OS Bullseye and older have "
            f"({error}); on newer systems use picamera2",
        ) from error
    return picamera


class PicameraCamera(Camera):
    """The camera `picamera`: H.264 and motion vectors from the firmware's encoder.

    - Motion vectors stand in for luma frames (`luma_size` is None).
    - The firmware turns the picture, so nothing is left to the player; at 90 and 270 degrees the size stays as set.
    - Privacy masks are refused: the firmware can black out nothing in what it encodes.

    All calls into the library are made in one thread, each with a time-out, since any of them may hang with the
    firmware.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises InvalidInput where the legacy camera stack is not installed."""
        self._library = _load()
        self._monotonic = monotonic
        self._firmware: Optional[_Firmware] = None
        self._calls: Optional[BoundedCalls] = None

    def open(
        self,
        settings: CameraSettings,
        privacy_masks: Sequence[Polygon],
        *,
        picture: PictureSettings = DEFAULT_PICTURE,
    ) -> CameraDescription:
        """See `Camera.open`."""
        if self._calls is not None:
            raise InvariantBroken("the camera is open already")
        refuse_picture_settings(picture, "a camera on the legacy camera stack")
        if privacy_masks:
            raise InvalidInput(
                "motion.privacy_masks",
                "the legacy camera stack cannot black out parts of what it records, so nothing is recorded at all; "
                "remove the masks, or use picamera2",
            )
        picamera_limits.check(settings)
        self._firmware = _Firmware(self._library, settings, self._monotonic)
        self._calls = BoundedCalls("camera-picamera", look_after=self._firmware.look_after, every_s=_LOOK_AFTER_S)
        try:
            sensor = self._calls.call(self._firmware.open, OPEN_TIMEOUT_S)
        except PinTheSkyError:
            self.close(_FAILED_OPEN_CLOSE_S)
            raise
        width, height = settings.size
        return CameraDescription(
            model=f"{sensor} (legacy camera stack)",
            width=width,
            height=height,
            framerate=float(settings.framerate),
            rotation_left=0,
            luma_size=None,
            can_mask=False,
            extra={"sensor": sensor, "stack": "legacy", "encoded": "by the firmware"},
        )

    def start(self, sink: Sink) -> None:
        """See `Camera.start`."""
        if self._calls is None or self._firmware is None or self._firmware.output is not None:
            raise InvariantBroken("the camera is not open, or has been started")
        firmware = self._firmware
        self._calls.call(lambda: firmware.start(sink), _START_TIMEOUT_S)

    def still(self, timeout_s: float) -> bytes:
        """See `Camera.still`. The video port's next picture at the size of the recording, as it is shown."""
        firmware, calls = self._firmware, self._calls
        if calls is None or firmware is None or firmware.output is None:
            raise Unavailable("the camera is closed" if calls is None else "the camera has not been started")
        if firmware.output.over is not None:
            raise Unavailable(firmware.output.over)
        return calls.call(lambda: firmware.still(timeout_s), timeout_s)

    def request_keyframe(self) -> bool:
        """See `Camera.request_keyframe`."""
        if self._calls is None or self._firmware is None or self._firmware.output is None:
            return False
        try:
            self._calls.call(self._firmware.request_keyframe, _KEYFRAME_TIMEOUT_S)
        except PinTheSkyError as error:
            logger.warning("The camera was not asked for a keyframe: %s", error)
            return False
        return True

    def close(self, timeout_s: float) -> bool:
        """See `Camera.close`."""
        if self._calls is None or self._firmware is None:
            return True
        if self._firmware.output is not None:
            self._firmware.output.end()
        try:
            if not self._calls.end(self._firmware.close, timeout_s):
                return False
        except PinTheSkyError as error:
            logger.error("The camera does not close: %s", error)
            return False
        self._calls = self._firmware = None
        return True


class _Firmware:
    """One PiCamera from open to close. All methods are called in one thread."""

    def __init__(self, library: Any, settings: CameraSettings, monotonic: Callable[[], float]) -> None:
        self.output: Optional[EncoderOutput] = None
        self._library = library
        self._settings = settings
        self._monotonic = monotonic
        self._camera: Any = None

    def open(self) -> str:
        """Take the camera; returns the name of its sensor."""
        settings = self._settings
        with self._errors_mapped():
            camera = self._library.PiCamera(
                resolution=settings.size,
                framerate=settings.framerate,
                # Without it the first picture has the time 0, which the library takes for none.
                clock_mode="raw",
                # We never light it; left to itself, the library fails on boards whose pin it does not know.
                led_pin=_LED_PIN,
            )
            self._camera = camera
            if settings.framerate > camera.MAX_FRAMERATE:
                raise InvalidInput(
                    "camera.framerate",
                    f"must be at most {camera.MAX_FRAMERATE} with the sensor {camera.revision}, "
                    f"got {settings.framerate}",
                )
            camera.rotation = settings.rotation
            return str(camera.revision)

    def start(self, sink: Sink) -> None:
        """Begin to record."""
        settings, camera = self._settings, self._camera
        output = EncoderOutput(
            sink,
            frame=self._current_frame,
            vector_shape=picamera_limits.vector_shape(*settings.size),
            framerate=settings.framerate,
            monotonic=self._monotonic,
        )
        with self._errors_mapped():
            # Pictures may come before the call returns, and a still needs none.
            self.output = output
            camera.start_recording(
                output.pictures,
                format="h264",
                splitter_port=_RECORDING_PORT,
                motion_output=output.vectors,
                bitrate=settings.encoding_bitrate,
                profile=settings.encoding_profile,
                level=settings.encoding_level,
                intra_period=settings.framerate * GOP_S,
                inline_headers=True,
                sps_timing=True,
            )

    def still(self, timeout_s: float) -> bytes:
        """A JPEG."""
        jpeg = BytesIO()
        with self._errors_mapped():
            # Of the class: instances have no attributes of their own. Its minute would hold up everything else.
            type(self._camera).CAPTURE_TIMEOUT = timeout_s
            self._camera.capture(jpeg, format="jpeg", use_video_port=True, splitter_port=_STILL_PORT, thumbnail=None)
        return jpeg.getvalue()

    def request_keyframe(self) -> None:
        """The next picture is one."""
        with self._errors_mapped():
            self._camera.request_key_frame(splitter_port=_RECORDING_PORT)

    def look_after(self) -> None:
        """Tell what ended the recording: the library stops it in silence, and says why when it is asked."""
        output = self.output
        if output is None or output.over is not None:
            return
        try:
            with self._errors_mapped():
                self._camera.wait_recording(0, splitter_port=_RECORDING_PORT)
            self._current_frame()
            if not self._camera.recording:
                output.lose("the recording has ended by itself")
        except PinTheSkyError as error:
            output.lose(str(error))
        except Exception as error:
            logger.exception("the legacy camera cannot be looked after")
            output.lose(f"the camera failed: {type(error).__name__}")

    def close(self) -> None:
        """Give the camera back. Raises Unavailable when the library does not manage to."""
        camera = self._camera
        for _ in range(_CLOSE_ATTEMPTS):
            if camera is None or camera.closed:
                return
            try:
                camera.close()
            except (self._library.PiCameraError, OSError) as error:
                # What ended a recording is raised here too, and leaves the camera half closed.
                logger.warning("Closing the camera: %s", error)
        if not camera.closed:
            raise Unavailable("the camera stays half closed")

    def _current_frame(self) -> Any:
        """What the library says of the buffer that is being written. Raises Unavailable when the sensor has failed."""
        with self._errors_mapped():
            try:
                return self._camera.frame
            except RuntimeError as error:
                # The library looks through its encoders while a still adds or takes one: Python itself complains.
                if type(error) is not RuntimeError:
                    raise
                return self._camera.frame

    @contextmanager
    def _errors_mapped(self) -> Iterator[None]:
        library = self._library
        try:
            yield
        except library.PiCameraValueError as error:
            raise InvalidInput("camera", str(error)) from error
        except library.PiCameraMMALError as error:
            if error.status in (library.mmal.MMAL_ENOMEM, library.mmal.MMAL_ENOSPC):
                raise Unavailable(
                    "the camera is in use by another program, or the firmware has too little memory "
                    f"(gpu_mem=128 or more in /boot/config.txt): {error}"
                ) from error
            raise Unavailable(f"the camera's firmware refuses: {error}") from error
        except library.PiCameraError as error:
            if "not enabled" in str(error):
                raise Unavailable(
                    "the camera is not enabled, not connected, or in use: switch on the legacy camera in raspi-config "
                    "(Interface Options) and reboot; `vcgencmd get_camera` must say supported=1 detected=1"
                ) from error
            raise Unavailable(f"the camera failed: {error}") from error
