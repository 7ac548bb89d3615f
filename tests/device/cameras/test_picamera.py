"""The legacy Pi camera: picamera's own code over a stand-in of the firmware's library."""

from __future__ import annotations

import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from pinthesky.device.cameras import picamera as adapter
from pinthesky.device.cameras.picamera import PicameraCamera
from pinthesky.device.ports import CameraLost, Frame, MotionVectors, Packet
from pinthesky.errors import InvalidInput, InvariantBroken, Unavailable
from pinthesky.model.settings import CameraSettings, PictureSettings
from tests.support.legacy_firmware import BOOTED_US, Firmware, legacy_stack
from tests.support.legacy_scenes import PPS, SPS, PlainScene, picture_numbers
from tests.support.mmal_library import PACKAGE, is_installed

needs_picamera = pytest.mark.skipif(not is_installed(), reason="picamera 1.13 is not in .venvs/picamera: `make setup`")
pytestmark = needs_picamera

SPEED = 8.0
PATIENCE_S = 10.0
SETTINGS = CameraSettings(rotation=0)
MASK = [(0, 0), (500, 0), (500, 500)]


class Caught:
    """A sink that lets a test wait."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._changed = threading.Condition()

    def __call__(self, frame: Frame) -> None:
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()

    def of(self, kind: type) -> list:
        """Frames of a kind."""
        return [frame for frame in list(self.frames) if isinstance(frame, kind)]

    def wait_for(self, condition: Callable[[], object]) -> bool:
        """Whether it holds in time."""
        with self._changed:
            return bool(self._changed.wait_for(condition, PATIENCE_S))

    def wait_for_packets(self, count: int) -> bool:
        """Whether so many more come."""
        wanted = len(self.of(Packet)) + count
        return self.wait_for(lambda: len(self.of(Packet)) >= wanted)


@pytest.fixture
def firmware() -> Iterator[Firmware]:
    with legacy_stack(PlainScene(), speed=SPEED) as running:
        yield running


@pytest.fixture
def camera(firmware: Firmware) -> Iterator[PicameraCamera]:
    made = PicameraCamera()
    yield made
    assert made.close(PATIENCE_S)


@pytest.fixture
def caught(camera: PicameraCamera) -> Caught:
    """What the running camera gives."""
    sink = Caught()
    camera.open(SETTINGS, [])
    camera.start(sink)
    assert sink.wait_for_packets(3)
    return sink


# Where it can work


def test_without_the_library_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "picamera", None)
    with pytest.raises(InvalidInput, match=r"needs the Python package picamera 1\.13") as refusal:
        PicameraCamera()
    assert refusal.value.field == "--camera"


@pytest.mark.skipif(Path("/opt/vc/lib/libmmal.so").exists(), reason="this machine has the legacy camera stack")
def test_without_the_legacy_stack_the_message_says_where_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(PACKAGE))
    with pytest.raises(InvalidInput, match=r"only 32-bit Raspberry Pi OS Bullseye and older have.*picamera2"):
        PicameraCamera()
    assert "picamera" not in sys.modules


# Opening


def test_it_describes_what_the_firmware_gives(camera: PicameraCamera):
    description = camera.open(CameraSettings(rotation=90, resolution="1280x720", framerate=25), [])
    assert (description.width, description.height, description.framerate) == (1280, 720, 25.0)
    assert description.model == "ov5647 (legacy camera stack)"
    assert description.rotation_left == 0
    assert description.luma_size is None
    assert not description.can_mask


def test_privacy_masks_are_refused_before_anything_is_opened(camera: PicameraCamera, firmware: Firmware):
    with pytest.raises(InvalidInput, match="cannot black out") as refusal:
        camera.open(SETTINGS, [MASK])
    assert refusal.value.field == "motion.privacy_masks"
    assert firmware.calls == []


def test_picture_settings_are_refused_before_anything_is_opened(camera: PicameraCamera, firmware: Firmware):
    with pytest.raises(InvalidInput, match="legacy camera stack takes no picture settings") as refusal:
        camera.open(SETTINGS, [], picture=PictureSettings(sharpness=2.0))
    assert refusal.value.field == "picture.sharpness"
    assert firmware.calls == []


def test_what_the_encoder_cannot_do_is_refused_before_anything_is_opened(camera: PicameraCamera, firmware: Firmware):
    with pytest.raises(InvalidInput, match="1920x1080"):
        camera.open(CameraSettings(resolution="2592x1944"), [])
    assert firmware.calls == []


def test_more_frames_than_the_sensor_gives_are_refused_and_fewer_then_taken(camera: PicameraCamera):
    with pytest.raises(InvalidInput, match="at most 90 with the sensor ov5647, got 120") as refusal:
        camera.open(CameraSettings(framerate=120), [])
    assert refusal.value.field == "camera.framerate"
    assert camera.open(CameraSettings(framerate=90), []).framerate == 90


def test_what_the_library_refuses_itself_is_invalid(camera: PicameraCamera, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pinthesky.device.cameras.picamera_limits.check", lambda _: None)
    camera.open(CameraSettings(encoding_level="1.1"), [])
    with pytest.raises(InvalidInput, match="exceeds 240000"):
        camera.start(Caught())


def test_the_encoder_is_set_as_asked(camera: PicameraCamera, firmware: Firmware):
    settings = CameraSettings(encoding_bitrate=2_000_000, encoding_profile="main", encoding_level="3.1", framerate=15)
    camera.open(settings, [])
    camera.start(Caught())
    mmal = firmware.mmal
    output = next(found for found in firmware.components if found.name == "vc.ril.video_encode").outputs[0]
    assert output.format.bitrate == 2_000_000
    assert output.parameters[mmal.MMAL_PARAMETER_INTRAPERIOD] == 30
    assert output.parameters[mmal.MMAL_PARAMETER_VIDEO_ENCODE_INLINE_HEADER]
    assert output.parameters[mmal.MMAL_PARAMETER_VIDEO_ENCODE_SPS_TIMING]
    _, _, profile, level = struct.unpack_from("<4I", output.parameters[mmal.MMAL_PARAMETER_PROFILE])
    assert (profile, level) == (mmal.MMAL_VIDEO_PROFILE_H264_MAIN, mmal.MMAL_VIDEO_LEVEL_H264_31)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_firmware_turns_every_output_and_nothing_is_left_to_the_player(
    camera: PicameraCamera, firmware: Firmware, rotation
):
    description = camera.open(CameraSettings(rotation=rotation), [])
    turned = [
        firmware.parameter("vc.ril.camera", firmware.mmal.MMAL_PARAMETER_ROTATION, output=output) for output in range(3)
    ]
    assert turned == [rotation] * 3
    assert (description.rotation_left, description.width, description.height) == (0, 640, 480)


@pytest.mark.parametrize(
    "where, status, says",
    [
        ("vc.ril.camera", "MMAL_ENOMEM", "switch on the legacy camera in raspi-config"),
        ("vc.ril.video_splitter", "MMAL_ENOMEM", "in use by another program"),
        ("mmal_port_format_commit", "MMAL_EINVAL", "firmware refuses.*Argument is invalid"),
    ],
)
def test_a_camera_that_cannot_be_had_now_can_be_tried_again(
    camera: PicameraCamera, firmware: Firmware, where: str, status: str, says: str
):
    firmware.refusals[where] = getattr(firmware.mmal, status)
    with pytest.raises(Unavailable, match=says):
        camera.open(SETTINGS, [])
    assert firmware.components == []
    firmware.refusals.clear()
    assert camera.open(SETTINGS, [])


def test_a_camera_in_use_elsewhere_is_said_to_be():
    # picamera 1.13 forgets the sink that it had made for the preview, at every attempt.
    with legacy_stack(PlainScene(), gives_back=False) as firmware:
        camera = PicameraCamera()
        firmware.refusals["mmal_connection_enable"] = firmware.mmal.MMAL_ENOSPC
        with pytest.raises(Unavailable, match=r"in use by another program.*gpu_mem=128"):
            camera.open(SETTINGS, [])
        assert [component.name for component in firmware.components] == ["vc.null_sink"]
        firmware.refusals.clear()
        assert camera.open(SETTINGS, [])
        assert camera.close(PATIENCE_S)


def test_a_recording_that_does_not_start_can_be_tried_again(camera: PicameraCamera, firmware: Firmware):
    camera.open(SETTINGS, [])
    firmware.refusals["vc.ril.video_encode"] = firmware.mmal.MMAL_ENOMEM
    with pytest.raises(Unavailable, match="too little memory"):
        camera.start(Caught())
    assert camera.close(PATIENCE_S)
    firmware.refusals.clear()
    camera.open(SETTINGS, [])
    camera.start(Caught())
    assert camera.request_keyframe()


# Pictures


def test_pictures_come_whole_and_in_order_with_the_firmwares_own_times(caught: Caught):
    assert caught.wait_for_packets(45)
    packets = caught.of(Packet)
    numbers = picture_numbers(b"".join(packet.data for packet in packets))
    assert numbers == list(range(numbers[0], numbers[0] + len(packets)))
    assert [packet.timestamp_us for packet in packets] == [BOOTED_US + number * 50_000 for number in numbers]


def test_every_keyframe_has_its_headers_and_two_seconds_lie_between_them(caught: Caught):
    assert caught.wait_for_packets(85)
    packets = caught.of(Packet)
    keyframes = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    assert keyframes[:3] == [0, 40, 80]
    assert all(packet.data.startswith(SPS + PPS) == packet.is_keyframe for packet in packets)


def test_every_picture_but_the_keyframes_brings_its_motion_vectors(caught: Caught):
    assert caught.wait_for_packets(45)
    packets = {packet.timestamp_us: packet for packet in caught.of(Packet)}
    vectors = caught.of(MotionVectors)
    assert len(vectors) >= len(packets) - 4
    for record in vectors:
        packet = packets[record.timestamp_us]
        assert not packet.is_keyframe
        assert record.vectors.shape == (30, 41)
        assert np.unique(record.vectors["sad"]).tolist() == picture_numbers(packet.data)


def test_a_keyframe_asked_for_comes_with_the_next_picture(camera: PicameraCamera, caught: Caught):
    before = len(caught.of(Packet))
    assert camera.request_keyframe()
    assert caught.wait_for_packets(4)
    assert any(packet.is_keyframe for packet in caught.of(Packet)[before : before + 3])


def test_a_keyframe_that_the_firmware_refuses_is_not_promised(
    camera: PicameraCamera, caught: Caught, firmware: Firmware
):
    firmware.refusals["mmal_port_parameter_set_boolean"] = firmware.mmal.MMAL_EIO
    assert not camera.request_keyframe()
    firmware.refusals.clear()
    assert camera.request_keyframe()


def test_without_a_recording_no_keyframe_is_promised(camera: PicameraCamera):
    assert not camera.request_keyframe()
    camera.open(SETTINGS, [])
    assert not camera.request_keyframe()


def test_stills_come_by_the_video_port_and_the_recording_loses_nothing(camera: PicameraCamera, caught: Caught):
    for _ in range(5):
        still = camera.still(PATIENCE_S)
        assert still.startswith(b"\xff\xd8")
        assert still.endswith(b"\xff\xd9")
    assert caught.wait_for_packets(3)
    numbers = picture_numbers(b"".join(packet.data for packet in caught.of(Packet)))
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_a_still_that_does_not_come_is_given_up_and_the_next_one_taken(
    camera: PicameraCamera, caught: Caught, firmware: Firmware
):
    firmware.stills_hang.set()
    began_s = time.monotonic()
    with pytest.raises(Unavailable):
        camera.still(0.2)
    assert time.monotonic() - began_s < 2
    firmware.stills_hang.clear()
    assert camera.still(PATIENCE_S)
    assert caught.of(CameraLost) == []


def test_a_still_that_never_comes_does_not_keep_the_camera_from_closing(
    camera: PicameraCamera, caught: Caught, firmware: Firmware
):
    firmware.stills_hang.set()
    with pytest.raises(Unavailable):
        camera.still(0.2)
    assert camera.close(PATIENCE_S / 2)


def test_a_camera_that_was_not_started_has_no_still(camera: PicameraCamera):
    with pytest.raises(Unavailable, match="is closed"):
        camera.still(0.1)
    camera.open(SETTINGS, [])
    with pytest.raises(Unavailable, match="has not been started"):
        camera.still(0.1)


def test_the_library_looking_through_encoders_that_change_is_no_failure(firmware: Firmware):
    class Encoders:
        asked = 0

        @property
        def frame(self) -> str:
            self.asked += 1
            if self.asked == 1:
                raise RuntimeError("dictionary changed size during iteration")
            return "the frame"

    inner = adapter._Firmware(sys.modules["picamera"], SETTINGS, time.monotonic)
    inner._camera = Encoders()
    assert inner._current_frame() == "the frame"


# Failure


def test_a_sensor_that_fails_is_a_loss_with_the_firmwares_reason(
    camera: PicameraCamera, caught: Caught, firmware: Firmware
):
    # No picture comes any more that would bring the news along.
    firmware.stalled.set()
    number = firmware.number
    assert _wait_until(lambda: firmware.number > number + 2)
    firmware.lose_sensor()
    assert caught.wait_for(lambda: caught.of(CameraLost))
    (loss,) = caught.of(CameraLost)
    assert loss.reason.startswith("the camera failed: No data recevied from sensor. Check all connections")
    with pytest.raises(Unavailable, match="No data"):
        camera.still(0.1)


def test_a_recording_that_the_library_stops_in_silence_is_a_loss(
    camera: PicameraCamera, caught: Caught, firmware: Firmware
):
    firmware.refusals["mmal_buffer_header_mem_lock"] = firmware.mmal.MMAL_EFAULT
    assert caught.wait_for(lambda: caught.of(CameraLost))
    firmware.refusals.clear()
    assert "unable to lock buffer" in caught.of(CameraLost)[0].reason
    assert camera.close(PATIENCE_S)
    assert firmware.components == []


def test_a_recording_that_stopped_and_was_not_looked_after_yet_is_closed_all_the_same(
    firmware: Firmware, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(adapter, "_LOOK_AFTER_S", 60.0)
    camera, sink = PicameraCamera(), Caught()
    camera.open(SETTINGS, [])
    camera.start(sink)
    assert sink.wait_for_packets(3)
    firmware.refusals["mmal_buffer_header_mem_lock"] = firmware.mmal.MMAL_EFAULT
    count = firmware.number
    assert _wait_until(lambda: firmware.number > count + 3)
    assert camera.close(PATIENCE_S)
    assert firmware.components == []
    assert "unable to lock buffer" in caplog.text


def test_a_recording_that_ends_by_itself_is_a_loss(caught: Caught, firmware: Firmware):
    firmware.end_stream()
    assert caught.wait_for(lambda: caught.of(CameraLost))
    assert caught.of(CameraLost) == [CameraLost("the recording has ended by itself")]


def test_vectors_of_another_picture_size_are_a_loss(caught: Caught, firmware: Firmware):
    firmware.vectors_cut = 164
    assert caught.wait_for(lambda: caught.of(CameraLost))
    assert caught.of(CameraLost) == [CameraLost("a picture's motion vectors are 4756 bytes, not 4920")]


def test_an_error_of_the_library_that_nobody_foresaw_is_a_loss(
    camera: PicameraCamera, caught: Caught, firmware: Firmware, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["picamera"].PiCamera, "wait_recording", fail)
    assert caught.wait_for(lambda: caught.of(CameraLost))
    assert caught.of(CameraLost) == [CameraLost("the camera failed: ZeroDivisionError")]
    monkeypatch.undo()


def test_a_firmware_that_hangs_while_it_is_opened_is_not_waited_for(
    firmware: Firmware, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(adapter, "OPEN_TIMEOUT_S", 0.1)
    monkeypatch.setattr(adapter, "_FAILED_OPEN_CLOSE_S", 0.1)
    firmware.hangs.add("mmal_component_create")
    camera = PicameraCamera()
    with pytest.raises(Unavailable, match=r"did not answer within 0\.1 s"):
        camera.open(SETTINGS, [])
    assert not camera.close(0.1)
    with pytest.raises(InvariantBroken):
        camera.open(SETTINGS, [])
    firmware.hangs.clear()
    assert camera.close(PATIENCE_S)
    assert firmware.components == [], "the camera that was opened after all has been closed"


def test_a_still_that_hangs_in_the_firmware_costs_keyframes_on_demand_and_not_the_recording(
    camera: PicameraCamera, caught: Caught, firmware: Firmware, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(adapter, "_KEYFRAME_TIMEOUT_S", 0.1)
    firmware.hangs.add("mmal_component_create")
    with pytest.raises(Unavailable):
        camera.still(0.1)
    assert not camera.request_keyframe()
    assert caught.wait_for_packets(5)
    firmware.hangs.clear()
    assert camera.close(PATIENCE_S)


def test_a_close_that_hangs_is_not_waited_for_and_nothing_more_comes(firmware: Firmware):
    camera, sink = PicameraCamera(), Caught()
    camera.open(SETTINGS, [])
    camera.start(sink)
    assert sink.wait_for_packets(3)
    firmware.hangs.add("mmal_port_parameter_set_boolean")
    began_s = time.monotonic()
    assert not camera.close(0.2)
    assert time.monotonic() - began_s < 2
    count, number = len(sink.frames), firmware.number
    assert _wait_until(lambda: firmware.number > number + 5)
    assert len(sink.frames) == count
    firmware.hangs.clear()
    assert camera.close(PATIENCE_S)


def test_a_camera_that_stays_half_closed_is_said_to_hang(caplog: pytest.LogCaptureFixture):
    with legacy_stack(PlainScene(), speed=SPEED, gives_back=False) as firmware:
        camera = PicameraCamera()
        camera.open(SETTINGS, [])
        camera.start(Caught())
        firmware.refusals["mmal_port_disable"] = firmware.mmal.MMAL_EIO
        assert not camera.close(PATIENCE_S)
    assert "half closed" in caplog.text


def test_it_opens_again_and_again(camera: PicameraCamera):
    for _ in range(5):
        sink = Caught()
        camera.open(SETTINGS, [])
        camera.start(sink)
        assert sink.wait_for_packets(2)
        assert camera.still(PATIENCE_S)
        assert camera.close(PATIENCE_S)
        assert sink.of(Packet)[0].is_keyframe
        assert sink.of(CameraLost) == []


def _wait_until(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True
