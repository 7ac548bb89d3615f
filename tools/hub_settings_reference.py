"""Writes `docs/reference/hub-settings.md` from `pinthesky/hub/settings.py`: `python -m tools.hub_settings_reference`.

With `--check` nothing is written, and the exit status is 1 if the page is not what it should be.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pinthesky.hub import settings
from tools.reference_page import cell, write_or_check

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "hub-settings.md"

HEAD = """# Settings of the hub

Made from `pinthesky/hub/settings.py` by `python -m tools.hub_settings_reference`; a test holds the two equal.

They stand in `hub.toml` in the hub's folder. The first start writes the file with every setting in it, each behind a
`#` with its default: take the `#` away to change one, then start the hub again. A hub that has no file has the
defaults.

- A wrong value, or a name that does not exist, ends the start with exit code 2 and one line that names the file, the
  key and the bound.
- Files are relative to the folder of `hub.toml`.
- Ports below 1024 need a right: the systemd unit in `service/systemd` has it.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_table(table) for table in settings.described())])


def _table(table: settings.Table) -> str:
    rows = [f"## `[{table.name}]`", "", table.summary, "", "| key | default | meaning |", "|---|---|---|"]
    rows += [
        f"| `{key.name}` | `{key.default}` | {cell(' '.join(filter(None, [key.description, key.bound])))} |"
        for key in table.keys
    ]
    return "\n".join([*rows, ""])


def main() -> int:
    """Write the page, or check it."""
    return write_or_check(PAGE, page())


if __name__ == "__main__":
    sys.exit(main())
