"""What an older version left behind is counted and left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinthesky.device import older_recordings as module
from pinthesky.device.older_recordings import older_recordings


def test_finished_clips_and_stills_are_counted_and_nothing_else(tmp_path: Path):
    for name in ("1690000000.motion.h264", "1690000009.mp4", "front-door.jpg", "before.h264", "notes.txt", ".x.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "front-door.jpg")
    assert older_recordings(tmp_path) == 3
    assert len(list(tmp_path.iterdir())) == 8


def test_a_folder_that_is_not_there_holds_none(tmp_path: Path):
    assert older_recordings(tmp_path / "absent") == 0


def test_a_folder_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LOOKED_AT_MAX", 5)
    for number in range(9):
        (tmp_path / f"{number}.motion.h264").touch()
    assert older_recordings(tmp_path) == 5
