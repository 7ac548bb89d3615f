"""Puts the virtual camera in place in a program that is started as a process: this folder is on its PYTHONPATH."""

import os
from pathlib import Path

from tests.picamera2 import virtual_camera

stage = virtual_camera.install(os.environ["PINTHESKY_VIRTUAL_CAMERA"])
stage.script = os.environ["PINTHESKY_VIRTUAL_SCRIPT"]
stage.stall_file = Path(os.environ["PINTHESKY_VIRTUAL_STALL"])
