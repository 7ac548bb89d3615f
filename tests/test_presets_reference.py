"""The page on presets says what the program does."""

from __future__ import annotations

from pinthesky.model.presets import BOARDS, SENSORS
from tools import presets_reference


def test_the_page_on_presets_is_made_from_the_presets():
    made = presets_reference.page()
    assert presets_reference.PAGE.read_text(encoding="utf-8") == made, "run python -m tools.presets_reference"


def test_the_page_gives_the_reason_for_every_board_and_sensor():
    made = presets_reference.page()
    assert all(f"| {facts.encoder} | {facts.reason} |" in made for facts in BOARDS.values())
    assert all(made.count(f"| {sensor.upper()} |") == len(BOARDS) + 1 for sensor in SENSORS)


def test_the_check_tells_a_page_that_is_not_up_to_date(tmp_path, monkeypatch):
    page = tmp_path / "presets.md"
    monkeypatch.setattr(presets_reference, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["presets_reference.py"])
    assert presets_reference.main() == 0
    monkeypatch.setattr("sys.argv", ["presets_reference.py", "--check"])
    assert presets_reference.main() == 0
    page.write_text("old", encoding="utf-8")
    assert presets_reference.main() == 1
