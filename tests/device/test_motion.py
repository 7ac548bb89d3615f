"""The motion detector: what it must see, what it must not, and what nobody may feed it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinthesky.device.light_model import BlockGrid, Neighbourhood
from pinthesky.device.motion import GateChange, LumaMotion, MotionGate
from pinthesky.errors import InvalidInput
from tests.device.motion_scenes import FPS, HEIGHT, WIDTH, Camera, judged, moving

LEFT_HALF = [(0, 0), (500, 0), (500, 1000), (0, 1000)]
RIGHT_HALF = [(500, 0), (1000, 0), (1000, 1000), (500, 1000)]


def passing(camera: Camera, enters: int = 40, frames: int = 90) -> list[np.ndarray]:
    """Somebody comes in from the left at frame `enters`, six pixels a frame."""
    return [camera.frame(i) if i < enters else camera.walker(i, -30 + 6 * (i - enters)) for i in range(frames)]


# What must be seen


@pytest.mark.parametrize("width, height", [(320, 240), (320, 180), (176, 144), (160, 120), (333, 251), (317, 239)])
def test_somebody_who_comes_in_is_seen_within_one_frame(width, height):
    camera = Camera(width, height)
    frames = [camera.frame(i) if i < 40 else camera.walker(i, (-30 + 6 * (i - 40)) * width / 320) for i in range(80)]
    found = moving(judged(LumaMotion(width, height), frames))
    assert found
    assert found[0] in (40, 41)
    assert len(found) >= 36


@pytest.mark.parametrize("fps", [5.0, 15.0, 30.0])
def test_the_frame_rate_may_be_anything(fps):
    camera = Camera()
    enters = round(4 * fps)
    found = moving(judged(LumaMotion(WIDTH, HEIGHT), passing(camera, enters, enters + 30), fps=fps))
    assert found
    assert enters <= found[0] <= enters + 1


def test_somebody_in_low_light_is_seen():
    camera = Camera(sigma=6.0)
    camera.wall *= 0.35
    frames = [camera.frame(i) if i < 40 else camera.walker(i, 6 * (i - 40), grey=5) for i in range(80)]
    found = moving(judged(LumaMotion(WIDTH, HEIGHT), frames))
    assert found
    assert found[0] in (40, 41)


def test_a_change_from_white_to_black_does_not_wrap_around():
    frames = []
    for i in range(60):
        frame = np.full((HEIGHT, WIDTH), 255, np.uint8)
        if i >= 30:
            frame[80:160, 4 * (i - 30) : 4 * (i - 30) + 60] = 0
        frames.append(frame)
    assert moving(judged(LumaMotion(WIDTH, HEIGHT), frames))[:1] == [30]
    assert moving(judged(LumaMotion(WIDTH, HEIGHT), [255 - frame for frame in frames]))[:1] == [30]


def test_two_passages_are_two_events():
    camera = Camera()
    frames = [camera.frame(i) for i in range(150)]
    for start in (40, 100):
        for i in range(start, start + 30):
            frames[i] = camera.walker(i, 12 * (i - start) - 20)
    found = moving(judged(LumaMotion(WIDTH, HEIGHT), frames))
    assert 40 in found
    assert 101 in found
    assert not set(found) & set(range(85, 100))


def test_a_slow_thing_is_seen():
    camera = Camera()
    frames = [camera.frame(i) if i < 40 else camera.walker(i, 60 + 0.6 * (i - 40)) for i in range(140)]
    assert sum(i > 90 for i in moving(judged(LumaMotion(WIDTH, HEIGHT), frames))) > 25


# What must not be reported


@pytest.mark.parametrize("sigma", [0.0, 1.5, 6.0, 14.0])
def test_noise_alone_is_not_motion(sigma):
    camera = Camera(sigma=sigma)
    assert not moving(judged(LumaMotion(WIDTH, HEIGHT), [camera.frame(i) for i in range(250)]))


@pytest.mark.parametrize("gain", [0.5, 0.8, 1.15, 1.3])
def test_a_lamp_is_not_motion(gain):
    camera = Camera()
    frames = [camera.frame(i, gain if (i // 40) % 2 else 1.0) for i in range(240)]
    assert not moving(judged(LumaMotion(WIDTH, HEIGHT), frames))


def test_dusk_is_not_motion():
    camera = Camera()
    frames = [camera.frame(i, 1.0 - 0.8 * min(i / 200, 1.0)) for i in range(300)]
    assert not moving(judged(LumaMotion(WIDTH, HEIGHT), frames))


def test_a_lamp_in_one_corner_is_not_motion():
    camera = Camera()
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    glow = (0.6 * np.exp(-(columns**2 + rows**2) / (2 * 130**2))).astype(np.float32)
    lit = Camera()
    lit.wall = camera.wall * (1 + glow)
    frames = [lit.frame(i) if (i // 50) % 2 else camera.frame(i) for i in range(250)]
    assert not moving(judged(LumaMotion(WIDTH, HEIGHT), frames))


def test_bands_of_mains_light_are_one_event_at_most():
    camera = Camera()
    rows = np.arange(HEIGHT, dtype=np.float32)[:, None]
    frames = []
    for i in range(250):
        band = 1 + 0.06 * np.sin(2 * np.pi * (rows / 130 + 0.37 * i))
        frames.append(np.clip(camera.frame(i) * band, 0, 255).astype(np.uint8))
    assert len(moving(judged(LumaMotion(WIDTH, HEIGHT), frames))) <= 5


def test_a_flag_that_always_waves_is_not_motion_but_somebody_before_it_is():
    camera = Camera()
    frames = []
    for i in range(160):
        frame = camera.frame(i) if i < 120 else camera.walker(i, 12 * (i - 120) - 30, top=0.5, grey=250)
        frame = frame.copy()
        stripes = (np.arange(60) + round(6 * np.sin(2 * np.pi * i / 12))) // 10 % 2
        frame[10:60, 200:260] = np.where(stripes, 60, 190)
        frames.append(frame)
    found = moving(judged(LumaMotion(WIDTH, HEIGHT), frames))
    assert found
    assert 120 <= found[0] <= 121


def test_rain_is_not_motion():
    camera, rng = Camera(), np.random.default_rng(5)
    frames = []
    for i in range(250):
        frame = camera.frame(i).copy()
        for x, y in rng.integers(0, (WIDTH - 2, HEIGHT - 10), (50, 2)):
            frame[y : y + 9, x] = 210
        frames.append(frame)
    assert not moving(judged(LumaMotion(WIDTH, HEIGHT), frames))


def test_leaves_that_begin_to_wave_are_learned():
    camera, rng = Camera(), np.random.default_rng(6)
    leaves = rng.uniform(40, 200, (90, 140)).astype(np.float32)
    frames = []
    for i in range(700):
        shift = 0 if i < 50 else round(4 * np.sin(i / 2.1) + 3 * np.sin(i / 3.7))
        frame = camera.frame(i).copy()
        frame[20:110, 60:180] = leaves[:, 10 + shift : 130 + shift]
        frames.append(frame)
    found = moving(judged(LumaMotion(WIDTH, HEIGHT), frames))
    assert not [i for i in found if i < 50 or i > 400]


def test_what_was_put_down_is_no_motion_for_long():
    camera = Camera()
    frames = [camera.frame(i) if i < 40 else camera.walker(i, min(6 * (i - 40), 120)) for i in range(200)]
    found = moving(judged(LumaMotion(WIDTH, HEIGHT), frames))
    assert 40 in found
    assert max(found) < 60 + 25


def test_somebody_who_stood_like_a_statue_leaves_no_ghost():
    camera = Camera()
    frames = [camera.frame(i) for i in range(40)]
    frames += [camera.walker(i, min(6 * (i - 40), 150)) for i in range(40, 260)]
    frames += [camera.walker(i, 150 + 8 * (i - 260)) for i in range(260, 290)]
    frames += [camera.frame(i) for i in range(290, 340)]
    found = moving(judged(LumaMotion(WIDTH, HEIGHT), frames))
    assert not [i for i in found if 100 <= i < 260]
    assert [i for i in found if 260 <= i <= 262]
    assert max(found) <= 300


def test_light_that_steps_while_somebody_stands_still_is_not_motion():
    camera = Camera()
    frames = [camera.frame(i) for i in range(40)]
    frames += [camera.walker(i, min(6 * (i - 40), 150)) for i in range(40, 260)]
    frames = [frame if i < 160 else np.clip(frame * 1.4, 0, 255).astype(np.uint8) for i, frame in enumerate(frames)]
    found = moving(judged(LumaMotion(WIDTH, HEIGHT), frames))
    assert len([i for i in found if i >= 120]) <= 3


def test_what_appears_while_the_camera_learns_is_not_reported_but_what_follows_is():
    camera = Camera()
    found = moving(judged(LumaMotion(WIDTH, HEIGHT), [camera.walker(i, 5 * i) for i in range(50)]))
    assert found
    assert 10 <= found[0] <= 14


# Zones, masks, sensitivity


def test_a_masked_mover_is_not_seen():
    camera = Camera()
    frames = [camera.frame(i) if i < 40 else camera.walker(i, 10 + 2 * (i - 40)) for i in range(80)]
    assert moving(judged(LumaMotion(WIDTH, HEIGHT), frames))
    assert not moving(judged(LumaMotion(WIDTH, HEIGHT, masks=[LEFT_HALF]), frames))


def test_a_mover_is_seen_in_its_zone_and_nowhere_else():
    frames = passing(Camera(), 40, 95)
    found = moving(judged(LumaMotion(WIDTH, HEIGHT, zones=[RIGHT_HALF]), frames))
    # His front, 10 pixels ahead at frame 40, comes to the middle (160) 25 frames later.
    assert found
    assert 64 <= found[0] <= 67
    found = moving(judged(LumaMotion(WIDTH, HEIGHT, zones=[LEFT_HALF]), frames))
    assert found[0] in (40, 41)


def test_a_mask_wins_over_a_zone():
    frames = passing(Camera())
    assert not moving(judged(LumaMotion(WIDTH, HEIGHT, zones=[LEFT_HALF], masks=[LEFT_HALF]), frames))


def test_a_higher_number_is_less_sensitive():
    frames = passing(Camera())
    runs = [judged(LumaMotion(WIDTH, HEIGHT, sensitivity=value), frames) for value in (1, 5, 10, 30, 60, 100, 300)]
    for eager, calm in zip(runs, runs[1:]):
        assert set(moving(calm)) <= set(moving(eager))
        assert all(a.score >= b.score for a, b in zip(eager, calm))
    assert moving(runs[2])
    assert not moving(runs[-1])


def test_big_motion_is_seen_at_sensitivity_100():
    camera = Camera()
    frames = [camera.frame(i) for i in range(70)]
    for i in range(40, 70):
        frames[i] = frames[i].copy()
        frames[i][40:, : 10 * (i - 39)] = 20
    assert moving(judged(LumaMotion(WIDTH, HEIGHT, sensitivity=100), frames))


@pytest.mark.parametrize("sensitivity", [0, -1, 1001])
def test_a_sensitivity_out_of_bounds_is_refused(sensitivity):
    with pytest.raises(InvalidInput, match=r"sensitivity: must be 1\.\.1000"):
        LumaMotion(WIDTH, HEIGHT, sensitivity=sensitivity)


def test_a_picture_too_small_to_judge_is_refused():
    with pytest.raises(InvalidInput, match="at least 16x16"):
        LumaMotion(8, 240)


def test_the_score_reaches_one_exactly_when_motion_is_reported():
    scores = judged(LumaMotion(WIDTH, HEIGHT), passing(Camera()))
    assert all(score.in_motion == (score.score >= 1.0) for score in scores)
    assert any(score.in_motion and score.changed_blocks > 10 for score in scores)


# What comes from the camera


def test_rows_wider_than_the_picture_give_the_same_answers():
    frames = passing(Camera(313, 239))
    wide = []
    for frame in frames:
        buffer = np.full((239, 384), 77, np.uint8)
        buffer[:, :313] = frame
        wide.append(buffer)
    plain = judged(LumaMotion(313, 239), frames)
    assert judged(LumaMotion(313, 239), [buffer[:, :313] for buffer in wide]) == plain
    assert judged(LumaMotion(313, 239), wide) == plain


@pytest.mark.parametrize(
    "luma",
    [
        np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        np.zeros((HEIGHT, WIDTH - 1), np.uint8),
        np.zeros((HEIGHT + 1, WIDTH), np.uint8),
        np.zeros((HEIGHT, WIDTH), np.uint16),
    ],
)
def test_a_frame_of_another_shape_is_refused_by_name(luma):
    with pytest.raises(ValueError, match=r"luma: must be uint8 \(240, 320 or wider\)"):
        LumaMotion(WIDTH, HEIGHT).update(luma, 0.0)


@pytest.mark.parametrize("jump_s", [-3600.0, -0.5, 5.0, 3600.0, 1e9])
def test_a_clock_that_jumps_makes_the_scene_new_and_reports_nothing(jump_s):
    camera, detector = Camera(), LumaMotion(WIDTH, HEIGHT)
    assert not moving(judged(detector, [camera.frame(i) for i in range(40)]))
    after = Camera(seed=9)
    frames = [after.frame(i) if i < 40 else after.walker(i, 6 * (i - 40) - 30) for i in range(60)]
    found = moving(judged(detector, frames, start_s=4.0 + jump_s))
    assert found
    assert found[0] in (40, 41)


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), float("-inf")])
def test_a_time_that_is_no_number_is_survived(nonsense):
    camera, detector = Camera(), LumaMotion(WIDTH, HEIGHT)
    assert not detector.update(camera.frame(0), nonsense).in_motion
    judged(detector, [camera.frame(i) for i in range(40)])
    assert not detector.update(camera.frame(1), nonsense).in_motion
    assert detector.update(camera.walker(2, 100), 4.1).in_motion


def test_a_frame_given_twice_at_the_same_time_is_no_motion():
    camera, detector = Camera(), LumaMotion(WIDTH, HEIGHT)
    for i in range(60):
        assert not detector.update(camera.frame(i), i / FPS).in_motion
        assert not detector.update(camera.frame(i), i / FPS).in_motion


@pytest.mark.parametrize("grey", [0, 255])
def test_flat_frames_are_no_motion(grey):
    flat = np.full((HEIGHT, WIDTH), grey, np.uint8)
    scores = judged(LumaMotion(WIDTH, HEIGHT), [flat] * 60)
    assert {score.score for score in scores} == {0.0}


def test_a_covered_lens_is_survived_and_the_scene_comes_back():
    camera = Camera()
    black = np.zeros((HEIGHT, WIDTH), np.uint8)
    frames = [black if 40 <= i < 80 else camera.frame(i) for i in range(160)]
    frames += [camera.walker(i, 6 * (i - 160) - 30) for i in range(160, 180)]
    found = moving(judged(LumaMotion(WIDTH, HEIGHT), frames))
    assert not [i for i in found if 110 <= i < 160]
    assert [i for i in found if i >= 160]


@settings(max_examples=25, deadline=None)
@given(st.integers(16, 90), st.integers(16, 90), st.integers(0, 2**32 - 1))
def test_block_means_are_the_means_of_the_blocks(width, height, seed):
    luma = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    grid = BlockGrid(width, height)
    means = np.zeros((grid.rows, grid.columns), np.float32)
    grid.means(luma, means)
    for row in range(grid.rows):
        for column in range(grid.columns):
            block = luma[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            assert means[row, column] == pytest.approx(block.mean(), abs=0.01)


@pytest.mark.parametrize("reach", [1, 2])
def test_a_neighbourhood_sums_what_is_in_reach(reach):
    rng = np.random.default_rng(3)
    values = rng.uniform(0, 9, (6, 7)).astype(np.float32)
    around = Neighbourhood(6, 7, reach)
    around.input[...] = values
    sums, most = np.zeros_like(values), np.zeros_like(values)
    around.sum(sums)
    around.max(most)
    for row in range(6):
        for column in range(7):
            near = values[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
            assert sums[row, column] == pytest.approx(near.sum(), rel=1e-5)
            assert most[row, column] == near.max()


# Polygons

POINT = st.tuples(st.integers(0, 1000), st.integers(0, 1000))


@given(st.lists(POINT, min_size=3, max_size=12))
def test_every_zone_counts_something_and_every_mask_hides_something(polygon):
    grid = BlockGrid(WIDTH, HEIGHT)
    assert grid.watched([polygon], []).any()
    assert not grid.watched([], [polygon]).all()


@given(st.lists(POINT, min_size=3, max_size=6), st.lists(POINT, min_size=3, max_size=6))
def test_zones_and_masks_are_unions(one, other):
    grid = BlockGrid(WIDTH, HEIGHT)
    both = grid.watched([one, other], [])
    np.testing.assert_array_equal(both, grid.watched([one], []) | grid.watched([other], []))
    both = grid.watched([], [one, other])
    np.testing.assert_array_equal(both, grid.watched([], [one]) & grid.watched([], [other]))


@given(st.integers(0, 900), st.integers(0, 900), st.integers(60, 1000), st.integers(60, 1000))
def test_a_rectangle_covers_the_blocks_inside_it(left, top, wide, tall):
    right, bottom = min(left + wide, 1000), min(top + tall, 1000)
    grid = BlockGrid(WIDTH, HEIGHT)
    part = grid.coverage([(left, top), (right, top), (right, bottom), (left, bottom)])
    for row in range(grid.rows):
        for column in range(grid.columns):
            x0, x1 = 25 * column, 25 * (column + 1)
            y0, y1 = 8000 * row / 240, 8000 * (row + 1) / 240
            if left <= x0 and x1 <= right and top <= y0 and y1 <= bottom:
                assert part[row, column] == 1
            if x1 < left or x0 > right or y1 < top or y0 > bottom:
                assert part[row, column] == 0


def test_no_polygons_watch_everything_and_a_whole_mask_nothing():
    grid = BlockGrid(WIDTH, HEIGHT)
    assert grid.watched([], []).all()
    whole = [(0, 0), (1000, 0), (1000, 1000), (0, 1000)]
    assert grid.watched([whole], []).all()
    assert not grid.watched([], [whole]).any()


def test_a_polygon_with_a_hole_by_crossing_leaves_the_hole_out():
    grid = BlockGrid(WIDTH, HEIGHT)
    bow = [(0, 0), (1000, 1000), (1000, 0), (0, 1000)]
    part = grid.coverage(bow)
    assert part[15, 2] == 1
    assert part[2, 20] == 0


# The gate


def changes(gate: MotionGate, judged_at: list[tuple[float, bool]]) -> list[tuple[float, GateChange]]:
    answers = [(at, gate.update(seen, at)) for at, seen in judged_at]
    return [(at, change) for at, change in answers if change is not GateChange.NONE]


def test_motion_begins_at_once_and_ends_after_the_hold():
    gate = MotionGate(hold_s=1.0)
    told = changes(gate, [(0.0, False), (0.5, True), (1.0, False), (1.4, False), (1.5, False), (9.0, False)])
    assert told == [(0.5, GateChange.BEGAN), (1.5, GateChange.ENDED)]


def test_a_short_pause_does_not_end_motion():
    gate = MotionGate(hold_s=1.0)
    told = changes(gate, [(0.0, True), (0.5, False), (0.9, True), (1.5, False), (1.8, False), (1.9, False)])
    assert told == [(0.0, GateChange.BEGAN), (1.9, GateChange.ENDED)]


def test_motion_shorter_than_the_minimum_is_not_reported():
    gate = MotionGate(min_duration_s=2.0, hold_s=1.0)
    assert not changes(gate, [(0.0, True), (1.5, True), (1.6, False), (2.6, False), (2.7, True), (4.0, True)])
    assert changes(gate, [(4.7, True)]) == [(4.7, GateChange.BEGAN)]


def test_the_minimum_bridges_gaps_shorter_than_the_hold():
    gate = MotionGate(min_duration_s=2.0, hold_s=1.0)
    told = changes(gate, [(0.0, True), (0.5, True), (0.7, False), (1.4, True), (2.0, True)])
    assert told == [(2.0, GateChange.BEGAN)]


def test_a_leap_of_the_clock_does_not_count_as_lasting_motion():
    gate = MotionGate(min_duration_s=5.0, hold_s=1.0)
    assert not changes(gate, [(0.0, True), (3600.0, True), (3604.0, True)])
    assert changes(gate, [(3605.0, True)]) == [(3605.0, GateChange.BEGAN)]


def test_a_clock_set_back_neither_ends_nor_repeats_motion():
    gate = MotionGate(hold_s=1.0)
    assert changes(gate, [(1000.0, True), (10.0, True), (10.5, False), (11.0, False)]) == [
        (1000.0, GateChange.BEGAN),
        (11.0, GateChange.ENDED),
    ]
    assert changes(gate, [(12.0, True), (2.0, True), (5.9, True)]) == [(12.0, GateChange.BEGAN)]


def test_a_clock_set_back_does_not_make_motion_last_longer():
    gate = MotionGate(min_duration_s=3.0)
    assert not changes(gate, [(100.0, True), (50.0, True), (52.0, True)])
    assert changes(gate, [(53.0, True)]) == [(53.0, GateChange.BEGAN)]


@pytest.mark.parametrize("wrong", [{"hold_s": -1.0}, {"hold_s": float("nan")}, {"min_duration_s": float("inf")}])
def test_a_gate_with_impossible_times_is_refused(wrong):
    with pytest.raises(InvalidInput, match="must be a finite number of seconds"):
        MotionGate(**wrong)


TIMES = st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.just(float("inf")))
STEPS = st.lists(st.tuples(st.booleans(), st.one_of(st.floats(0, 3), TIMES)), max_size=60)
SECONDS = st.floats(0, 5)


@given(STEPS, SECONDS, SECONDS)
def test_began_and_ended_alternate_whatever_the_clock_does(steps, minimum, hold):
    gate, began = MotionGate(min_duration_s=minimum, hold_s=hold), False
    for seen, at in steps:
        change = gate.update(seen, at)
        if change is GateChange.BEGAN:
            assert seen
            assert not began
            began = True
        if change is GateChange.ENDED:
            assert not seen
            assert began
            began = False
        assert gate.in_motion == began


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 3)), max_size=80), SECONDS, SECONDS)
def test_on_a_good_clock_the_times_are_kept(steps, minimum, hold):
    gate, now = MotionGate(min_duration_s=minimum, hold_s=hold), 0.0
    first_motion = last_motion = None
    quiet = False
    for seen, step in steps:
        now += step
        if seen:
            if first_motion is None or (now - last_motion >= hold and quiet):
                first_motion = now
            last_motion, quiet = now, False
        else:
            quiet = True
        change = gate.update(seen, now)
        if change is GateChange.BEGAN:
            assert now - first_motion >= minimum - 2e-6
        if change is GateChange.ENDED:
            assert now - last_motion >= hold - 2e-6
