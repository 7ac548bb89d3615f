"""Events as AWS's own documentation writes them, from tests/aws/recorded_events: one for each of a handler's callers.

What differs from account to account stands in them as `{{name}}`.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.house.source import ROOT

FOLDER = ROOT / "tests" / "aws" / "recorded_events"


def recorded(name: str, **given: str) -> dict[str, Any]:
    """The event of that name, with what is `given` in the places of that name."""
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    for place, value in given.items():
        text = text.replace(f"{{{{{place}}}}}", value)
    event: dict[str, Any] = json.loads(text)
    return event
