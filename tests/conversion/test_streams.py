"""Bare streams of real pictures become clips that play."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import av
import hypothesis
import pytest
from hypothesis import strategies

from pinthesky.conversion import streams
from pinthesky.conversion.streams import THUMBNAIL_WIDTH, convert
from pinthesky.errors import InvalidInput

FOOTAGE = Path(__file__).resolve().parents[1] / "footage" / "people.mp4"
PICTURES = 60


def bare(pictures: int = PICTURES) -> bytes:
    """The first pictures of the footage as Annex B."""
    out = io.BytesIO()
    with av.open(str(FOOTAGE), "r") as source, av.open(out, "w", format="h264") as target:
        video = source.streams.video[0]
        track = target.add_stream_from_template(video)
        for number, packet in enumerate(source.demux(video)):
            if number == pictures:
                break
            packet.stream = track
            target.mux_one(packet)
    return out.getvalue()


@pytest.fixture(scope="module")
def stream() -> bytes:
    return bare()


def times(values: Sequence[float]) -> bytes:
    return ("# timestamp format v2\n" + "".join(f"{value:.3f}\n" for value in values)).encode()


def starts_of(mp4: bytes) -> list[float]:
    with av.open(io.BytesIO(mp4), "r") as source:
        return sorted(
            float((packet.pts or 0) * (packet.time_base or 0)) for packet in source.demux(video=0) if packet.size
        )


def test_a_stream_with_its_times_becomes_a_clip_of_the_same_pictures(stream):
    given = [number * 41.5 + (number % 3) for number in range(PICTURES)]
    made = convert(stream, times(given))
    assert starts_of(made.mp4) == pytest.approx([one / 1000 for one in given], abs=2e-6)
    assert made.duration_s == pytest.approx(given[-1] / 1000 + 0.0415, abs=0.002)
    with av.open(io.BytesIO(made.mp4), "r") as source:
        decoded = list(source.decode(video=0))
    with av.open(io.BytesIO(stream), "r", format="h264") as source:
        original = list(source.decode(video=0))
    assert len(decoded) == len(original) == PICTURES
    assert all((a.to_ndarray() == b.to_ndarray()).all() for a, b in zip(decoded, original, strict=True))


def test_its_thumbnail_is_a_jpeg_of_the_first_picture(stream):
    made = convert(stream)
    with av.open(io.BytesIO(made.thumbnail), "r", format="mjpeg") as source:
        (picture,) = source.decode(video=0)
    assert picture.width <= THUMBNAIL_WIDTH
    with av.open(str(FOOTAGE), "r") as source:
        first = next(source.decode(video=0))
    small = first.reformat(picture.width, picture.height, "gray").to_ndarray().astype(int)
    assert abs(small - picture.reformat(format="gray").to_ndarray()).mean() < 12


def test_without_times_pictures_are_evenly_spaced(stream):
    starts = starts_of(convert(stream).mp4)
    steps = {round(after - before, 5) for before, after in zip(starts, starts[1:], strict=False)}
    assert len(starts) == PICTURES
    assert max(steps) - min(steps) < 1e-5


def test_times_that_end_too_soon_go_on_at_their_pace(stream):
    made = convert(stream, times([number * 100.0 for number in range(PICTURES // 2)]))
    starts = starts_of(made.mp4)
    assert starts[-1] == pytest.approx((PICTURES - 1) * 0.1, abs=0.001)
    assert len(starts) == PICTURES


def test_what_is_no_stream_is_refused(stream, monkeypatch):
    for wrong in (b"", b"GIF89a" * 100, stream[200:260]):
        with pytest.raises(InvalidInput, match=r"source: is no H\.264 stream"):
            convert(wrong)
    for wrong in (b"", b"# timestamp format v1\n0\n", times([0, 40, 40]), b"\xff", b"# timestamp format v2\nx\n"):
        with pytest.raises(InvalidInput, match=r"source: is no H\.264 stream"):
            convert(stream, wrong)
    monkeypatch.setattr(streams, "STREAM_MAX", len(stream) - 1)
    with pytest.raises(InvalidInput, match="source: must have at most"):
        convert(stream)


@hypothesis.given(strategies.data())
@hypothesis.settings(max_examples=25, deadline=None)
def test_a_damaged_stream_is_converted_or_refused_and_nothing_else(data):
    damaged = bytearray(bare(20))
    for _ in range(data.draw(strategies.integers(1, 8))):
        at = data.draw(strategies.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(strategies.integers(0, 400))] = data.draw(strategies.binary(max_size=40))
    try:
        made = convert(bytes(damaged))
    except InvalidInput as error:
        assert error.field == "source"
    else:
        assert made.mp4[4:8] == b"ftyp"
        assert made.thumbnail[:2] == b"\xff\xd8"
