"""What the cameras are made of where no PyAV is needed: bytes, times, sizes, polygons, the scene."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

np = pytest.importorskip("numpy", reason="needs numpy")

from pinthesky.device.cameras import annex_b  # noqa: E402 - after the check for numpy
from pinthesky.device.cameras.geometry import (  # noqa: E402 - after the check for numpy
    luma_size,
    luma_size_before_turn,
    polygon_mask,
    turned,
)
from pinthesky.device.cameras.script import Action, Moment  # noqa: E402 - after the check for numpy
from pinthesky.device.cameras.still_source import StillSource  # noqa: E402 - after the check for numpy
from pinthesky.device.cameras.synthetic_scene import (  # noqa: E402 - after the check for numpy
    NUMBER_BITS,
    STRIP,
    Scene,
    cells_of,
)
from pinthesky.device.cameras.timeline import LumaRate, Timeline  # noqa: E402 - after the check for numpy
from pinthesky.errors import Unavailable  # noqa: E402 - after the check for numpy
from tests.support.picture_numbers import read_number  # noqa: E402 - after the check for numpy

SPS, PPS, IDR, SLICE, SEI = b"\x67\x64\x1f", b"\x68\xee", b"\x65\x88\x84", b"\x41\x9a", b"\x06\x05"
LONG, SHORT = b"\x00\x00\x00\x01", b"\x00\x00\x01"
QUIET = Moment(Action.QUIET, 1.0, 2.0)


class TestAnnexB:
    def test_start_codes_of_three_and_four_bytes_are_both_seen(self):
        unit = LONG + SPS + LONG + PPS + SHORT + SEI + SHORT + IDR
        assert annex_b.nal_types(unit) == {7, 8, 6, 5}
        assert annex_b.stands_alone(unit)
        assert list(annex_b.split(unit)) == [SPS, PPS, SEI, IDR]

    @pytest.mark.parametrize("unit", [SHORT + SLICE, LONG + SPS + LONG + PPS + SHORT + SLICE, SHORT + IDR, b"", SHORT])
    def test_a_unit_without_all_three_does_not_stand_alone(self, unit: bytes):
        assert not annex_b.stands_alone(unit)

    def test_parameter_sets_are_put_before_a_bare_idr_and_never_twice(self):
        sets = annex_b.parameter_sets_of(SHORT + SPS + SHORT + PPS)
        whole = annex_b.with_parameter_sets(SHORT + IDR, sets)
        assert annex_b.stands_alone(whole)
        assert annex_b.with_parameter_sets(whole, sets) == whole

    def test_one_parameter_set_alone_is_none(self):
        assert annex_b.parameter_sets_of(LONG + SPS) == b""

    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_without_an_error(self, data: bytes):
        annex_b.nal_types(data)
        annex_b.parameter_sets_of(data)
        assert all(SHORT not in nal for nal in annex_b.split(data))


class TestTimeline:
    @given(
        st.lists(st.tuples(st.none() | st.integers(-(10**13), 10**13), st.integers(0, 10**8)), min_size=2, max_size=40)
    )
    def test_timestamps_rise_whatever_the_source_says(self, pictures: list[tuple[int | None, int]]):
        timeline, arrival_us, times = Timeline(50_000), 0, []
        for source_us, passed_us in pictures:
            arrival_us += passed_us
            times.append(timeline.next(source_us, arrival_us))
        assert all(after > before for before, after in zip(times, times[1:]))

    def test_distances_of_a_sound_source_are_kept_to_the_digit(self):
        timeline = Timeline(50_000)
        arrivals = [0, 70_000, 80_000, 190_000]
        times = [timeline.next(source_us, at) for source_us, at in zip((900, 50_901, 100_900, 150_900), arrivals)]
        assert [time_us - times[0] for time_us in times] == [0, 50_001, 100_000, 150_000]

    @pytest.mark.parametrize("jump_us", [-3_600_000_000, 3_600_000_000, 0])
    def test_a_jump_of_the_source_becomes_the_time_between_the_arrivals(self, jump_us: int):
        timeline = Timeline(50_000)
        first = timeline.next(5_000_000, 100)
        assert timeline.next(5_000_000 + jump_us, 60_100) - first == 60_000

    def test_a_picture_read_ahead_before_the_source_knew_its_time_takes_its_place(self):
        timeline = Timeline(50_000)
        first = timeline.next(None, 1_000)
        assert timeline.next(50_000, 1_100) - first == 50_000


class TestLumaRate:
    @pytest.mark.parametrize(
        "framerate,expected", [(5, 51), (10, 101), (12, 101), (15, 101), (20, 101), (25, 101), (30, 101)]
    )
    def test_at_most_ten_in_a_second_are_taken_and_evenly(self, framerate: int, expected: int):
        rate = LumaRate()
        times = [number * 1_000_000 // framerate for number in range(framerate * 10 + 1)]
        taken = [time_us for time_us in times if rate.takes(time_us)]
        assert abs(len(taken) - expected) <= 1
        gaps = [after - before for before, after in zip(taken, taken[1:])]
        assert max(gaps) - min(gaps) <= 1_000_000 // framerate + 1

    def test_ten_a_second_that_tremble_are_all_taken(self):
        rate = LumaRate()
        assert all(rate.takes(number * 100_000 + (-1) ** number * 4_000) for number in range(50))


class TestGeometry:
    @pytest.mark.parametrize(
        "size,expected",
        [
            ((640, 480), (320, 240)),
            ((1280, 720), (320, 180)),
            ((768, 576), (320, 240)),
            ((480, 640), (180, 240)),
            ((160, 120), (160, 120)),
            ((4096, 32), (320, 2)),
        ],
    )
    def test_luma_frames_keep_the_shape_within_320x240(self, size: tuple[int, int], expected: tuple[int, int]):
        assert luma_size(*size) == expected

    def test_the_bound_holds_for_the_picture_as_shown(self):
        assert luma_size_before_turn(640, 480, 90) == (240, 180)

    def test_a_turn_is_clockwise(self):
        assert turned(np.array([[1, 2], [3, 4]]), 90).tolist() == [[3, 1], [4, 2]]
        assert turned(np.array([[1, 2], [3, 4]]), 180).tolist() == [[4, 3], [2, 1]]
        assert turned(np.array([[1, 2], [3, 4]]), 270).tolist() == [[2, 4], [1, 3]]

    def test_a_polygon_covers_its_inside_and_its_border(self):
        mask = polygon_mask([[(250, 250), (750, 250), (750, 750), (250, 750)]], 8, 8)
        assert mask[2:6, 2:6].all()
        assert not mask[0].any()
        assert not mask[:, 0].any()

    def test_no_mask_for_no_polygon_and_all_for_the_whole_picture(self):
        assert not polygon_mask([], 10, 6).any()
        assert polygon_mask([[(0, 0), (1000, 0), (1000, 1000), (0, 1000)]], 10, 6).all()


class TestStillSource:
    def test_a_picture_that_is_a_second_old_is_none_of_now(self):
        now_s = [0.0]
        source: StillSource[str] = StillSource(lambda: now_s[0])
        source.put("picture")
        now_s[0] = 1.0
        assert source.latest(0.0) == "picture"
        now_s[0] = 1.1
        with pytest.raises(Unavailable, match="no pictures"):
            source.latest(0.0)

    def test_who_waits_gets_the_next_picture(self):
        source: StillSource[str] = StillSource(lambda: 0.0)
        got: list[str] = []
        waiting = threading.Thread(target=lambda: got.append(source.latest(10.0)))
        waiting.start()
        source.put("picture")
        waiting.join(5.0)
        assert got == ["picture"]

    def test_who_waits_hears_why_there_will_be_none(self):
        source: StillSource[str] = StillSource(lambda: 0.0)
        source.put("picture")
        source.end("the cable was pulled")
        source.end("something later")
        with pytest.raises(Unavailable, match="the cable was pulled"):
            source.latest(10.0)


class TestScene:
    @pytest.mark.parametrize("number", [0, 1, 2, 12_345, (1 << NUMBER_BITS) - 1])
    @pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (320, 240), (176, 144)])
    def test_the_number_in_a_picture_can_be_read(self, number: int, size: tuple[int, int]):
        scene = Scene(*size, seed=3)
        planes = scene.scenery(number, QUIET)
        scene.write_strip(planes, number, number / 20)
        assert read_number(planes[: size[1]]) == number

    def test_a_picture_without_a_number_gives_none(self):
        scene = Scene(320, 240, seed=3)
        assert read_number(scene.scenery(1, QUIET)[:240]) is None
        assert read_number(np.zeros((240, 320), np.uint8)) is None
        assert read_number(np.zeros((2, 20), np.uint8)) is None

    @given(st.integers(0, (1 << NUMBER_BITS) - 1), st.integers(0, NUMBER_BITS + 7))
    def test_one_wrong_block_is_noticed(self, number: int, block: int):
        cells = cells_of(number)
        cells[2 + block] = not cells[2 + block]
        grey = np.repeat(np.array([cells], np.uint8) * 219 + 16, 480, axis=0).repeat(8, axis=1)
        assert read_number(grey) is None

    def test_the_same_seed_gives_the_same_picture_and_another_seed_another(self):
        one, same, other = (Scene(320, 240, seed=seed).scenery(5, QUIET) for seed in (1, 1, 2))
        assert (one == same).all()
        assert (one != other).any()

    @pytest.mark.parametrize("action", [Action.WALK, Action.SPECK])
    def test_what_moves_is_in_the_picture_from_the_first_moment_to_the_last(self, action: Action):
        scene = Scene(640, 480, seed=1)
        empty = scene.scenery(0, QUIET)
        for elapsed_s in (0.0, 1.0, 2.0, 3.0, 3.95):
            assert (scene.scenery(0, Moment(action, elapsed_s, 4.0)) != empty).any()

    def test_outside_the_strip_only_noise_changes_while_it_is_quiet(self):
        scene = Scene(640, 480, seed=1)
        pictures = []
        for number in (0, 1):
            planes = scene.scenery(number, QUIET)
            scene.write_strip(planes, number, 0.0)
            pictures.append(planes[:480].astype(int))
        strip = polygon_mask([STRIP], 640, 480)
        change = np.abs(pictures[0] - pictures[1])
        assert change[~strip].max() < 14
        assert change[strip].max() > 200
