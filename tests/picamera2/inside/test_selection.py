"""How `--camera` comes to the Pi's own cameras."""

from __future__ import annotations

import pytest
from picamera2 import Picamera2

from pinthesky.device.cameras import picamera2, selection, v4l2
from pinthesky.device.cameras.libav import LibavCamera
from pinthesky.errors import Unavailable

USB = [v4l2.CaptureDevice("/dev/video2", "A camera")]


@pytest.mark.parametrize("address, shown", [("picamera2", "Picamera2Camera(0)"), ("picamera2:1", "Picamera2Camera(1)")])
def test_the_address_names_the_camera(address, shown):
    assert repr(selection.camera_for(address)) == shown


def test_auto_takes_the_pi_s_own_camera_before_one_on_usb():
    assert repr(selection.camera_for("auto", devices=lambda: USB)) == "Picamera2Camera(0)"


def test_auto_takes_the_camera_on_usb_where_the_pi_has_none(monkeypatch):
    monkeypatch.setattr(Picamera2, "global_camera_info", staticmethod(list))
    assert isinstance(selection.camera_for("auto", devices=lambda: USB), LibavCamera)


def test_auto_goes_on_to_usb_when_the_library_fails(monkeypatch, caplog):
    def fail():
        raise RuntimeError("no manager")

    monkeypatch.setattr(Picamera2, "global_camera_info", staticmethod(fail))
    with pytest.raises(Unavailable):
        picamera2.pi_cameras()
    assert isinstance(selection.camera_for("auto", devices=lambda: USB), LibavCamera)
    assert "no manager" in caplog.text
