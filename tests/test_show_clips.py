"""The table of what lies in a hub's media folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pinthesky.hub.media_record import Address, MediaRecord, sidecar_name
from tools import show_clips

EVENT = "5bc7b8fc4becd8f8c50342843a3cc457"
TOLD = {"trigger": "motion", "duration": "14.040", "event_id": EVENT, "part": "1"}


def store(media: Path, name: str, *, at_s: float = 1_700_000_000.0, **told: str) -> MediaRecord:
    """Put an object there, as the hub does."""
    record = MediaRecord(
        address=Address("motion_videos", "garden", name),
        file=f"garden/2023-11-14/{name}",
        size=300_400,
        sha256=hashlib.sha256(b"video").hexdigest(),
        md5="0" * 32,
        recorded_at_s=at_s,
        stored_at_s=at_s,
        metadata=told or TOLD,
    )
    file = media / record.file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"video")
    file.with_name(sidecar_name(name)).write_bytes(record.encode())
    return record


def test_clips_are_listed_in_the_order_of_time_and_pictures_are_not(tmp_path: Path, capsys: Any):
    store(tmp_path, "later.mp4", at_s=1_700_000_200.0)
    store(tmp_path, "earlier.mp4")
    store(tmp_path, "picture.jpg")
    assert show_clips.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "2 clips in" in said
    assert said.index("earlier.mp4") < said.index("later.mp4")
    assert "garden  14.0     300  motion   5bc7b8fc  1" in said
    assert f"xdg-open {tmp_path}/garden/2023-11-14/later.mp4" in said
    assert "picture.jpg" not in said


def test_what_is_half_there_is_left_out(tmp_path: Path):
    store(tmp_path, "whole.mp4")
    (tmp_path / store(tmp_path, "gone.mp4").file).unlink()
    store(tmp_path, "torn.mp4")
    (tmp_path / "garden/2023-11-14" / sidecar_name("torn.mp4")).write_bytes(b"{")
    assert [record.address.name for record in show_clips.stored_clips(tmp_path)] == ["whole.mp4"]


@pytest.mark.parametrize("duration", ["", "soon", "nan", "-1", "1e99"])
def test_what_a_camera_says_of_a_clip_may_be_anything(tmp_path: Path, duration: str):
    record = store(tmp_path, "clip.mp4", duration=duration, trigger="\x1b[2Jmotion")
    assert show_clips.row(record)[2] == ""
    assert show_clips.facts(record) == "0.3 MB, \\x1b[2Jmotion"
    assert "\x1b" not in show_clips.table([show_clips.row(record)])


def test_of_many_the_newest_are_shown(tmp_path: Path, capsys: Any):
    for number in range(show_clips.SHOWN_MAX + 2):
        store(tmp_path, f"clip-{number:02}.mp4", at_s=1_700_000_000.0 + number)
    show_clips.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert f"{show_clips.SHOWN_MAX + 2} clips in {tmp_path}, the newest {show_clips.SHOWN_MAX} of them" in said
    assert "clip-01.mp4" not in said
    assert "clip-02.mp4" in said


def test_an_empty_folder_is_no_error_and_none_at_all_is_one(tmp_path: Path, capsys: Any):
    assert show_clips.main([str(tmp_path)]) == 0
    assert "0 clips in" in capsys.readouterr().out
    assert show_clips.main([str(tmp_path / "missing")]) == 2
    assert "`make run` makes it" in capsys.readouterr().err
    assert show_clips.main(["one", "two"]) == 2
