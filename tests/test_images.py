"""The pictures that the documents show are the ones that their sources give."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

IMAGES = Path(__file__).resolve().parents[1] / "images"
SOURCES = sorted(IMAGES.glob("*.toml"))


def test_there_are_sources():
    assert {source.stem for source in SOURCES} >= {"architecture", "motion-event", "settings-change"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_picture_is_what_its_source_gives(source: Path):
    draw = runpy.run_path(str(IMAGES / "draw.py"))["draw"]
    assert source.with_suffix(".svg").read_text(encoding="utf-8") == draw(source), "run `make images`"


def test_every_picture_has_a_source():
    assert {picture.stem for picture in IMAGES.glob("*.svg")} == {source.stem for source in SOURCES}
