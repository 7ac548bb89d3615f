"""Pictures with padded rows: where their planes lie, and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device.cameras.geometry import polygon_mask, turned, turned_size
from pinthesky.device.cameras.yuv420 import Layout, LumaTap, Planes, PrivacyBurner, as_shown

PADDING = 0xA5
ROTATIONS = (0, 90, 180, 270)
even = st.integers(1, 40).map(lambda half: half * 2)


def buffer_of(layout: Layout, *, value: int = 100, extra: int = 0) -> np.ndarray:
    """A buffer whose pixels are `value`, and whose padding and tail are not."""
    buffer = np.full(layout.stride * layout.height * 3 // 2 + extra, PADDING, np.uint8)
    for plane in layout.planes(buffer):
        plane[:] = value
    return buffer


class TestLayout:
    @given(width=even, height=even, padding=even, extra=st.integers(0, 100))
    def test_planes_are_views_that_leave_the_padding_alone(self, width, height, padding, extra):
        layout = Layout(width, height, width + padding)
        buffer = buffer_of(layout, value=1, extra=extra)
        planes = layout.planes(buffer)
        assert [plane.shape for plane in planes] == [(height, width), *[(height // 2, width // 2)] * 2]
        assert int((buffer == 1).sum()) == width * height * 3 // 2
        assert int((buffer == PADDING).sum()) == buffer.size - width * height * 3 // 2

    def test_the_planes_follow_each_other(self):
        layout = Layout(4, 2, 8)
        buffer = np.arange(24, dtype=np.uint8)
        luma, blue, red = layout.planes(buffer)
        assert luma.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
        assert blue.tolist() == [[16, 17]]
        assert red.tolist() == [[20, 21]]

    def test_a_copy_has_memory_of_its_own(self):
        layout = Layout(4, 4, 8)
        buffer = buffer_of(layout)
        copy = layout.planes(buffer).copy()
        buffer[:] = 0
        assert all((plane == 100).all() for plane in copy)


class TestPrivacyBurner:
    @pytest.mark.parametrize("rotation_left", ROTATIONS)
    @given(polygon=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=3, max_size=6))
    def test_exactly_what_the_polygon_covers_as_shown_is_black(self, rotation_left, polygon):
        layout = Layout(32, 20, 48)
        buffer = buffer_of(layout)
        planes = layout.planes(buffer)
        PrivacyBurner([polygon], layout, rotation_left=rotation_left).burn(planes)
        covered = polygon_mask([polygon], *turned_size(32, 20, rotation_left))
        shown = turned(planes.luma, rotation_left)
        assert ((shown == 16) == covered).all()
        hidden = turned(covered, -rotation_left).reshape(10, 2, 16, 2).any(axis=(1, 3))
        for plane in (planes.blue, planes.red):
            assert ((plane == 128) == hidden).all()
        assert (buffer_of(layout)[buffer == PADDING] == PADDING).all()

    def test_black_is_zero_in_full_range(self):
        layout = Layout(8, 8, 8)
        planes = layout.planes(buffer_of(layout))
        everything = [(0, 0), (1000, 0), (1000, 1000), (0, 1000)]
        PrivacyBurner([everything], layout, rotation_left=0, full_range=True).burn(planes)
        assert (planes.luma == 0).all()


class TestLumaTap:
    @pytest.mark.parametrize("rotation_left", ROTATIONS)
    def test_a_stream_of_the_right_size_is_copied_and_turned(self, rotation_left):
        layout = Layout(8, 4, 16)
        buffer = buffer_of(layout)
        planes = layout.planes(buffer)
        planes.luma[:] = np.arange(32, dtype=np.uint8).reshape(4, 8)
        tap = LumaTap(layout, rotation_left=rotation_left, full_range=True)
        luma = tap.luma(planes)
        assert (luma == turned(planes.luma, rotation_left)).all()
        assert luma.shape == tap.size[::-1]
        buffer[:] = 0
        assert luma.max() == 31

    def test_video_range_is_stretched(self):
        layout = Layout(4, 2, 4)
        planes = layout.planes(buffer_of(layout))
        planes.luma[:] = [[0, 16, 17, 125], [126, 234, 235, 255]]
        assert LumaTap(layout, rotation_left=0).luma(planes).tolist() == [[0, 0, 1, 127], [128, 254, 255, 255]]

    @pytest.mark.parametrize("rotation_left", ROTATIONS)
    @pytest.mark.parametrize("width, height", [(1280, 720), (640, 480), (642, 362), (4096, 3072)])
    def test_a_stream_that_came_too_large_is_averaged_to_what_a_luma_frame_may_be(self, width, height, rotation_left):
        layout = Layout(width, height, width)
        planes = Planes(np.full((height, width), 100, np.uint8), *[np.zeros((1, 1), np.uint8)] * 2)
        planes.luma[:, ::2] = 120
        tap = LumaTap(layout, rotation_left=rotation_left, full_range=True)
        luma = tap.luma(planes)
        assert luma.shape == tap.size[::-1]
        assert tap.size[0] <= 320
        assert tap.size[1] <= 240
        assert not any(side % 2 for side in tap.size)
        assert 109 <= luma.mean() <= 114


class TestAsShown:
    @pytest.mark.parametrize("rotation_left", ROTATIONS)
    def test_planes_are_turned_and_contiguous(self, rotation_left):
        layout = Layout(8, 4, 16)
        planes = layout.planes(buffer_of(layout))
        planes.luma[0, 0], planes.blue[0, 0], planes.red[0, 0] = 1, 2, 3
        shown = as_shown(planes, rotation_left=rotation_left, full_range=True)
        for plane, before in zip(shown, planes):
            assert plane.flags.c_contiguous
            assert (plane == turned(before, rotation_left)).all()

    def test_luma_and_colour_are_stretched_to_full_range(self):
        planes = Planes(*(np.array([[16, 128, 235, 240]], np.uint8) for _ in range(3)))
        shown = as_shown(planes, rotation_left=0)
        assert shown.luma.tolist() == [[0, 130, 255, 255]]
        assert shown.blue.tolist() == [[0, 128, 250, 255]]
        assert shown.red.tolist() == [[0, 128, 250, 255]]
