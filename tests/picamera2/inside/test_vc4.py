"""The adapter on the Pis that have an encoder in hardware. The encoder itself is not here; what is asked of it is."""

from __future__ import annotations

import queue

import pytest
from picamera2.encoders import H264Encoder, LibavH264Encoder

from pinthesky.device.cameras import picamera2
from pinthesky.device.cameras.picamera2 import Picamera2Camera
from pinthesky.device.cameras.picamera2_encoding import IN_FLIGHT_MAX, SKIPPED_MAX, SecondHardwareEncoder
from pinthesky.device.cameras.picamera2_substream import Substream
from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.model.settings import CameraSettings
from tests.contracts.camera_contract import CLOSE_S, Catcher, settings


@pytest.fixture
def encoder_device(monkeypatch, tmp_path):
    """A file where the hardware encoder would be; the library itself goes to /dev/video11, which is not there."""
    device = tmp_path / "video11"
    device.touch()
    monkeypatch.setattr(picamera2, "HARDWARE_ENCODER", device)


def encoder_of(camera: Picamera2Camera) -> H264Encoder:
    assert camera._opened is not None
    return camera._opened.encoder


def test_this_is_the_platform_with_the_encoder():
    assert H264Encoder is not LibavH264Encoder


def test_without_the_device_libx264_encodes():
    camera, caught = Picamera2Camera(), Catcher()
    description = camera.open(settings(), [])
    camera.start(caught)
    assert caught.wait_for(lambda: len(caught.packets) >= 5)
    assert camera.close(CLOSE_S)
    assert description.extra["encoder"] == "libx264"


def test_without_the_device_and_without_pyav_the_camera_says_what_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pinthesky.device.cameras.h264_encoder", None)
    with pytest.raises(InvalidInput, match="PyAV"):
        Picamera2Camera().open(settings(), [])


class TestHardwareEncoder:
    pytestmark = pytest.mark.usefixtures("encoder_device")

    def test_it_is_chosen_and_told_everything(self):
        camera = Picamera2Camera()
        wanted = CameraSettings(rotation=0, resolution="1280x720", framerate=25, encoding_profile="constrained")
        description = camera.open(wanted, [])
        encoder = encoder_of(camera)
        assert type(encoder) is H264Encoder
        assert description.extra["encoder"] == "hardware"
        assert (encoder.iperiod, encoder.repeat, encoder.framerate) == (50, True, 25.0)
        assert encoder.profile == "constrained baseline"
        assert camera.close(CLOSE_S)

    def test_its_bitrate_is_the_setting_but_not_more_than_can_be_seen(self):
        camera = Picamera2Camera()
        camera.open(CameraSettings(rotation=0, resolution="1280x720", framerate=20), [])
        assert encoder_of(camera).bitrate == 1280 * 720 * 20 // 4
        assert camera.close(CLOSE_S)
        camera.open(CameraSettings(rotation=0, resolution="1280x720", framerate=20, encoding_bitrate=800_000), [])
        assert encoder_of(camera).bitrate == 800_000
        assert camera.close(CLOSE_S)

    def test_it_is_asked_for_keyframes_where_the_library_can(self):
        camera = Picamera2Camera()
        description = camera.open(settings(), [])
        assert description.extra["forced_keyframes"] == "yes"
        assert camera.request_keyframe()
        assert encoder_of(camera)._key_frames_requested == 1
        assert camera.close(CLOSE_S)

    def test_where_the_library_cannot_a_keyframe_comes_every_second(self, monkeypatch):
        monkeypatch.delattr(H264Encoder, "force_key_frame")
        camera = Picamera2Camera()
        description = camera.open(settings(), [])
        assert description.extra["forced_keyframes"] == "no"
        assert not camera.request_keyframe()
        assert encoder_of(camera).iperiod == 20
        assert camera.close(CLOSE_S)

    def test_a_second_one_gets_the_bits_it_was_given_and_its_failure_leaves_the_recording_alone(
        self, monkeypatch, encoder_device, tmp_path
    ):
        device = picamera2.HARDWARE_ENCODER
        monkeypatch.setattr(picamera2, "HARDWARE_ENCODER", tmp_path / "nowhere")
        camera, caught = Picamera2Camera(), Catcher()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: caught.packets)
        monkeypatch.setattr(picamera2, "HARDWARE_ENCODER", device)
        asked = []

        def substream(library, encoder, sink):
            asked.append(encoder)
            return Substream(library, encoder, sink)

        monkeypatch.setattr(picamera2, "Substream", substream)
        with pytest.raises(Unavailable, match="video11"):
            camera.start_substream(Catcher(), bitrate=200_000)
        assert type(asked[0]) is SecondHardwareEncoder
        assert (asked[0].bitrate, asked[0].iperiod) == (200_000, 40)
        count = len(caught.packets)
        assert caught.wait_for(lambda: len(caught.packets) >= count + 5)
        assert camera.close(CLOSE_S)

    def test_one_that_does_not_start_makes_the_camera_unavailable_and_lets_it_go(self, monkeypatch, tmp_path):
        camera = Picamera2Camera()
        camera.open(settings(), [])
        with pytest.raises(Unavailable, match="video11"):
            camera.start(Catcher())
        assert encoder_of(camera).running, "the library leaves it so"
        assert camera.close(CLOSE_S)
        monkeypatch.setattr(picamera2, "HARDWARE_ENCODER", tmp_path / "nowhere")
        caught = Catcher()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: caught.packets)
        assert camera.close(CLOSE_S)


class Request:
    """One of the library's, as far as uses of it are counted."""

    def __init__(self) -> None:
        self.ref_count = 1

    def acquire(self) -> None:
        self.ref_count += 1

    def release(self) -> None:
        self.ref_count -= 1


class TestSecondHardwareEncoder:
    @pytest.fixture
    def encoder(self, monkeypatch):
        """Started as the library starts it, but for the device; what it would hand to the driver stays there."""

        def encode(encoder, _stream, request):
            request.acquire()
            if encoder.broken:
                raise OSError("ioctl")
            encoder.buf_frame.put(request)

        monkeypatch.setattr(H264Encoder, "_encode", encode)
        encoder = SecondHardwareEncoder(bitrate=200_000)
        encoder.buf_frame, encoder.broken = queue.Queue(), False
        self.told: list[str] = []
        encoder.on_failure = self.told.append
        return encoder

    def test_one_that_falls_behind_keeps_few_buffers_and_goes_on_when_it_can(self, encoder):
        requests = [Request() for _ in range(IN_FLIGHT_MAX + 5)]
        for request in requests:
            encoder._encode("lores", request)
        assert [request.ref_count for request in requests] == [2] * IN_FLIGHT_MAX + [1] * 5
        encoder.buf_frame.get().release()
        encoder._encode("lores", late := Request())
        assert late.ref_count == 2
        assert self.told == []

    def test_one_that_never_answers_is_given_up_and_told_once(self, encoder):
        for _ in range(IN_FLIGHT_MAX + SKIPPED_MAX * 2):
            encoder._encode("lores", Request())
        assert self.told == ["its encoder does not answer"]
        assert encoder.buf_frame.qsize() == IN_FLIGHT_MAX

    def test_an_error_of_the_driver_leaves_neither_the_thread_nor_a_buffer_behind(self, encoder):
        encoder.broken, request = True, Request()
        encoder._encode("lores", request)
        encoder._encode("lores", request)
        assert request.ref_count == 1
        assert self.told == ["its pictures cannot be encoded: OSError"]
