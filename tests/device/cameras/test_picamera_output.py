"""Buffers of the legacy encoder become pictures, whatever they are split into."""

from __future__ import annotations

from typing import Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device.cameras import picamera_output
from pinthesky.device.cameras.picamera_output import VECTOR, EncoderOutput, WrittenFrame
from pinthesky.device.ports import CameraLost, Frame, MotionVectors, Packet
from pinthesky.errors import Unavailable

SPS, PPS = b"\x00\x00\x00\x01\x67\x64\x00\x28", b"\x00\x00\x00\x01\x68\xee\x3c"
IDR, SLICE = b"\x00\x00\x00\x01\x65" + b"i" * 50, b"\x00\x00\x00\x01\x41" + b"p" * 30
FPS = 20
STEP_US = 1_000_000 // FPS
ROWS, COLUMNS = 3, 5
STILL = np.zeros((ROWS, COLUMNS), VECTOR).tobytes()


class Encoder:
    """Writes to an output as the firmware does, and keeps what comes out."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.given: list[Frame] = []
        self.breaks: list[Exception] = []
        self._frame = WrittenFrame(None, False)
        self.output = EncoderOutput(
            self._sink,
            frame=self._describe,
            vector_shape=(ROWS, COLUMNS),
            framerate=FPS,
            monotonic=lambda: self.now_s,
        )

    def _sink(self, frame: Frame) -> None:
        self.given.append(frame)
        if self.breaks and not isinstance(frame, CameraLost):
            raise self.breaks.pop()

    def _describe(self) -> WrittenFrame:
        if self.breaks:
            raise self.breaks.pop()
        return self._frame

    def headers(self) -> None:
        """As seen: SPS and PPS are two buffers of one frame without a time."""
        self.write(SPS, None, complete=False)
        self.write(PPS, None, complete=True)

    def write(self, data: bytes, timestamp_us: Optional[int], *, complete: bool = True) -> None:
        """One buffer of a picture."""
        self._frame = WrittenFrame(timestamp_us, complete)
        self.output.pictures.write(data)

    def vectors(self, record: bytes = STILL, *, complete: bool = True) -> None:
        """One buffer of motion vectors."""
        self._frame = WrittenFrame(None, complete)
        self.output.vectors.write(record)

    @property
    def packets(self) -> list[Packet]:
        return [frame for frame in self.given if isinstance(frame, Packet)]

    @property
    def losses(self) -> list[CameraLost]:
        return [frame for frame in self.given if isinstance(frame, CameraLost)]


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


def test_headers_are_joined_to_the_picture_after_them(encoder: Encoder):
    encoder.headers()
    encoder.write(IDR, 5_000)
    assert encoder.given == [Packet(SPS + PPS + IDR, 5_000, True)]


def test_headers_that_do_not_end_their_frame_are_joined_too(encoder: Encoder):
    encoder.write(SPS + PPS, None, complete=False)
    encoder.write(IDR, 5_000)
    assert encoder.given == [Packet(SPS + PPS + IDR, 5_000, True)]


def test_headers_in_frames_of_their_own_are_joined_too(encoder: Encoder):
    encoder.write(SPS, None)
    encoder.write(PPS, None)
    encoder.write(IDR, 5_000)
    assert encoder.given == [Packet(SPS + PPS + IDR, 5_000, True)]


def test_nothing_comes_before_the_first_keyframe(encoder: Encoder):
    encoder.write(SLICE, 1_000)
    encoder.vectors()
    encoder.write(IDR, 2_000)
    assert encoder.given == [], "without its headers a picture is none to begin with"
    encoder.headers()
    encoder.write(IDR, 3_000)
    assert [packet.timestamp_us for packet in encoder.packets] == [3_000]


def test_a_keyframe_without_headers_gets_those_that_hold(encoder: Encoder):
    encoder.headers()
    encoder.write(IDR, 1_000)
    encoder.write(IDR, 51_000)
    assert encoder.packets[1] == Packet(SPS + PPS + IDR, 51_000, True)


def test_a_header_alone_is_completed_by_the_ones_that_hold(encoder: Encoder):
    encoder.headers()
    encoder.write(IDR, 1_000)
    encoder.write(SPS, None)
    encoder.write(IDR, 51_000)
    assert encoder.packets[1] == Packet(SPS + PPS + SPS + IDR, 51_000, True)


@given(
    keys=st.lists(st.booleans(), max_size=12),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    timed_once=st.booleans(),
)
def test_pictures_come_out_whole_however_they_are_split(keys: list[bool], cuts: list[int], timed_once: bool):
    encoder, expected = Encoder(), []
    for number, is_keyframe in enumerate([True, *keys]):
        time_us = 10_000 + number * STEP_US
        if is_keyframe:
            encoder.headers()
        picture = (IDR if is_keyframe else SLICE) + b"%c" % (number + 1)
        at = 0
        while at < len(picture):
            size = cuts[(number + at) % len(cuts)]
            last = at + size >= len(picture)
            encoder.write(picture[at : at + size], None if timed_once and at else time_us, complete=last)
            at += size
        expected.append(Packet((SPS + PPS if is_keyframe else b"") + picture, time_us, is_keyframe))
        encoder.now_s += 1 / FPS
    assert encoder.given == expected


def test_a_picture_without_a_time_gets_that_of_its_arrival(encoder: Encoder):
    encoder.headers()
    encoder.write(IDR, None)
    encoder.now_s += 0.04
    encoder.write(SLICE, None)
    first, second = encoder.packets
    assert (first.timestamp_us, second.timestamp_us) == (100_000_000, 100_040_000)


def test_vectors_have_the_shape_of_the_picture_and_its_time(encoder: Encoder):
    record = np.zeros((ROWS, COLUMNS), VECTOR)
    record[1, 2] = (-128, 127, 65_535)
    encoder.headers()
    encoder.write(IDR, 1_000)
    encoder.write(SLICE, 51_000)
    encoder.vectors(record.tobytes())
    vectors = encoder.given[-1]
    assert isinstance(vectors, MotionVectors)
    assert vectors.timestamp_us == 51_000
    assert vectors.vectors.shape == (ROWS, COLUMNS)
    assert vectors.vectors[1, 2].tolist() == (-128, 127, 65_535)


def test_vectors_may_come_in_several_buffers(encoder: Encoder):
    encoder.headers()
    encoder.write(IDR, 1_000)
    encoder.write(SLICE, 51_000)
    encoder.vectors(STILL[:7], complete=False)
    encoder.vectors(STILL[7:])
    assert isinstance(encoder.given[-1], MotionVectors)


def test_vectors_of_a_keyframe_say_nothing_and_are_left_out(encoder: Encoder):
    encoder.headers()
    encoder.write(IDR, 1_000)
    encoder.vectors()
    assert encoder.given == encoder.packets


def test_vectors_of_another_size_are_a_loss_that_says_so(encoder: Encoder):
    encoder.headers()
    encoder.write(IDR, 1_000)
    encoder.vectors(STILL[4:])
    assert encoder.losses == [CameraLost("a picture's motion vectors are 56 bytes, not 60")]


@pytest.mark.parametrize("data", [SLICE, SPS])
def test_a_picture_without_end_is_a_loss(encoder: Encoder, data: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(picamera_output, "UNIT_BYTES_MAX", 1_000)
    for _ in range(200):
        encoder.write(data, None, complete=data == SPS)
    assert [loss.reason for loss in encoder.losses] == ["a picture of more than 1000 bytes has no end"]


def test_an_error_behind_the_callback_is_told_once_and_never_raised(encoder: Encoder, caplog: pytest.LogCaptureFixture):
    encoder.headers()
    encoder.breaks = [ZeroDivisionError()]
    for number in range(5):
        encoder.write(IDR, 1_000 + number)
        encoder.vectors()
    assert encoder.given == [CameraLost("the camera's frames cannot be taken: ZeroDivisionError")]
    assert encoder.output.over == encoder.losses[0].reason
    assert "ZeroDivisionError" in caplog.text


def test_what_the_sensor_reports_is_told_as_it_is(encoder: Encoder, caplog: pytest.LogCaptureFixture):
    encoder.breaks = [Unavailable("no data from the sensor")]
    encoder.write(IDR, 1_000)
    assert encoder.given == [CameraLost("no data from the sensor")]
    assert caplog.text == ""


def test_after_the_end_nothing_comes_not_even_a_loss(encoder: Encoder):
    encoder.headers()
    encoder.output.end()
    encoder.write(IDR, 1_000)
    encoder.output.lose("too late")
    assert encoder.given == []
    assert encoder.output.over == "the camera is closed"
