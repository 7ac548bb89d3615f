"""Cameras that take no picture settings say so, all in the same way."""

from __future__ import annotations

import pytest

from pinthesky.device.cameras.fixed_picture import refuse_picture_settings
from pinthesky.device.cameras.scripted import ScriptedCamera
from pinthesky.device.ports import Camera, CameraDescription
from pinthesky.errors import InvalidInput
from pinthesky.model.settings import CameraSettings, PictureSettings

NIGHT = PictureSettings(night=True)


def test_a_camera_without_controls_takes_the_default_picture_only():
    refuse_picture_settings(PictureSettings(), "a file")
    with pytest.raises(InvalidInput, match=r"^picture\.night: a file takes no picture settings$"):
        refuse_picture_settings(PictureSettings(night=False), "a file")


def assert_refused(camera: Camera, name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^picture\.night: {name} takes no picture settings$"):
        camera.open(CameraSettings(), [], picture=NIGHT)
    assert camera.close(1.0)


def test_the_scripted_camera_refuses_them():
    camera = ScriptedCamera(CameraDescription("scripted", 640, 480, 20.0, 0, (320, 240), can_mask=False))
    assert_refused(camera, "the scripted camera")
    assert camera.opened == []


@pytest.mark.needs_av
def test_the_synthetic_camera_refuses_them():
    from pinthesky.device.cameras.synthetic import SyntheticCamera

    assert_refused(SyntheticCamera(), "the synthetic camera")


@pytest.mark.needs_av
@pytest.mark.parametrize("address", ["/dev/video0", "rtsp://host/path"])
def test_what_libav_plays_refuses_them_before_it_is_opened(address: str):
    from pinthesky.device.cameras.libav import LibavCamera

    assert_refused(LibavCamera(address), "a USB camera, stream or file")
