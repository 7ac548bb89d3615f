"""What an older version left in folders of its own, which this one does not use."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

logger = logging.getLogger(__name__)

LOOKED_AT_MAX = 10_000
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}\.(?:motion\.h264|mp4|jpg)")


def older_recordings(folder: Path) -> int:
    """How many clips and stills lie in `folder`, among its first LOOKED_AT_MAX entries; 0 where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sum(
                1
                for entry in itertools.islice(entries, LOOKED_AT_MAX)
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            )
    except OSError:
        return 0


def tell_of_older_recordings(folders: Iterable[Path]) -> None:
    """Log what lies in `folders`, for somebody to take care of."""
    for folder in folders:
        count = older_recordings(folder)
        if count:
            logger.warning("%s holds %d recordings of an older version: docs/reference/uploads.md", folder, count)
