"""The judge of an encoder's motion vectors: the classic rule, and where it counts."""

from __future__ import annotations

import numpy as np
import pytest

from pinthesky.device.cameras.geometry import turned, turned_size
from pinthesky.device.motion_vectors import VectorMotion
from pinthesky.errors import InvalidInput

VECTOR = np.dtype([("x", np.int8), ("y", np.int8), ("sad", np.uint16)])
WIDTH, HEIGHT = 640, 480
TOP_LEFT = [(0, 0), (500, 0), (500, 500), (0, 500)]
TOP_RIGHT = [(500, 0), (1000, 0), (1000, 500), (500, 500)]
EVERYTHING = [(0, 0), (1000, 0), (1000, 1000), (0, 1000)]


def judge(**settings) -> VectorMotion:
    return VectorMotion(WIDTH, HEIGHT, **settings)


def vectors(fast: int, *, x: int = 50, y: int = -50) -> np.ndarray:
    """The record of a 640x480 picture, its first `fast` macroblocks in motion."""
    grid = np.zeros((30, 41), VECTOR)
    grid["x"].flat[:fast], grid["y"].flat[:fast] = x, y
    return grid


def moving_at(place: tuple[slice, slice], *, rotation_left: int = 0, size: tuple[int, int] = (640, 480)) -> np.ndarray:
    """A record with motion at `place`, rows and columns of macroblocks of the picture as shown.

    `size` is (width, height) of the picture as shown, whole macroblocks.
    """
    shown = np.zeros((size[1] // 16, size[0] // 16), np.bool_)
    shown[place] = True
    encoded = turned(shown, -rotation_left)
    record = np.zeros((encoded.shape[0], encoded.shape[1] + 1), VECTOR)
    record["x"][:, :-1] = 100 * encoded
    return record


# The rule


def test_more_than_sensitivity_fast_macroblocks_are_motion():
    ten = judge(sensitivity=10)
    assert not ten.update(vectors(10), 0.0).in_motion
    score = ten.update(vectors(11), 0.1)
    assert score.in_motion
    assert score.score == 1.0
    assert score.changed_blocks == 11


def test_a_vector_of_exactly_60_is_not_fast():
    assert not judge().update(vectors(500, x=60, y=0), 0.0).in_motion
    assert judge().update(vectors(500, x=61, y=0), 0.0).in_motion


def test_the_longest_vector_does_not_wrap_around():
    assert judge().update(vectors(11, x=-128, y=-128), 0.0).in_motion


def test_vectors_may_come_as_plain_pairs():
    plain = np.zeros((30, 41, 2), np.int8)
    plain.reshape(-1, 2)[:11] = (61, 0)
    assert judge().update(plain, 0.0).in_motion


@pytest.mark.parametrize("wrong", [np.zeros((30, 41), np.int8), np.zeros((30, 41), np.dtype([("sad", np.uint16)]))])
def test_vectors_of_another_shape_are_refused(wrong):
    with pytest.raises(InvalidInput, match="vectors: must have fields x and y"):
        judge().update(wrong, 0.0)


@pytest.mark.parametrize("sensitivity", [0, -1, 1001])
def test_a_sensitivity_out_of_bounds_is_refused(sensitivity):
    with pytest.raises(InvalidInput, match=r"sensitivity: must be 1\.\.1000"):
        judge(sensitivity=sensitivity)


def test_a_picture_of_less_than_a_macroblock_is_refused():
    with pytest.raises(InvalidInput, match="at least 16x16"):
        VectorMotion(640, 8)


# Zones and masks


@pytest.mark.parametrize("rotation_left", [0, 90, 180, 270])
def test_only_motion_inside_a_zone_counts_whatever_the_camera_s_rotation(rotation_left):
    size = turned_size(WIDTH, HEIGHT, rotation_left)
    rows, columns = size[1] // 16, size[0] // 16
    in_zone = judge(rotation_left=rotation_left, zones=[TOP_RIGHT])
    places = {
        "top right": (slice(0, rows // 2), slice(columns // 2, columns)),
        "top left": (slice(0, rows // 2), slice(0, columns // 2)),
        "bottom right": (slice(rows // 2, rows), slice(columns // 2, columns)),
        "bottom left": (slice(rows // 2, rows), slice(0, columns // 2)),
    }
    seen = {
        name: in_zone.update(moving_at(place, rotation_left=rotation_left, size=size), 0.0).changed_blocks
        for name, place in places.items()
    }
    assert seen == {"top right": 300, "top left": 0, "bottom right": 0, "bottom left": 0}


@pytest.mark.parametrize("rotation_left", [0, 90, 180, 270])
def test_motion_inside_a_mask_never_counts_whatever_the_camera_s_rotation(rotation_left):
    size = turned_size(WIDTH, HEIGHT, rotation_left)
    masked = judge(rotation_left=rotation_left, masks=[TOP_LEFT])
    hidden = (slice(0, size[1] // 32), slice(0, size[0] // 32))
    assert masked.update(moving_at(hidden, rotation_left=rotation_left, size=size), 0.0).changed_blocks == 0
    everywhere = (slice(None), slice(None))
    assert masked.update(moving_at(everywhere, rotation_left=rotation_left, size=size), 0.0).changed_blocks == 900


def test_a_mask_wins_over_a_zone():
    both = judge(zones=[EVERYTHING], masks=[EVERYTHING])
    assert not both.update(vectors(1230), 0.0).in_motion


def test_the_column_that_is_none_of_the_picture_is_in_no_zone():
    assert judge(zones=[EVERYTHING]).update(vectors(1230), 0.0).changed_blocks == 1200


def test_a_last_row_that_is_half_a_macroblock_counts():
    full_hd = VectorMotion(1920, 1080, zones=[[(0, 994), (1000, 994), (1000, 1000), (0, 1000)]])
    record = np.zeros((68, 121), VECTOR)
    record["x"][67] = 100
    assert full_hd.update(record, 0.0).changed_blocks == 120


def test_a_record_of_another_picture_is_refused_where_places_matter():
    with pytest.raises(InvalidInput, match=r"vectors: must be 30 rows of 40 macroblocks, not \(30, 60\)"):
        judge(masks=[TOP_LEFT]).update(np.zeros((30, 60), VECTOR), 0.0)
