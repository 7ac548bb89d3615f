"""What an adapter with a second stream must do, as tests that its class inherits beside those of every camera."""

from __future__ import annotations

from collections.abc import Callable

from pinthesky.device.cameras import annex_b
from pinthesky.device.ports import SubstreamLost
from tests.contracts.camera_contract import (
    BITRATE,
    CLOSE_S,
    FRAMERATE,
    Catcher,
    Caught,
    Rig,
    decoded_grey,
    decoded_size,
    running,
    settings,
)
from tests.support.picture_numbers import numbers_in_packets


class SubstreamContract:
    """For adapters that have a second stream."""

    make_rig: Callable

    def test_it_comes_and_goes_beside_a_recording_that_does_not_notice(self, rig: Rig):
        small = Catcher()
        with running(rig.camera) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= 3)
            rig.camera.start_substream(small, bitrate=BITRATE)
            assert small.wait_for(lambda: len(small.packets) >= FRAMERATE)
            rig.camera.stop_substream()
            count, before = len(small.frames), len(run.caught.packets)
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= before + 5)
        assert len(small.frames) == count == len(small.packets)
        assert annex_b.stands_alone(small.packets[0].data)
        assert small.packets[0].is_keyframe
        assert None not in numbers_in_packets(small.packets)
        assert decoded_size(small.packets[0]) == run.description.substream_size
        bytes_of = {packet.timestamp_us: len(packet.data) for packet in run.caught.packets if not packet.is_keyframe}
        assert {packet.timestamp_us for packet in small.packets} <= {
            packet.timestamp_us for packet in run.caught.packets
        }
        same = [packet for packet in small.packets if packet.timestamp_us in bytes_of]
        assert sum(len(packet.data) for packet in same) < sum(bytes_of[packet.timestamp_us] for packet in same)
        numbers = [number or 0 for number in numbers_in_packets(run.caught.packets)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    def test_whoever_takes_it_over_begins_with_a_keyframe_and_may_ask_for_more(self, rig: Rig):
        first, second = Catcher(), Catcher()
        with running(rig.camera):
            rig.camera.start_substream(first, bitrate=BITRATE)
            assert first.wait_for(lambda: len(first.packets) >= 3)
            rig.camera.start_substream(second, bitrate=BITRATE)
            count = len(first.frames)
            assert second.wait_for(lambda: len(second.packets) >= 3)
            before = len(second.packets)
            assert rig.camera.request_substream_keyframe()
            assert second.wait_for(lambda: any(packet.is_keyframe for packet in second.packets[before : before + 6]))
        assert len(first.frames) == count
        assert second.packets[0].is_keyframe

    def test_it_ends_with_the_camera_and_says_so(self, rig: Rig):
        small = Catcher()
        with running(rig.camera):
            rig.camera.start_substream(small, bitrate=BITRATE)
            assert small.wait_for(lambda: small.packets)
        assert [frame for frame in small.frames if isinstance(frame, SubstreamLost)] == [small.frames[-1]]
        with running(rig.camera) as again:
            assert not rig.camera.request_substream_keyframe()
            assert again.caught.wait_for(lambda: again.caught.packets)

    def test_a_failure_of_it_costs_the_recording_nothing(self, rig: Rig):
        class Breaking(Catcher):
            def __call__(self, frame: Caught) -> None:
                if len(self.frames) == 3 and not isinstance(frame, SubstreamLost):
                    raise ZeroDivisionError
                super().__call__(frame)

        small = Breaking()
        with running(rig.camera) as run:
            rig.camera.start_substream(small, bitrate=BITRATE)
            assert small.wait_for(lambda: len(small.frames) == 4)
            before = len(run.caught.packets)
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= before + 5)
            assert not rig.camera.request_substream_keyframe()
        assert isinstance(small.frames[-1], SubstreamLost)
        assert run.caught.losses == []

    def test_privacy_masks_are_black_in_it(self):
        small = Catcher()
        with self.make_rig() as rig:
            rig.camera.open(settings(), [[(0, 0), (500, 0), (500, 800), (0, 800)]])
            rig.camera.start(Catcher())
            rig.camera.start_substream(small, bitrate=BITRATE)
            assert small.wait_for(lambda: small.packets)
            assert rig.camera.close(CLOSE_S)
        grey = decoded_grey(small.packets[0])
        height, width = grey.shape
        assert grey[: int(height * 0.78), : int(width * 0.48)].max() <= 24
        assert grey[: int(height * 0.78), int(width * 0.52) :].mean() > 50
