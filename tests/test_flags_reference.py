"""The page of flags is the one that the flags make."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinthesky.device import flags
from tools import flags_reference


def test_the_page_says_what_the_flags_are():
    made = flags_reference.page()
    assert flags_reference.PAGE.read_text(encoding="utf-8") == made, "run python -m tools.flags_reference"


def test_every_flag_has_its_line():
    made = flags_reference.page()
    known = {text for action in flags.parser()._actions for text in action.option_strings if text.startswith("--")}
    assert [flag for flag in sorted(known) if f"| `{flag}` |" not in made] == []


def test_the_page_can_be_written_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "flags.md"
    monkeypatch.setattr(flags_reference, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["flags_reference.py"])
    assert flags_reference.main() == 0
    monkeypatch.setattr("sys.argv", ["flags_reference.py", "--check"])
    assert flags_reference.main() == 0
    page.write_text("something else", encoding="utf-8")
    assert flags_reference.main() == 1
