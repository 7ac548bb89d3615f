"""The tests in `inside` need the real picamera2: `test_in_rootfs.py` runs them in a root file system that has it."""

from __future__ import annotations

import os

collect_ignore = [] if "PINTHESKY_VIRTUAL_CAMERA" in os.environ else ["inside"]
