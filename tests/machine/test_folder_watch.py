"""The watch over files by their folders."""

from __future__ import annotations

import time
from pathlib import Path

import inotify_simple

from pinthesky.machine.folder_watch import FolderWatch

PATIENCE_S = 10.0


def test_an_overflowing_queue_counts_as_a_change_of_everything(tmp_path, monkeypatch):
    files = {tmp_path / "a", tmp_path / "b"}
    watch = FolderWatch(files, 60.0)
    watch.wait(0.0)
    overflow = inotify_simple.Event(-1, inotify_simple.flags.Q_OVERFLOW, 0, "")
    (tmp_path / "unrelated").touch()
    monkeypatch.setattr(watch._inotify, "read", lambda timeout: [overflow])
    assert watch.wait(1.0) == files
    watch.close()
    watch.close()


def test_other_files_of_the_folder_are_no_change(tmp_path):
    watch = FolderWatch({tmp_path / "a"}, 60.0)
    watch.wait(0.0)
    (tmp_path / "other").touch()
    assert watch.wait(1.0) == set()
    (tmp_path / "a").touch()
    assert watch.wait(1.0) == {tmp_path / "a"}
    watch.close()


def test_a_folder_that_was_replaced_is_watched_after_the_next_look(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    watch = FolderWatch({folder / "a"}, 0.02)
    watch.wait(0.0)
    folder.rename(tmp_path / "gone")
    folder.mkdir()
    deadline = time.monotonic() + PATIENCE_S
    seen: set[Path] = set()
    while not seen and time.monotonic() < deadline:
        (folder / "a").write_bytes(b"x")
        seen = watch.wait(0.05)
    assert seen == {folder / "a"}
    watch.close()


def test_anything_in_a_whole_folder_is_a_change_of_the_folder(tmp_path):
    watch = FolderWatch(set(), 60.0, folders={tmp_path})
    watch.wait(0.0)
    (tmp_path / "any").touch()
    assert watch.wait(1.0) == {tmp_path}
    watch.close()


def test_a_file_that_is_still_written_is_no_change_unless_that_is_wanted(tmp_path):
    file = tmp_path / "a"
    file.touch()
    whole, every = FolderWatch({file}, 60.0), FolderWatch({file}, 60.0, while_written=True)
    whole.wait(0.0)
    every.wait(0.0)
    with file.open("wb", buffering=0) as writer:
        writer.write(b"half")
        assert every.wait(1.0) == {file}
        assert whole.wait(0.0) == set()
    assert whole.wait(1.0) == {file}
    whole.close()
    every.close()


def test_waking_more_often_than_the_pipe_holds_does_not_block(tmp_path):
    watch = FolderWatch({tmp_path / "a"}, 60.0)
    watch.wait(0.0)
    for _ in range(70_000):
        watch.wake()
    began = time.monotonic()
    assert watch.wait(30.0) == set()
    assert time.monotonic() - began < PATIENCE_S
    watch.close()
