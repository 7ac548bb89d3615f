"""The table that `make run` ends with."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from pinthesky.model.recording import Item, Moment

TOOL = runpy.run_path(str(Path(__file__).resolve().parents[1] / "tools" / "show_clips.py"))
EVENT = "5bc7b8fc4becd8f8c50342843a3cc457"


def store(spool: Path, name: str, *, wall_s: float | None) -> None:
    ready = spool / "ready"
    ready.mkdir(parents=True, exist_ok=True)
    start = Moment(boot_id="boot", monotonic_s=5.0, wall_s=wall_s)
    item = Item(
        kind="clip", event_id=EVENT, start=start, suffix=".mp4", size=300_400, sha256="0" * 64, duration_s=14.04
    )
    (ready / name).write_bytes(b"video")
    (ready / f"{name}.json").write_bytes(item.encode())


def test_clips_are_listed_in_the_order_of_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store(tmp_path, "later.mp4", wall_s=2000.0)
    store(tmp_path, "earlier.mp4", wall_s=1000.0)
    assert TOOL["main"]([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "2 clips in" in said
    assert said.index("earlier.mp4") < said.index("later.mp4")
    assert "14.0" in said
    assert EVENT[:8] in said


def test_a_clip_from_before_the_clock_was_right_is_listed_without_a_time(tmp_path: Path):
    store(tmp_path, "early.mp4", wall_s=None)
    ((media, item),) = TOOL["stored_items"](tmp_path)
    assert TOOL["row"](media, item)[0] == "?"


def test_what_is_half_there_is_left_out(tmp_path: Path):
    store(tmp_path, "whole.mp4", wall_s=1000.0)
    (tmp_path / "ready" / "gone.mp4.json").write_bytes((tmp_path / "ready" / "whole.mp4.json").read_bytes())
    (tmp_path / "ready" / "torn.mp4").write_bytes(b"video")
    (tmp_path / "ready" / "torn.mp4.json").write_bytes(b"{")
    assert [media.name for media, _ in TOOL["stored_items"](tmp_path)] == ["whole.mp4"]


def test_an_empty_spool_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert TOOL["main"]([str(tmp_path)]) == 0
    assert "0 clips in" in capsys.readouterr().out
