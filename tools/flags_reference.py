"""Writes `docs/reference/flags.md` from `pinthesky/device/flags.py`: `python -m tools.flags_reference`.

With `--check` nothing is written, and the exit status is 1 if the page is not what it should be.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from pinthesky.device import flags
from pinthesky.model import settings
from tools.reference_page import cell, write_or_check

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "flags.md"

HEAD = f"""# Flags

Made from `pinthesky/device/flags.py` by `python -m tools.flags_reference`; a test holds the two equal.

- A flag wins over its environment variable. The shadow wins over both for the [settings](settings.md) that it desires.
- A wrong value ends the program with exit code 2 and one line that names the flag, the value and the bound.
- Variables that switch something take `true`, `yes`, `on`, `1` and `false`, `no`, `off`, `0` or nothing.
- `{flags.REGION_VARIABLE}` is the region of whatever has no flag of its own.
- With `--camera auto` on one of the Pi's own cameras a [preset](presets.md) takes the place of some defaults.
- Flags are not abbreviated. `--flag value` and `--flag=value` are the same.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, _settings(), _switches()]
    for title, actions in _others():
        parts.append(_table(title, [_other(action) for action in actions]))
    return "\n".join(parts)


def _settings() -> str:
    rows = []
    for flag, (section, name, text) in flags.SETTING_FLAGS.items():
        field = next(field for field in msgspec.structs.fields(settings.SECTIONS[section]) if field.name == name)
        variable = f"`{flags.REGION_VARIABLE}`" if flag in flags.REGION_FLAGS else ""
        bound = settings.bound_of(field.type)
        bound = f"must match `{bound[11:].replace(' or null', '')}`" if bound.startswith("must match ") else bound
        rows.append((flag, variable, _value(field.default), f"{text}; {bound} ([`{section}`](settings.md#{section}))"))
    return _table("Settings", rows)


def _switches() -> str:
    rows = []
    for flag, (section, name, meaning, variable, text) in flags.SWITCHES.items():
        sets = f"sets `{name}` of [`{section}`](settings.md#{section}) to {str(meaning).lower()}"
        default = getattr(settings.SECTIONS[section](), name)
        means = f"`{variable}` (the value of `{name}`)"
        rows.append((flag, means, "" if default != meaning else "given", f"{text}; {sets}"))
    return _table("Switches", rows)


def _others() -> list[tuple[str, list[argparse.Action]]]:
    groups = flags.parser()._action_groups  # noqa: SLF001 - argparse tells its flags in no other way
    known = {*flags.SETTING_FLAGS, *flags.SWITCHES}
    found = []
    for group in groups:
        actions = [
            action
            for action in group._group_actions  # noqa: SLF001 - as above
            if action.option_strings and action.option_strings[-1] not in known
        ]
        title = {"options": "Program", "optional arguments": "Program"}.get(group.title or "", group.title or "")
        if actions:
            found.append((title.capitalize(), actions))
    return found


def _other(action: argparse.Action) -> tuple[str, str, str, str]:
    text, _, default = (action.help or "").partition(" (default: ")
    return action.option_strings[-1], "", f"`{default[:-1]}`" if default else "", text


def _table(title: str, rows: list[tuple[str, str, str, str]]) -> str:
    lines = [f"## {title}", "", "| flag | environment | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{flag}` | {variable} | {default} | {cell(text)} |" for flag, variable, default, text in rows]
    return "\n".join([*lines, ""])


def _value(default: object) -> str:
    return "" if default is None else f"`{default}`"


def main() -> int:
    """Write the page, or check it."""
    return write_or_check(PAGE, page())


if __name__ == "__main__":
    sys.exit(main())
