"""From a network's outputs to labels of the picture as shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pinthesky.device.cameras.detections import (
    CONFIDENCE_MIN,
    LABELS_MAX,
    LOOK_EVERY_US,
    PAUSE_US,
    Detections,
    Network,
    ssd_labels,
)
from pinthesky.device.ports import Label, Labels

NAMES = Network(("person", "-", "cat"))
TOP_LEFT = (0.1, 0.2, 0.3, 0.6)
"""Top, left, bottom, right."""


def outputs(*found: tuple[tuple[float, ...], float, float]) -> list[np.ndarray]:
    boxes, scores, classes = zip(*found)
    return [np.array(boxes, np.float32), np.array(scores, np.float32), np.array(classes, np.float32)]


def boxes_of(labels: list[Label]) -> list[tuple[float, ...]]:
    return [tuple(round(value, 3) for value in label.box) for label in labels]


class TestSsdLabels:
    def test_a_finding_has_its_name_its_confidence_and_a_box_from_left_to_bottom(self):
        (label,) = ssd_labels(outputs((TOP_LEFT, 0.9, 2)), NAMES)
        assert (label.name, round(label.confidence, 3)) == ("cat", 0.9)
        assert boxes_of([label]) == [(0.2, 0.1, 0.6, 0.3)]

    def test_the_surest_come_first_and_the_unsure_not_at_all(self):
        found = outputs((TOP_LEFT, CONFIDENCE_MIN - 0.01, 0), (TOP_LEFT, 0.6, 0), (TOP_LEFT, 0.8, 2))
        assert [label.name for label in ssd_labels(found, NAMES)] == ["cat", "person"]

    def test_there_are_never_more_than_the_bound(self):
        assert len(ssd_labels(outputs(*[(TOP_LEFT, 0.9, 0)] * 50), NAMES)) == LABELS_MAX

    @pytest.mark.parametrize("number", [1, 3, -1, math.nan, math.inf])
    def test_a_class_without_a_name_is_left_out(self, number):
        assert ssd_labels(outputs((TOP_LEFT, 0.9, number)), NAMES) == []

    def test_a_network_without_names_gives_numbers(self):
        assert [label.name for label in ssd_labels(outputs((TOP_LEFT, 0.9, 17)), Network())] == ["class 17"]

    def test_what_is_no_number_is_nothing(self):
        assert ssd_labels(outputs((TOP_LEFT, math.nan, 0)), NAMES) == []
        assert ssd_labels(outputs(((0.1, math.nan, 0.3, 0.6), 0.9, 0)), NAMES) == []

    def test_columns_may_come_first(self):
        columns_first = NAMES._replace(rows_first=False)
        assert boxes_of(ssd_labels(outputs((TOP_LEFT, 0.9, 0)), columns_first)) == [(0.1, 0.2, 0.3, 0.6)]

    def test_a_box_in_pixels_becomes_parts(self):
        found = outputs(((32.0, 64.0, 96.0, 192.0), 0.9, 0))
        assert boxes_of(ssd_labels(found, NAMES._replace(box_unit=320.0))) == [(0.2, 0.1, 0.6, 0.3)]

    def test_a_box_is_seen_through_the_part_of_the_sensor_that_the_picture_shows(self):
        found = outputs((TOP_LEFT, 0.9, 0), ((0.9, 0.9, 1.0, 1.0), 0.8, 0))
        assert boxes_of(ssd_labels(found, NAMES, crop=(0.0, 0.2, 0.8, 0.7))) == [(0.25, 0.0, 0.75, 0.2)]

    @pytest.mark.parametrize(
        "turn, box",
        [(90, (0.7, 0.2, 0.9, 0.6)), (180, (0.4, 0.7, 0.8, 0.9)), (270, (0.1, 0.4, 0.3, 0.8))],
    )
    def test_a_box_is_turned_with_the_picture(self, turn, box):
        assert boxes_of(ssd_labels(outputs((TOP_LEFT, 0.9, 0)), NAMES, rotation_left=turn)) == [box]

    @pytest.mark.parametrize(
        "wrong",
        [
            [np.zeros((5, 4)), np.zeros(5)],
            [np.zeros((5, 4)), np.zeros(4), np.zeros(5)],
            [np.zeros((5, 3)), np.zeros(5), np.zeros(5)],
        ],
    )
    def test_outputs_of_another_kind_of_network_are_refused(self, wrong):
        with pytest.raises(ValueError, match="detect"):
            ssd_labels(wrong, NAMES)

    @given(
        boxes=arrays.arrays(np.float32, (6, 4)),
        scores=arrays.arrays(np.float32, 6),
        classes=arrays.arrays(np.float32, 6),
        turn=st.sampled_from([0, 90, 180, 270]),
    )
    def test_whatever_the_sensor_sends_labels_are_within_their_bounds(self, boxes, scores, classes, turn):
        for label in ssd_labels([boxes, scores, classes], NAMES, rotation_left=turn):
            left, top, right, bottom = label.box
            assert 0 <= left <= right <= 1
            assert 0 <= top <= bottom <= 1
            assert CONFIDENCE_MIN <= label.confidence <= 1
            assert label.name in ("person", "cat")


class Scripted:
    """A labeller that finds what it is shown, and counts."""

    def __init__(self) -> None:
        self.looked_at: list[object] = []

    def labels(self, seen: tuple[Label, ...]) -> tuple[Label, ...]:
        self.looked_at.append(seen)
        return seen


class TestDetections:
    LABEL = Label("person", 0.9, (0.0, 0.0, 1.0, 1.0))

    def test_a_finding_is_handed_on_with_its_time_and_then_not_for_a_second(self):
        labeller = Scripted()
        detections = Detections(labeller, lambda request: request)
        found = [detections.look((self.LABEL,), time_us) for time_us in range(0, PAUSE_US + 1, 50_000)]
        assert [labels for labels in found if labels] == [Labels((self.LABEL,), 0), Labels((self.LABEL,), PAUSE_US)]
        assert len(labeller.looked_at) == 2

    def test_while_nothing_is_there_few_pictures_are_looked_at(self):
        labeller = Scripted()
        detections = Detections(labeller, lambda _: ())
        assert [detections.look(object(), time_us) for time_us in range(0, 1_000_000, 50_000)] == [None] * 20
        assert len(labeller.looked_at) == 1_000_000 // LOOK_EVERY_US
