"""The legacy camera firmware as picamera sees it: pictures that go through components, and come as buffers.

Buffers come as the real firmware was seen to send them (raspberrypi/userland issues 174, 210 and 609): SPS and PPS in
buffers of their own with the time 0, the picture split over several, of which the last ends the frame, then the motion
vectors. Which pictures, is the `Scene`'s business.
"""

from __future__ import annotations

import ctypes as ct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Optional, Protocol

from tests.support.mmal_library import Mmal, forget_picamera, import_picamera
from tests.support.mmal_parts import Component, Port

BOOTED_US = 743_430_883
"""Microseconds on the firmware's clock when a camera is first used."""
BUFFER_BYTES = 512
"""Small, so that nearly every picture takes several."""
SENSOR = b"ov5647"
_US = 1_000_000


class Shot(NamedTuple):
    """How the encoder is set, and what it has to encode."""

    number: int
    """Of the picture, from the first capture on."""
    width: int
    height: int
    framerate: float
    rotation: int
    is_keyframe: bool


class Encoded(NamedTuple):
    """A picture, encoded."""

    headers: tuple[bytes, ...]
    """SPS and PPS, with their start codes."""
    picture: bytes
    vectors: bytes


class Scene(Protocol):
    """What the camera sees, and how it is encoded."""

    def encoded(self, shot: Shot) -> Encoded:
        """The picture as H.264."""
        ...

    def jpeg(self, shot: Shot) -> bytes:
        """The picture as JPEG."""
        ...


class Firmware(Mmal):
    """One camera. It runs while somebody captures, and has its faults on demand."""

    def __init__(self, mmal: Any, scene: Scene, *, buffer_bytes: int = BUFFER_BYTES, speed: float = 1.0) -> None:
        super().__init__(mmal, buffer_bytes=buffer_bytes)
        self.scene = scene
        self.speed = speed
        self.stalled = threading.Event()
        """While it is set, the sensor gives nothing."""
        self.stills_hang = threading.Event()
        """While it is set, no still comes."""
        self.hangs: set[str] = set()
        """Functions that do not return while they are in here."""
        self.vectors_cut = 0
        """Bytes missing from each picture's motion vectors."""
        self.number = 0
        self._first: dict[int, int] = {}
        self._since_keyframe: dict[int, int] = {}
        self._keyframe_asked: set[int] = set()
        self._stop = threading.Event()
        self._capturing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="legacy-firmware", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End its thread."""
        self.hangs.clear()
        self._stop.set()
        self._capturing.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def lose_sensor(self) -> None:
        """The sensor's data stops, and the firmware notices."""
        self.stalled.set()
        camera = self._component("vc.ril.camera")
        assert camera is not None
        camera.control.event(self.mmal.MMAL_EVENT_ERROR)

    def parameter(self, component: str, parameter: int, *, output: int = 0) -> Any:
        """What was set on an output of a component."""
        found = self._component(component)
        assert found is not None
        return found.outputs[output].parameters.get(parameter)

    def end_stream(self) -> None:
        """The encoder says that nothing more will come."""
        encoder = self._component("vc.ril.video_encode")
        assert encoder is not None
        encoder.outputs[0].deliver(b"", flags=self.mmal.MMAL_BUFFER_HEADER_FLAG_EOS, pts=0)

    def called(self, name: str, arguments: tuple[Any, ...]) -> Any:
        while name in self.hangs:
            time.sleep(0.01)
        return super().called(name, arguments)

    def was_set(self, port: Port, parameter: int) -> None:
        if parameter == self.mmal.MMAL_PARAMETER_CAPTURE:
            self._capturing.set()
        elif parameter == self.mmal.MMAL_PARAMETER_VIDEO_REQUEST_I_FRAME:
            self._keyframe_asked.add(port.component.address)

    def default(self, port: Port, parameter: int) -> Any:
        mmal = self.mmal
        if parameter == mmal.MMAL_PARAMETER_FRAME_RATE:
            return port.video.frame_rate.num, port.video.frame_rate.den
        structures = {
            mmal.MMAL_PARAMETER_CAMERA_INFO: self._camera_info,
            mmal.MMAL_PARAMETER_SUPPORTED_ENCODINGS: self._encodings,
            mmal.MMAL_PARAMETER_CAMERA_CONFIG: mmal.MMAL_PARAMETER_CAMERA_CONFIG_T,
            mmal.MMAL_PARAMETER_ANNOTATE: mmal.MMAL_PARAMETER_CAMERA_ANNOTATE_V3_T,
            mmal.MMAL_PARAMETER_FPS_RANGE: mmal.MMAL_PARAMETER_FPS_RANGE_T,
            mmal.MMAL_PARAMETER_EXP_METERING_MODE: mmal.MMAL_PARAMETER_EXPOSUREMETERINGMODE_T,
            mmal.MMAL_PARAMETER_EXPOSURE_MODE: mmal.MMAL_PARAMETER_EXPOSUREMODE_T,
            mmal.MMAL_PARAMETER_AWB_MODE: mmal.MMAL_PARAMETER_AWBMODE_T,
            mmal.MMAL_PARAMETER_IMAGE_EFFECT: mmal.MMAL_PARAMETER_IMAGEFX_T,
        }
        make = structures.get(parameter)
        if make is not None:
            structure = make()
            structure.hdr.id, structure.hdr.size = parameter, ct.sizeof(structure)
            return bytes(structure)
        numbers = {mmal.MMAL_PARAMETER_MIRROR: 0, mmal.MMAL_PARAMETER_ROTATION: 0, mmal.MMAL_PARAMETER_INTRAPERIOD: 60}
        return numbers.get(parameter)

    def _camera_info(self) -> Any:
        info = self.mmal.MMAL_PARAMETER_CAMERA_INFO_V2_T(num_cameras=1)
        info.cameras[0].camera_name, info.cameras[0].max_width, info.cameras[0].max_height = SENSOR, 2592, 1944
        return info

    def _encodings(self) -> Any:
        encodings = self.mmal.MMAL_PARAMETER_ENCODING_T()
        encodings.encoding[0], encodings.encoding[1] = self.mmal.MMAL_ENCODING_I420, self.mmal.MMAL_ENCODING_RGB24
        return encodings

    def _component(self, name: str) -> Optional[Component]:
        return next((component for component in list(self.components) if component.name == name), None)

    # Pictures

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set():
            video = self._video_port()
            if video is None:
                self._capturing.clear()
                if self._video_port() is None:
                    self._capturing.wait(0.5)
                due_s = time.monotonic()
                continue
            framerate = video.video.frame_rate.num / video.video.frame_rate.den
            if not self.stalled.is_set():
                self._shoot(video, framerate)
            self.number += 1
            due_s = max(due_s + 1 / framerate / self.speed, time.monotonic() - 1)
            self._stop.wait(max(0.0, due_s - time.monotonic()))

    def _video_port(self) -> Optional[Port]:
        """The camera's video port, while it captures."""
        camera = self._component("vc.ril.camera")
        if camera is None:
            self._first.clear()
            return None
        port = camera.outputs[1]
        captures = port.parameters.get(self.mmal.MMAL_PARAMETER_CAPTURE)
        return port if captures and port.connection is not None and port.connection.enabled else None

    def _shoot(self, video: Port, framerate: float) -> None:
        assert video.connection is not None
        for output in video.connection.target.component.outputs:
            if output.connection is None or not output.connection.enabled:
                continue
            encoder = output.connection.target.component
            if encoder.outputs[0].enabled:
                shot = Shot(
                    self.number,
                    video.video.crop.width,
                    video.video.crop.height,
                    framerate,
                    video.parameters.get(self.mmal.MMAL_PARAMETER_ROTATION, 0),
                    is_keyframe=False,
                )
                if encoder.name == "vc.ril.video_encode":
                    self._record(encoder, shot, self._time_us(video, framerate))
                elif not self.stills_hang.is_set():
                    self._send(encoder.outputs[0], self.scene.jpeg(shot), pts=self._time_us(video, framerate))

    def _time_us(self, video: Port, framerate: float) -> int:
        """The picture's time: since the firmware's start, or since the first picture of this camera."""
        mmal = self.mmal
        first = self._first.setdefault(video.address, self.number)
        config = mmal.MMAL_PARAMETER_CAMERA_CONFIG_T.from_buffer_copy(
            video.component.control.parameters[mmal.MMAL_PARAMETER_CAMERA_CONFIG]
        )
        if config.use_stc_timestamp == mmal.MMAL_PARAM_TIMESTAMP_MODE_RAW_STC:
            return BOOTED_US + int(self.number * _US / framerate)
        return int((self.number - first) * _US / framerate)

    def _record(self, encoder: Component, shot: Shot, time_us: int) -> None:
        mmal, port = self.mmal, encoder.outputs[0]
        since = self._since_keyframe.get(encoder.address)
        period = port.parameters.get(mmal.MMAL_PARAMETER_INTRAPERIOD, 60)
        asked = encoder.address in self._keyframe_asked
        is_keyframe = since is None or since + 1 >= period or asked
        self._keyframe_asked.discard(encoder.address)
        self._since_keyframe[encoder.address] = 0 if is_keyframe or since is None else since + 1
        encoded = self.scene.encoded(shot._replace(is_keyframe=is_keyframe))
        inline = port.parameters.get(mmal.MMAL_PARAMETER_VIDEO_ENCODE_INLINE_HEADER)
        if since is None or (is_keyframe and inline):
            for index, header in enumerate(encoded.headers):
                is_last = index == len(encoded.headers) - 1
                end = mmal.MMAL_BUFFER_HEADER_FLAG_FRAME_END if is_last else 0
                port.deliver(header, flags=mmal.MMAL_BUFFER_HEADER_FLAG_CONFIG | end, pts=0)
        self._send(port, encoded.picture, pts=time_us, flags=is_keyframe * mmal.MMAL_BUFFER_HEADER_FLAG_KEYFRAME)
        if port.parameters.get(mmal.MMAL_PARAMETER_VIDEO_ENCODE_INLINE_VECTORS):
            vectors = encoded.vectors[: len(encoded.vectors) - self.vectors_cut]
            self._send(port, vectors, pts=time_us, flags=mmal.MMAL_BUFFER_HEADER_FLAG_CODECSIDEINFO)

    def _send(self, port: Port, data: bytes, *, pts: int, flags: int = 0) -> None:
        size = port.struct.buffer_size
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        for index, piece in enumerate(pieces):
            end = self.mmal.MMAL_BUFFER_HEADER_FLAG_FRAME_END if index == len(pieces) - 1 else 0
            port.deliver(piece, flags=flags | end, pts=pts)


@contextmanager
def legacy_stack(
    scene: Scene, *, buffer_bytes: int = BUFFER_BYTES, speed: float = 1.0, gives_back: bool = True
) -> Iterator[Firmware]:
    """picamera can be imported, and finds a camera. In the end everything must have been given back."""
    picamera = import_picamera()
    firmware = Firmware(picamera.mmal, scene, buffer_bytes=buffer_bytes, speed=speed)
    Mmal.current = firmware
    try:
        yield firmware
        left = [component.name for component in firmware.components]
        assert not gives_back or (left == [] and firmware.pools == []), f"not given back to the firmware: {left}"
    finally:
        firmware.stop()
        Mmal.current = None
        forget_picamera()
