"""Which Raspberry Pi this is."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

MODEL_FILE = Path("/proc/device-tree/model")
_LONGEST = 200


def pi_model(path: Path = MODEL_FILE) -> Optional[str]:
    """The board's name ("Raspberry Pi 4 Model B Rev 1.4"); None on a machine that has no device tree."""
    try:
        # A device tree's strings end with a zero byte.
        raw = path.read_bytes()[:_LONGEST].rstrip(b"\0")
    except OSError:
        return None
    text = raw.decode("utf-8", "replace").strip()
    return text if text.isprintable() and text else None
