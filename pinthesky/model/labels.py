"""What was recognised in a clip: the surest finding of each name, few of them, in words that every store takes."""

from __future__ import annotations

import math
import re

LABELS_MAX = 8
"""Names of one clip."""
NAME_MAX = 32
_STEP = 0.05
"""A finding that is surer by less is no news: it would be written down again and again while somebody walks by."""


class LabelTally:
    """Highest confidence of each name. When there are too many names, the least sure goes."""

    def __init__(self) -> None:
        self._found: dict[str, float] = {}

    @property
    def labels(self) -> dict[str, float]:
        """Name to confidence (0 to 1, two decimals), the surest first."""
        return dict(sorted(self._found.items(), key=lambda item: (-item[1], item[0])))

    def note(self, name: str, confidence: float) -> bool:
        """Take note of a finding; whether it is news."""
        name = re.sub(r"[^A-Za-z0-9 _.-]", "_", name).strip()[:NAME_MAX]
        if not name or not math.isfinite(confidence):
            return False
        confidence = round(min(1.0, max(0.0, confidence)), 2)
        if name in self._found:
            if confidence < self._found[name] + _STEP:
                return False
        elif len(self._found) >= LABELS_MAX:
            least = min(self._found, key=lambda known: self._found[known])
            if confidence < self._found[least] + _STEP:
                return False
            del self._found[least]
        self._found[name] = confidence
        return True
