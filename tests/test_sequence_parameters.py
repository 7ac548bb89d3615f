"""The parser of sequence parameter sets: on real encoders' and on sets that the test writes bit by bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.sequence_parameters import SequenceParameters, sequence_parameters


class Writer:
    """Writes a NAL unit bit by bit, as the standard says, with emulation prevention."""

    def __init__(self) -> None:
        self.bits: list[str] = []

    def u(self, value: int, count: int = 1) -> None:
        self.bits.append(f"{value:0{count}b}")

    def ue(self, value: int) -> None:
        text = f"{value + 1:b}"
        self.bits.append("0" * (len(text) - 1) + text)

    def se(self, value: int) -> None:
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def nal(self, profile: int, constraints: int, level: int) -> bytes:
        text = "".join(self.bits) + "1"
        text += "0" * (-len(text) % 8)
        payload = bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))
        found = bytearray([0x67, profile, constraints, level])
        zeros = 0
        for byte in payload:
            if zeros >= 2 and byte <= 3:
                found.append(3)
                zeros = 0
            found.append(byte)
            zeros = 0 if byte else zeros + 1
        return bytes(found)


def head(
    out: Writer, *, width: int, height: int, order: int = 2, crop: tuple[int, int, int, int] | None = None
) -> None:
    """From log2_max_frame_num to the cropping, of a progressive 4:2:0 stream."""
    out.ue(0)
    out.ue(order)
    if order == 0:
        out.ue(2)
    if order == 1:
        out.u(1)
        out.se(-3)
        out.se(4)
        out.ue(2)
        out.se(5)
        out.se(-6)
    out.ue(1)
    out.u(0)
    out.ue(width // 16 - 1)
    out.ue(height // 16 - 1)
    out.u(1)
    out.u(1)
    out.u(crop is not None)
    for side in crop or ():
        out.ue(side)


def simple(profile: int = 66, constraints: int = 0xC0, level: int = 31, *, vui: bool = False) -> Writer:
    out = Writer()
    out.ue(0)
    head(out, width=1280, height=720)
    out.u(vui)
    return out


def test_a_small_set_is_read():
    assert sequence_parameters(simple().nal(66, 0xC0, 31)) == SequenceParameters(
        profile="Constrained Baseline",
        level="3.1",
        codec="avc1.42c01f",
        width=1280,
        height=720,
        frames_only=True,
        reference_frames=1,
        framerate=None,
        bitstream_restriction=False,
        reorder_frames=None,
        decoded_picture_buffering=None,
    )


@pytest.mark.parametrize(
    "numbers, profile, level",
    [
        ((66, 0, 30), "Baseline", "3"),
        ((77, 0, 40), "Main", "4"),
        ((77, 0x10, 11), "Main", "1b"),
        ((66, 0, 11), "Baseline", "1.1"),
        ((66, 0, 9), "Baseline", "1b"),
        ((88, 0, 22), "Extended", "2.2"),
        ((67, 0, 51), "profile 67", "5.1"),
    ],
)
def test_profile_and_level_have_names(numbers, profile, level):
    found = sequence_parameters(simple().nal(*numbers))
    assert (found.profile, found.level) == (profile, level)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_every_kind_of_picture_order_is_passed_over(order):
    out = Writer()
    out.ue(0)
    head(out, width=640, height=480, order=order)
    out.u(0)
    found = sequence_parameters(out.nal(77, 0, 30))
    assert (found.width, found.height) == (640, 480)


def test_scaling_lists_of_high_profiles_are_passed_over_and_the_picture_cropped():
    out = Writer()
    out.ue(0)
    out.ue(1)
    out.ue(0)
    out.ue(0)
    out.u(0)
    out.u(1)
    for index in range(8):
        out.u(index in (0, 1, 6))
        if index == 0:
            for _ in range(16):
                out.se(1)
        if index == 1:
            out.se(-8)  # the default list
        if index == 6:
            out.se(2)
            out.se(-10)  # the rest repeats
    head(out, width=1920, height=1088, crop=(0, 0, 0, 4))
    out.u(0)
    found = sequence_parameters(out.nal(100, 0, 40))
    assert (found.profile, found.width, found.height) == ("High", 1920, 1080)


def test_interlaced_and_full_colour_pictures_have_their_own_units():
    out = Writer()
    out.ue(0)
    out.ue(3)
    out.u(1)
    out.ue(0)
    out.ue(0)
    out.u(0)
    out.u(0)
    out.ue(0)
    out.ue(2)
    out.ue(1)
    out.u(0)
    out.ue(39)
    out.ue(14)
    out.u(0)
    out.u(1)
    out.u(1)
    out.u(1)
    for side in (1, 2, 0, 3):
        out.ue(side)
    out.u(0)
    found = sequence_parameters(out.nal(244, 0, 40))
    assert (found.width, found.height, found.frames_only) == (637, 474, False)


def test_usability_information_is_read_to_its_end():
    out = simple(vui=True)
    out.u(1)
    out.u(255, 8)
    out.u(0, 32)
    out.u(1)
    out.u(0)
    out.u(1)
    out.u(10, 4)
    out.u(1)
    out.u(0, 24)
    out.u(1)
    out.ue(1)
    out.ue(1)
    out.u(1)
    out.u(1, 32)
    out.u(50, 32)
    out.u(1)
    for _ in range(2):
        out.u(1)
        out.ue(1)
        out.u(0, 8)
        for _ in range(2):
            out.ue(70_000)
            out.ue(9)
            out.u(0)
        out.u(0, 20)
    out.u(0)
    out.u(1)
    out.u(1)
    out.u(1)
    for number in (2, 1, 15, 16):
        out.ue(number)
    out.ue(0)
    out.ue(1)
    found = sequence_parameters(out.nal(77, 0, 31))
    assert found.framerate == 25.0
    assert found.bitstream_restriction
    assert (found.reorder_frames, found.decoded_picture_buffering) == (0, 1)


def test_usability_information_may_say_nothing():
    out = simple(vui=True)
    for _ in range(9):
        out.u(0)
    found = sequence_parameters(out.nal(77, 0, 31))
    assert (found.framerate, found.bitstream_restriction) == (None, False)


@pytest.mark.parametrize(
    "nal", [b"", b"\x67", b"\x68\x42\x00\x1f\xff", b"\x67\x42\x00\x1f", b"\x67\x42\x00\x1f" + bytes(20)]
)
def test_what_is_no_parameter_set_is_refused(nal):
    with pytest.raises(ValueError, match=r"parameter set"):
        sequence_parameters(nal)


def test_a_count_beyond_reason_is_refused():
    out = Writer()
    out.ue(0)
    out.ue(0)
    out.ue(1)
    out.u(0)
    out.se(0)
    out.se(0)
    out.ue(100_000)
    with pytest.raises(ValueError, match="a count of 100000"):
        sequence_parameters(out.nal(66, 0, 30))


@given(tail=st.binary(max_size=80), profile=st.sampled_from([66, 77, 100, 244]))
def test_any_bytes_give_parameters_or_a_refusal(tail, profile):
    nal = bytes([0x67, profile, 0, 31]) + tail
    found = refusal = None
    try:
        found = sequence_parameters(nal)
    except ValueError as error:
        refusal = str(error)
    assert (found is not None and found.level == "3.1") or "parameter set" in str(refusal)


@pytest.mark.needs_av
@pytest.mark.parametrize("profile, name", [("baseline", "Constrained Baseline"), ("main", "Main"), ("high", "High")])
def test_our_own_encoder_s_set_is_read_as_it_was_made(profile, name):
    import numpy as np
    from av.video.frame import VideoFrame

    from pinthesky.device.cameras import annex_b
    from pinthesky.device.cameras.h264_encoder import H264Encoder
    from pinthesky.model.settings import CameraSettings

    settings = CameraSettings(encoding_profile=profile, encoding_level="3.1", encoding_bitrate=3_000_000)
    encoder = H264Encoder(settings, width=1280, height=720, framerate=20)
    grey = np.full((1080, 1280), 128, np.uint8)
    [packet] = encoder.encode(VideoFrame.from_ndarray(grey, format="yuv420p"), 0)
    [nal] = [nal for nal in annex_b.split(packet.data) if nal[0] & 31 == 7]
    found = sequence_parameters(nal)
    assert (found.profile, found.level) == (name, "3.1")
    assert (found.width, found.height, found.reorder_frames) == (1280, 720, 0)
    assert found.bitstream_restriction
