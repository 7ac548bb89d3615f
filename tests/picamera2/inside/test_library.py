"""What the library does that the adapter is built around, and our output behind the library's own encoder.

When one of the first group fails, the library has changed: look whether the adapter can become simpler.
"""

from __future__ import annotations

import threading
from concurrent.futures import TimeoutError as FutureTimeout

import pytest
from picamera2 import Picamera2
from picamera2.encoders import LibavH264Encoder

from pinthesky.device.cameras.annex_b import nal_types
from pinthesky.device.cameras.picamera2_encoding import PacketOutput
from pinthesky.device.cameras.picamera2_session import Session
from pinthesky.device.ports import Packet
from tests.contracts.camera_contract import Catcher
from tests.support.picture_numbers import numbers_in_packets

dying = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def library():
    """A running camera of the library's own."""
    camera = Picamera2(0)
    camera.configure(
        camera.create_video_configuration(
            main={"size": (640, 480), "format": "YUV420"}, lores={"size": (320, 240), "format": "YUV420"}
        )
    )
    yield camera
    camera.close()


class TestTraps:
    @dying
    def test_an_exception_in_a_callback_kills_the_thread_after_which_stop_hangs_and_close_does_not(self, library):
        library.start()
        preview = library._preview.thread
        library.pre_callback = lambda _: 1 / 0
        preview.join(5.0)
        assert not preview.is_alive()
        with pytest.raises(FutureTimeout):
            library.capture_metadata(wait=0.3)
        library.cancel_all_and_flush()
        stopper = threading.Thread(target=library.stop, daemon=True)
        stopper.start()
        stopper.join(0.5)
        assert stopper.is_alive(), "stop() waits for the dead thread"
        closer = threading.Thread(target=library.close, daemon=True)
        closer.start()
        closer.join(5.0)
        assert not closer.is_alive()
        library.cancel_all_and_flush()

    @dying
    def test_a_keyframe_asked_of_the_library_s_software_encoder_kills_the_camera(self, library):
        encoder, caught = LibavH264Encoder(), []
        library.start_encoder(encoder, PacketOutput(encoder, lambda *packet: caught.append(packet)), name="main")
        library.start()
        preview = library._preview.thread
        encoder.force_key_frame()
        preview.join(5.0)
        assert not preview.is_alive()

    def test_a_silent_sensor_raises_nothing_and_close_still_works(self, library, stage):
        library.start()
        library.capture_metadata(wait=2)
        stage.stalled.set()
        with pytest.raises(FutureTimeout):
            library.capture_metadata(wait=0.5)
        library.cancel_all_and_flush()
        library.close()

    def test_closing_leaves_an_encoder_running_and_its_output_without_a_word(self, library):
        encoder, stopped = LibavH264Encoder(), []
        output = PacketOutput(encoder, lambda *_: None)
        output.stop = lambda: stopped.append(True)
        library.start_encoder(encoder, output, name="main")
        library.start()
        library.capture_metadata(wait=2)
        library.close()
        assert encoder.running
        assert stopped == []
        encoder.stop()
        assert stopped == [True]

    def test_an_encoder_that_is_stopped_twice_is_an_error(self, library):
        encoder = LibavH264Encoder()
        library.start_encoder(encoder, PacketOutput(encoder, lambda *_: None), name="main")
        library.start()
        library.stop_encoder(encoder)
        with pytest.raises(RuntimeError, match="already stopped"):
            library.stop_encoder(encoder)

    def test_a_camera_that_runs_cannot_be_configured(self, library):
        library.start()
        with pytest.raises(RuntimeError, match="must be stopped"):
            library.configure(library.create_video_configuration())

    def test_a_control_that_the_camera_lacks_is_an_error(self, library):
        with pytest.raises(RuntimeError, match="not advertised"):
            library.set_controls({"AfMode": 2})

    def test_a_size_is_adjusted_in_silence(self, library):
        library.configure(library.create_video_configuration(main={"size": (600, 400), "format": "YUV420"}))
        assert library.camera_configuration()["main"]["size"] == (1280, 720)


class TestOutput:
    def record(self, library, count: int) -> list[tuple[bytes, int]]:
        encoder = LibavH264Encoder(iperiod=10)
        taken: list[tuple[bytes, int]] = []
        enough = threading.Event()

        def take(data: bytes, timestamp_us: int) -> None:
            taken.append((data, timestamp_us))
            threads.add(threading.current_thread())
            if len(taken) >= count:
                enough.set()

        self.threads = threads = set[threading.Thread]()
        library.start_encoder(encoder, PacketOutput(encoder, take), name="main")
        library.start()
        assert enough.wait(10.0)
        library.stop_encoder(encoder)
        return taken

    def test_it_takes_what_the_library_gives_by_position(self, library):
        taken = self.record(library, 25)
        assert all(type(data) is bytes and type(timestamp_us) is int for data, timestamp_us in taken)
        assert {7, 8, 5} <= nal_types(taken[0][0])

    def test_its_times_are_the_sensor_s_and_not_the_encoder_s(self, library):
        times = [timestamp_us for _, timestamp_us in self.record(library, 10)]
        assert times[0] > 1_000_000, "the encoder itself begins at 0"
        assert times == sorted(set(times))

    def test_frames_come_in_the_library_s_thread_and_the_last_ones_in_that_of_who_stops(self, library):
        library.start()
        preview = library._preview.thread
        self.record(library, 10)
        assert {threading.current_thread(), preview} == self.threads

    def test_start_codes_of_three_bytes_hide_no_keyframe(self, library):
        caught = Catcher()
        session = Session(caught, main=None, lores=None, luma=None, mapped=None, timestamp_us=None)  # type: ignore[arg-type] # packets only
        for data, timestamp_us in self.record(library, 25):
            session.picture_encoded(data, timestamp_us)
        assert [index for index, packet in enumerate(caught.packets) if packet.is_keyframe][:3] == [0, 10, 20]
        assert None not in numbers_in_packets(caught.packets)

    def test_it_takes_the_call_of_older_versions_and_leaves_sound_alone(self):
        class Started:
            firsttimestamp = 5_000_000

        taken: list[tuple[bytes, int]] = []
        output = PacketOutput(Started(), lambda *packet: taken.append(packet))
        output.outputframe(b"\x00\x00\x01\x65", True, 40_000)
        output.outputframe(None, True, 40_000, object(), True)
        assert taken == [(b"\x00\x00\x01\x65", 5_040_000)]
        assert Packet(*taken[0], True).timestamp_us == 5_040_000
