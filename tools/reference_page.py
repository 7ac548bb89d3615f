"""What the programs that write pages of `docs/reference/` share."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(page: Path, text: str) -> int:
    """Write the page; with `--check` on the command line write nothing, and return 1 if it is not what it should be."""
    if "--check" in sys.argv[1:]:
        return int(page.read_text(encoding="utf-8") != text)
    page.write_text(text, encoding="utf-8")
    return 0


def cell(text: str) -> str:
    """Return the text as it may stand in a table."""
    return text.replace("|", r"\|")
