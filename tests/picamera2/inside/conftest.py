"""Puts the virtual camera in place before anything imports picamera2."""

from __future__ import annotations

import os

import pytest

from tests.picamera2 import virtual_camera

PLATFORM = os.environ["PINTHESKY_VIRTUAL_CAMERA"]
virtual_camera.install(PLATFORM)


def pytest_collection_modifyitems(items):
    """The library calls setDaemon, which Python has deprecated."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"))


@pytest.fixture(autouse=True)
def stage():
    """The virtual camera's stage, as at first."""
    virtual_camera.stage.reset()
    yield virtual_camera.stage
    virtual_camera.stage.reset()
