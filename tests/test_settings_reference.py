"""The page on settings says what the program does."""

from __future__ import annotations

from pinthesky.model.settings import SECTIONS
from tools import settings_reference


def test_the_page_on_settings_is_made_from_the_settings():
    made = settings_reference.page()
    assert settings_reference.PAGE.read_text(encoding="utf-8") == made, "run python -m tools.settings_reference"


def test_the_page_holds_every_field():
    made = settings_reference.page()
    missing = [field for kind in SECTIONS.values() for field in kind.__struct_fields__ if f"| `{field}` |" not in made]
    assert missing == []


def test_the_check_tells_a_page_that_is_not_up_to_date(tmp_path, monkeypatch):
    page = tmp_path / "settings.md"
    monkeypatch.setattr(settings_reference, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["settings_reference.py"])
    assert settings_reference.main() == 0
    monkeypatch.setattr("sys.argv", ["settings_reference.py", "--check"])
    assert settings_reference.main() == 0
    page.write_text("old", encoding="utf-8")
    assert settings_reference.main() == 1
