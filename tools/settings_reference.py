"""Writes `docs/reference/settings.md` from `pinthesky/model/settings.py`: `python -m tools.settings_reference`.

With `--check` nothing is written, and the exit status is 1 if the page is not what it should be.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from pinthesky.device import allowed_destinations
from pinthesky.device.flags import SETTING_FLAGS, SWITCHES
from pinthesky.model import settings
from pinthesky.model.shadow import DESIRED_MAX, STATE_MAX
from tools.reference_page import cell, write_or_check

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "settings.md"

HEAD = f"""# Settings

Made from `pinthesky/model/settings.py` by `python -m tools.settings_reference`; a test holds the two equal.

These are the sections of the named shadow `pinthesky` and their fields. Flags take their bounds from the same place.
What is in force is the installation (flags and environment), overlaid section by section with what the shadow desires.

- A section is valid as a whole or rejected as a whole; a rejected section stays as it was. `sync` in the reported state
  says which sections were taken over and why the others were not: `{{"fingerprint": …, "applied": ["camera"],
  "rejected": {{"health.interval": "must be …"}}}}`.
- A field or section that is no longer desired falls back to the installation.
- What the camera refuses is rejected too. Settings that it refuses only as it is opened, since it was closed when they
  came or another one took its place, fall back to the installation and are reported as rejected; `privacy_masks` keep
  it closed instead.
- Values may be strings (`"20"`, `"true"`, `"null"`), as older consoles send them.
- Desired takes at most {DESIRED_MAX} bytes, so that desired and reported stay within the {STATE_MAX} of a shadow.
- Fields marked *destination* take only values that the installation allows: what the flags say, and what
  `--allow-destination KIND=VALUE` adds ({", ".join(allowed_destinations.KINDS)}).
- `cloud_connection` and `sync` are reported only and never taken from a shadow.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(name) for name in settings.SECTIONS)])


def _section(name: str) -> str:
    kind = settings.SECTIONS[name]
    notes = _field_notes(kind)
    rows = [f"## `{name}`", "", "| field | default | value | flag |", "|---|---|---|---|"]
    if _summary(kind):
        rows[1:1] = ["", _summary(kind)]
    for field in msgspec.structs.fields(kind):
        destination = "*destination*" if field.name in allowed_destinations.FIELDS.get(name, {}) else ""
        words = " ".join(filter(None, [notes.get(field.name, ""), f"{_bound(field)}.", destination]))
        rows.append(f"| `{field.name}` | {_default(field)} | {cell(words)} | {_flag(name, field.name)} |")
    return "\n".join([*rows, ""])


def _summary(kind: type) -> str:
    text = inspect.cleandoc(kind.__doc__ or "").replace("\n\n", "\n").replace("\n", " ")
    first, _, rest = text.partition(". ")
    # "Section `camera`." stands in the heading already; "Section `x`: what it is." keeps what it is.
    if first.startswith("Section `"):
        tail = first.partition(":")[2].strip()
        text = " ".join(filter(None, [f"{tail[:1].upper()}{tail[1:]}." if tail else "", rest]))
    return text.replace("..", ".").strip()


def _field_notes(kind: type) -> dict[str, str]:
    """The docstrings under the fields, which exist in the source alone."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    notes = {}
    for before, after in itertools.pairwise(ast.iter_child_nodes(definition)):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(after, ast.Expr):
            notes[before.target.id] = inspect.cleandoc(ast.literal_eval(after.value)).replace("\n", " ")
    return notes


def _bound(field: msgspec.structs.FieldInfo) -> str:
    words = re.sub(r"(?<=match )\S+", r"`\g<0>`", settings.bound_of(field.type))
    return words[:1].upper() + words[1:]


def _default(field: msgspec.structs.FieldInfo) -> str:
    value: Any = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return f"`{msgspec.json.encode(value).decode()}`"


def _flag(section: str, field: str) -> str:
    flags = [flag for flag, (at, name, _) in SETTING_FLAGS.items() if (at, name) == (section, field)]
    flags += [flag for flag, (at, name, *_) in SWITCHES.items() if (at, name) == (section, field)]
    return ", ".join(f"`{flag}`" for flag in flags)


def main() -> int:
    """Write the page, or check it."""
    return write_or_check(PAGE, page())


if __name__ == "__main__":
    sys.exit(main())
