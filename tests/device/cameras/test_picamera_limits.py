"""What the legacy encoder cannot do is said before the firmware says it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from pinthesky.device.cameras import picamera_limits
from pinthesky.errors import InvalidInput
from pinthesky.model.settings import CameraSettings


@pytest.mark.parametrize(
    "settings",
    [
        CameraSettings(),
        CameraSettings(resolution="1920x1080", framerate=30),
        CameraSettings(resolution="1280x720", framerate=60, encoding_level="4.2"),
        CameraSettings(encoding_bitrate=25_000_000),
        CameraSettings(encoding_bitrate=20_000_000, encoding_profile="main"),
    ],
)
def test_what_the_encoder_can_do_passes(settings: CameraSettings):
    picamera_limits.check(settings)
    assert settings.encoding_level in picamera_limits.LEVELS


@pytest.mark.parametrize(
    "settings, field, reason",
    [
        (CameraSettings(resolution="1922x1080"), "camera.resolution", "at most 1920x1080, got 1922x1080"),
        (CameraSettings(resolution="1280x1082"), "camera.resolution", "at most 1920x1080"),
        (CameraSettings(encoding_level="5.1"), "camera.encoding_level", "up to level 4.2, got 5.1"),
        (CameraSettings(encoding_level="1.3"), "camera.encoding_level", r"are 1200 and 24000: it takes level 3$"),
        (CameraSettings(framerate=90, encoding_level="3"), "camera.encoding_level", "it takes level 3.1"),
        (CameraSettings(resolution="1920x1080", framerate=60), "camera.encoding_level", "it takes level 4.2"),
        (CameraSettings(resolution="1920x1080", framerate=90), "camera.encoding_level", "no level of this encoder"),
        (CameraSettings(encoding_profile="main", encoding_bitrate=20_000_001), "camera.encoding_bitrate", "20000000"),
        (CameraSettings(encoding_level="3"), "camera.encoding_bitrate", "at most 12500000 at level 3 and profile high"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_bound(settings: CameraSettings, field: str, reason: str):
    with pytest.raises(InvalidInput, match=reason) as refusal:
        picamera_limits.check(settings)
    assert refusal.value.field == field


def test_motion_vectors_have_a_column_more_than_macroblocks():
    assert picamera_limits.vector_shape(640, 480) == (30, 41)
    assert picamera_limits.vector_shape(1920, 1080) == (68, 121)
    assert picamera_limits.vector_shape(100, 50) == (4, 8)


def test_high_profile_may_take_a_quarter_more():
    assert all(
        Fraction(level.bitrate_max("high"), level.bitrate_max("main")) == Fraction(5, 4)
        for level in picamera_limits.LEVELS.values()
    )
