"""Log records as the daemon makes them, and a root logger that is put back as it was."""

from __future__ import annotations

import logging

import pytest

from pinthesky.machine import log_lines

T0 = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


def a_record(message: object, *args: object, level: int = logging.INFO, error: BaseException | None = None):
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("pinthesky.device.camera", level, __file__, 1, message, args, info)


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    vendors = {name: logging.getLogger(name).level for name in log_lines._VENDORS}
    yield root
    for handler in [handler for handler in root.handlers if handler not in before]:
        root.removeHandler(handler)
    root.setLevel(level)
    for name, vendor_level in vendors.items():
        logging.getLogger(name).setLevel(vendor_level)
