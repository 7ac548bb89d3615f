"""The picamera2 adapter on the real library: what the contract of all cameras does not ask."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from picamera2 import Picamera2

from pinthesky.device.cameras import annex_b, picamera2, picamera2_substream
from pinthesky.device.cameras.geometry import polygon_mask, turned
from pinthesky.device.cameras.picamera2 import PiCamera, Picamera2Camera, pi_cameras
from pinthesky.device.cameras.yuv420 import LumaTap, Planes, PrivacyBurner
from pinthesky.device.ports import SubstreamLost
from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.model.settings import CameraSettings, PictureSettings
from tests.contracts.camera_contract import CLOSE_S, Catcher, decoded_still, settings
from tests.support.picture_numbers import numbers_in_packets, read_number

ROTATIONS = (0, 90, 180, 270)
TRIANGLE = [(0, 0), (700, 0), (0, 800)]
BOX = [(600, 300), (900, 300), (900, 700), (600, 700)]


def settings_of(resolution: str = "640x480", framerate: int = 20, rotation: int = 0) -> CameraSettings:
    return msgspec.structs.replace(settings(rotation=rotation), resolution=resolution, framerate=framerate)


@contextlib.contextmanager
def running(camera: Picamera2Camera, wanted: CameraSettings, masks=(), caught: Catcher | None = None):
    caught = caught or Catcher()
    description = camera.open(wanted, masks)
    try:
        camera.start(caught)
        yield description, caught
    finally:
        assert camera.close(CLOSE_S)


def decoded(packet) -> np.ndarray:
    import av

    decoder = av.CodecContext.create("h264", "r")
    return [*decoder.decode(av.Packet(packet.data)), *decoder.decode(None)][0].to_ndarray(format="rgb24")


def eroded(area: np.ndarray, margin: int) -> np.ndarray:
    """Those of `area` whose neighbours, `margin` pixels away in each direction, are of it too."""
    padded = np.pad(area, margin, mode="edge")
    size = 2 * margin + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    return np.asarray(windows.all(axis=(2, 3)))


class TestChoosing:
    def test_the_cameras_are_listed_by_number_and_sensor(self):
        assert pi_cameras() == [PiCamera(0, "imx219"), PiCamera(1, "imx708"), PiCamera(2, "imx500")]

    def test_a_camera_on_usb_is_not_one_of_the_pis_own(self, monkeypatch):
        found = [
            {"Model": "imx219", "Id": "/base/soc/i2c0mux/i2c@1/imx219@10", "Num": 1},
            {"Model": "Webcam", "Id": "/base/scb/pcie@7d500000/usb@0,0-1:1.0-046d:0825", "Num": 0},
        ]
        monkeypatch.setattr(Picamera2, "global_camera_info", staticmethod(lambda: found))
        assert pi_cameras() == [PiCamera(0, "imx219")]

    @pytest.mark.parametrize("address", ["picamera2:", "picamera2:x", "picamera2:10", "picamera2:-1", "picamera3"])
    def test_an_address_that_can_never_work_is_refused(self, address):
        with pytest.raises(InvalidInput, match="--camera"):
            Picamera2Camera(address)

    def test_a_camera_that_is_not_there_may_come_and_the_message_says_which_are(self):
        with pytest.raises(Unavailable, match=r"no camera 7 \(found: imx219, imx708, imx500\)"):
            Picamera2Camera("picamera2:7").open(settings(), [])

    def test_two_cameras_run_side_by_side(self):
        with (
            running(Picamera2Camera("picamera2:0"), settings()) as (first, caught_first),
            running(Picamera2Camera("picamera2:1"), settings()) as (second, caught_second),
        ):
            assert caught_first.wait_for(lambda: len(caught_first.packets) >= 10)
            assert caught_second.wait_for(lambda: len(caught_second.packets) >= 10)
            assert len(pi_cameras()) == 3, "they are listed without being opened"
        assert (first.model, second.model) == ("imx219", "imx708")
        assert caught_first.losses == caught_second.losses == []

    def test_a_camera_taken_twice_is_refused_and_the_first_owner_goes_on(self):
        with running(Picamera2Camera(), settings()) as (_, caught):
            with pytest.raises(Unavailable, match="in use"):
                Picamera2Camera("picamera2:0").open(settings(), [])
            count = len(caught.packets)
            assert caught.wait_for(lambda: len(caught.packets) >= count + 10)

    def test_a_camera_that_another_program_holds_is_unavailable_until_it_lets_go(self):
        other = Picamera2(0)
        camera = Picamera2Camera()
        try:
            # The library's older versions broke the first owner in the same process, hence the line in `_in_use`.
            with pytest.raises(Unavailable, match="another program"):
                camera.open(settings(), [])
            assert camera.close(CLOSE_S)
        finally:
            other.close()
        with running(camera, settings()) as (_, caught):
            assert caught.wait_for(lambda: caught.packets)


class TestWhatTheCameraReallyGives:
    def test_a_size_adjusted_in_silence_is_described_as_it_is(self, caplog):
        with running(Picamera2Camera(), settings_of("600x400")) as (description, caught):
            assert caught.wait_for(lambda: caught.lumas and len(caught.packets) >= 5)
        assert (description.width, description.height) == (1280, 720)
        assert "gives 1280x720 in place of 600x400" in caplog.text
        assert decoded(caught.packets[0]).shape == (720, 1280, 3)
        # The small stream was adjusted as well: its blocks are averaged.
        assert description.luma_size == (320, 180)
        assert read_number(caught.lumas[-1].luma) is not None

    def test_padded_rows_are_cut_off(self, stage):
        with running(Picamera2Camera(), settings_of("1000x560")) as (description, caught):
            assert caught.wait_for(lambda: caught.lumas and len(caught.packets) >= 5)
        assert (description.width, description.height) == (1000, 560)
        picture, scene = decoded(caught.packets[0])[..., 1], stage.picture(1, 0.05, (1000, 560))
        assert picture.shape == (560, 1000)
        assert np.abs(picture[:480, -8:].mean() - (scene[:480, -8:].mean() - 16) * 255 / 219) < 25

    def test_a_format_that_cannot_be_used_is_refused(self, stage):
        stage.refused_format = "NV12"
        camera = Picamera2Camera()
        with pytest.raises(InvalidInput, match=r"camera\.resolution.*NV12"):
            camera.open(settings(), [])
        stage.refused_format = None
        with running(camera, settings()) as (_, caught):
            assert caught.wait_for(lambda: caught.packets)

    def test_the_sensor_is_told_the_framerate(self, stage):
        with running(Picamera2Camera(), settings_of(framerate=10)) as (description, caught):
            assert caught.wait_for(lambda: len(caught.packets) >= 3)
        assert stage.periods_s[-1] == 0.1
        assert description.framerate == 10

    def test_a_framerate_beyond_the_sensor_is_described_as_what_it_gives(self):
        camera = Picamera2Camera()
        assert camera.open(settings_of(framerate=120), []).framerate == pytest.approx(60, rel=0.01)
        assert camera.close(CLOSE_S)

    def test_controls_that_the_camera_lacks_are_not_set(self):
        camera = Picamera2Camera()
        description = camera.open(settings(), [])
        assert "AfMode" not in description.extra["controls"].split()
        assert set(camera._camera.camera_configuration()["controls"]) == {"FrameDurationLimits"}
        assert camera.close(CLOSE_S)

    def test_section_picture_is_judged_by_what_the_camera_offers(self):
        camera = Picamera2Camera()
        with pytest.raises(InvalidInput, match=r"picture\.focus_mode"):
            camera.open(settings(), [], picture=PictureSettings(focus_mode="continuous"))
        camera.open(settings(), [], picture=PictureSettings(night=True, min_framerate=4))
        assert camera._camera.controls.make_dict()["FrameDurationLimits"] == (50_000, 250_000)
        assert camera.close(CLOSE_S)

    def test_autofocus_runs_where_the_camera_has_it(self):
        offered = {"AfMode": (0, 2, 0), "FrameDurationLimits": (16_666, 1_000_000, 33_333)}
        controls = picamera2._controls(SimpleNamespace(camera_controls=offered), settings())
        assert int(controls["AfMode"]) == 2


class TestTurning:
    def test_a_half_turn_is_the_sensors(self):
        with running(Picamera2Camera(), settings_of(rotation=180)) as (description, caught):
            assert caught.wait_for(lambda: len(caught.packets) >= 3)
        assert description.rotation_left == 0
        assert None not in numbers_in_packets(caught.packets, turned_by=180)

    def test_a_half_turn_that_the_sensor_refuses_is_left_to_the_player(self, stage):
        stage.turns = False
        camera = Picamera2Camera()
        with running(camera, settings_of(rotation=180)) as (description, caught):
            assert caught.wait_for(lambda: caught.lumas and len(caught.packets) >= 3)
            still = decoded_still(camera.still(2.0))
        assert description.rotation_left == 180
        assert None not in numbers_in_packets(caught.packets)
        assert read_number(turned(still, 180)) is not None
        assert read_number(turned(caught.lumas[-1].luma, 180)) is not None


class TestPrivacyMasks:
    @pytest.mark.parametrize("sensor_turns", [True, False])
    @pytest.mark.parametrize("rotation", ROTATIONS)
    def test_masks_are_black_as_shown_in_clip_still_and_luma(self, stage, rotation, sensor_turns):
        stage.turns = sensor_turns
        camera = Picamera2Camera()
        masks = [TRIANGLE, BOX]
        with running(camera, settings_of(rotation=rotation), masks) as (description, caught):
            assert caught.wait_for(lambda: caught.lumas and len(caught.packets) >= 3)
            still = decoded_still(camera.still(2.0))
        colours = turned(decoded(caught.packets[0]), description.rotation_left)
        for grey in (colours[..., 1], still, caught.lumas[-1].luma):
            height, width = grey.shape
            covered = polygon_mask(masks, width, height)
            # What lies across a border has parts of both, by compression and by scaling.
            margin = width // 80
            deep = eroded(covered, margin)
            assert deep.mean() > 0.3
            assert grey[deep].max() <= 24
            assert (grey[eroded(~covered, margin)] > 24).mean() > 0.8
        inside = colours[int(colours.shape[0] * 0.5), int(colours.shape[1] * 0.75)]
        assert np.ptp(inside.astype(int)) <= 6, "no colour is left"

    def test_no_picture_without_its_masks_is_handed_over_even_when_masking_fails(self, monkeypatch):
        camera, caught = Picamera2Camera(), Catcher()
        camera.open(settings(), [BOX])
        camera.start(caught)
        assert caught.wait_for(lambda: len(caught.packets) >= 3)
        monkeypatch.setattr(PrivacyBurner, "burn", lambda *_: 1 / 0)
        assert caught.wait_for(lambda: caught.losses)
        count = len(caught.frames)
        with pytest.raises(Unavailable, match="ZeroDivisionError"):
            camera.still(1.0)
        assert camera.close(CLOSE_S)
        assert len(caught.frames) == count
        encoded = [decoded(packet) for packet in caught.packets if packet.is_keyframe]
        assert all(picture[240, 480].max() <= 24 for picture in encoded)


class TestPackets:
    def test_keyframes_come_every_two_seconds_by_themselves(self):
        with running(Picamera2Camera(), settings()) as (_, caught):
            assert caught.wait_for(lambda: sum(packet.is_keyframe for packet in caught.packets) >= 2)
        times = [packet.timestamp_us for packet in caught.packets if packet.is_keyframe]
        assert 1_900_000 <= times[1] - times[0] <= 2_200_000

    def test_the_clock_goes_on_over_a_new_start(self):
        camera = Picamera2Camera()
        times = []
        for _ in range(2):
            with running(camera, settings()) as (_, caught):
                assert caught.wait_for(lambda caught=caught: len(caught.packets) >= 3)
            times += [packet.timestamp_us for packet in caught.packets]
        assert times == sorted(set(times))

    def test_no_picture_is_missing_while_stills_are_taken(self):
        camera = Picamera2Camera()
        with running(camera, settings()) as (_, caught):
            stills = [read_number(decoded_still(camera.still(2.0))) or 0 for _ in range(5)]
            assert caught.wait_for(lambda: len(caught.packets) >= 20)
        numbers = [number or 0 for number in numbers_in_packets(caught.packets)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert stills == sorted(set(stills))
        assert set(stills) <= set(numbers)

    @pytest.mark.parametrize("profile, idc", [("baseline", 66), ("constrained", 66), ("main", 77), ("high", 100)])
    def test_the_profile_is_the_one_that_was_set(self, profile, idc):
        wanted = CameraSettings(rotation=0, resolution="640x480", framerate=20, encoding_profile=profile)
        with running(Picamera2Camera(), wanted) as (_, caught):
            assert caught.wait_for(lambda: caught.packets)
        parameters = next(nal for nal in annex_b.split(caught.packets[0].data) if nal[0] & 31 == 7)
        assert parameters[1] == idc


class TestSensorMode:
    SIZES = ((640, 480), (1640, 1232), (1920, 1080), (3280, 2464))

    @pytest.fixture
    def as_on_a_pi(self, monkeypatch):
        """The library takes the camera for one of the Pi's own, with the modes of an IMX219."""
        camera = Picamera2(0)
        monkeypatch.setattr(camera, "_is_rpi_camera", lambda: True)
        modes = [{"format": "SRGGB10_CSI2P", "size": size} for size in self.SIZES]
        monkeypatch.setattr(camera, "_raw_modes", modes)
        monkeypatch.setattr(camera, "sensor_format", "SRGGB10_CSI2P")
        monkeypatch.setattr(camera, "_raw_stream_ignore_list", [])
        yield camera
        camera.close()

    def chosen(self, camera, wanted: CameraSettings) -> tuple[int, int, int]:
        """Width, height and bits that the library asks of libcamera."""
        mode = picamera2._sensor_mode(camera, wanted)
        sensor = camera._make_libcamera_config(
            {**picamera2._streams_wanted(camera, wanted, mode), "raw": None}
        ).sensor_config
        return sensor.output_size.width, sensor.output_size.height, sensor.bit_depth

    def test_the_library_is_asked_for_the_mode_that_shows_all_the_sensor_sees(self, as_on_a_pi):
        assert self.chosen(as_on_a_pi, settings_of()) == (1640, 1232, 10)

    @pytest.mark.parametrize("wanted", [settings_of("1920x1080"), settings_of(framerate=60)])
    def test_a_picture_too_large_or_too_fast_for_it_leaves_the_mode_to_the_library(self, as_on_a_pi, wanted, caplog):
        with caplog.at_level("INFO"):
            assert picamera2._sensor_mode(as_on_a_pi, wanted) == {}
        assert "may show less" in caplog.text
        assert self.chosen(as_on_a_pi, wanted)[:2] == wanted.size

    def test_a_mode_that_is_refused_is_given_up(self, monkeypatch, caplog):
        wanted = picamera2._streams_wanted

        def strict(camera, asked, mode):
            if mode:
                raise RuntimeError("Invalid camera configuration: None")
            return wanted(camera, asked, mode)

        monkeypatch.setattr(picamera2, "_streams_wanted", strict)
        with caplog.at_level("INFO"), running(Picamera2Camera(), settings()) as (_, caught):
            assert caught.wait_for(lambda: caught.packets)
        assert "refuses its mode 1640x1232" in caplog.text

    def test_a_mode_that_the_sensor_has_not_is_told(self, monkeypatch, caplog):
        given = {"sensor": {"output_size": (3280, 2464), "bit_depth": 10}}
        library = SimpleNamespace(
            configure=lambda _: None,
            camera_configuration=lambda: given,
            camera_properties={"Model": "imx219"},
        )
        monkeypatch.setattr(picamera2, "_streams_wanted", lambda *_: {})
        with caplog.at_level("INFO"):
            assert picamera2._streams_as_given(library, settings()) is given
        assert "has no mode 1640x1232 and takes 3280x2464" in caplog.text


class TestSecondStream:
    def test_it_ends_with_the_recording_when_a_picture_cannot_be_masked(self, monkeypatch):
        small = Catcher()
        camera = Picamera2Camera()
        with running(camera, settings(), [BOX]) as (_, caught):
            camera.start_substream(small, bitrate=200_000)
            assert small.wait_for(lambda: len(small.packets) >= 3)
            monkeypatch.setattr(PrivacyBurner, "burn", lambda *_: 1 / 0)
            assert small.wait_for(lambda: isinstance(small.frames[-1], SubstreamLost))
            assert caught.wait_for(lambda: caught.losses)
            with pytest.raises(Unavailable):
                camera.start_substream(Catcher(), bitrate=200_000)

    def test_an_encoder_that_fails_ends_it_and_the_recording_goes_on(self):
        small = Catcher()
        camera = Picamera2Camera()
        with running(camera, settings()) as (_, caught):
            camera.start_substream(small, bitrate=200_000)
            assert small.wait_for(lambda: small.packets)
            assert camera._substream is not None
            camera._substream._encoder._h264 = None
            assert small.wait_for(lambda: isinstance(small.frames[-1], SubstreamLost))
            count = len(caught.packets)
            assert caught.wait_for(lambda: len(caught.packets) >= count + 5)
            camera.start_substream(again := Catcher(), bitrate=200_000)
            assert again.wait_for(lambda: again.packets)

    @pytest.mark.parametrize("step", ["start_encoder", "stop_encoder"])
    def test_an_encoder_that_hangs_holds_nobody_up(self, monkeypatch, step):
        monkeypatch.setattr(picamera2_substream, "TIMEOUT_S", 0.2)
        monkeypatch.setattr(picamera2, "TIMEOUT_S", 0.2)
        released, small, caught = threading.Event(), Catcher(), Catcher()
        camera = Picamera2Camera()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: caught.packets)
        real = getattr(camera._camera, step)
        monkeypatch.setattr(
            camera._camera, step, lambda *args, **named: (released.wait(20), real(*args, **named)), raising=False
        )
        if step == "stop_encoder":
            camera.start_substream(small, bitrate=200_000)
            assert small.wait_for(lambda: small.packets)
        with pytest.raises(Unavailable):
            (camera.start_substream(small, bitrate=200_000) if step == "start_encoder" else camera.stop_substream())
        count = len(caught.packets)
        assert caught.wait_for(lambda: len(caught.packets) >= count + 5)
        assert not camera.close(0.2)
        released.set()
        assert camera.close(CLOSE_S)


class TestFaults:
    def test_a_still_of_a_silent_camera_ends_in_time_and_later_ones_work(self, stage):
        camera = Picamera2Camera()
        with running(camera, settings()) as (_, caught):
            assert caught.wait_for(lambda: caught.packets)
            stage.stalled.set()
            began_s = time.monotonic()
            # The one that was on its way may still come.
            with contextlib.suppress(Unavailable):
                camera.still(0.3)
            with pytest.raises(Unavailable):
                camera.still(0.3)
            assert time.monotonic() - began_s < 2.0
            stage.stalled.clear()
            assert camera.still(2.0)[:2] == b"\xff\xd8"

    def test_what_is_asked_of_it_in_the_library_s_own_thread_blocks_no_picture(self):
        # The library itself would wait there for ever, for a job that only this thread can do.
        class Asking(Catcher):
            def __call__(self, frame) -> None:
                super().__call__(frame)
                if len(self.frames) == 3:
                    asked.append(camera.request_keyframe())
                    with pytest.raises(Unavailable):
                        camera.still(0.1)
                    asked.append("answered")

        asked: list = []
        camera = Picamera2Camera()
        with running(camera, settings(), caught=Asking()) as (_, caught):
            assert caught.wait_for(lambda: len(caught.packets) >= 10)
        assert asked == [True, "answered"]
        assert caught.losses == []

    def test_a_silent_camera_is_closed_at_once_and_opens_again(self, stage):
        camera, caught = Picamera2Camera(), Catcher()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: caught.packets)
        stage.stalled.set()
        began_s = time.monotonic()
        assert camera.close(CLOSE_S)
        assert time.monotonic() - began_s < 2.0
        stage.stalled.clear()
        with running(camera, settings()) as (_, again):
            assert again.wait_for(lambda: len(again.packets) >= 5)

    def test_a_driver_that_hangs_is_told_and_the_camera_stays_taken(self, stage):
        camera, caught = Picamera2Camera(), Catcher()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: caught.packets)
        stage.hanging.set()
        began_s = time.monotonic()
        assert not camera.close(0.3)
        assert time.monotonic() - began_s < 1.0
        count = len(caught.frames)
        with pytest.raises(Unavailable, match="in use"):
            Picamera2Camera().open(settings(), [])
        assert not camera.close(0.1)
        assert len(caught.frames) == count
        stage.hanging.clear()
        assert camera.close(CLOSE_S)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_library_thread_that_has_died_is_silence_and_does_not_keep_the_camera(self):
        camera, caught = Picamera2Camera(), Catcher()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: caught.packets)
        camera._camera.post_callback = lambda _: 1 / 0
        camera._camera._preview.thread.join(5.0)
        with pytest.raises(Unavailable):
            camera.still(0.2)
        assert caught.losses == []
        assert camera.close(CLOSE_S)
        with running(camera, settings()) as (_, again):
            assert again.wait_for(lambda: len(again.packets) >= 5)

    def test_an_error_of_ours_in_the_library_s_thread_leaves_that_thread_alive(self, monkeypatch):
        camera, caught = Picamera2Camera(), Catcher()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: caught.packets)
        monkeypatch.setattr(LumaTap, "luma", lambda *_: 1 / 0)
        assert caught.wait_for(lambda: caught.losses)
        frames = camera._camera.frames
        deadline_s = time.monotonic() + 5
        while camera._camera.frames < frames + 5 and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert camera._camera.frames >= frames + 5
        assert camera.close(CLOSE_S)
        assert len(caught.losses) == 1
        assert isinstance(caught.frames[-1], type(caught.losses[0]))

    def test_who_waits_for_a_still_hears_at_once_that_the_camera_is_lost(self, monkeypatch):
        camera, caught = Picamera2Camera(), Catcher()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: caught.packets)
        monkeypatch.setattr(Planes, "copy", lambda _: 1 / 0)
        began_s = time.monotonic()
        with pytest.raises(Unavailable, match="cannot be taken over"):
            camera.still(5.0)
        assert time.monotonic() - began_s < 2.0
        assert camera.close(CLOSE_S)

    def test_ten_times_open_and_close_leave_no_file_and_no_thread(self):
        def next_fd() -> int:
            fd = os.open(os.devnull, os.O_RDONLY)
            os.close(fd)
            return fd

        camera = Picamera2Camera()
        first = None
        for _ in range(10):
            with running(camera, settings()) as (_, caught):
                assert caught.wait_for(lambda caught=caught: caught.packets)
            first = first if first is not None else (next_fd(), threading.active_count())
        assert (next_fd(), threading.active_count()) == first

    def test_a_still_without_simplejpeg_is_made_all_the_same(self, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "simplejpeg", None)
        camera = Picamera2Camera()
        with running(camera, settings()):
            grey = decoded_still(camera.still(2.0))
        assert grey.shape == (480, 640)
        assert read_number(grey) is not None
