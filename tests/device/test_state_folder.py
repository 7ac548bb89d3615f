"""The folder of what survives a restart belongs to one daemon."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pinthesky.device.state_folder import StateFolder
from pinthesky.errors import InvalidInput
from pinthesky.machine import durable_files


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path):
    folder = StateFolder(tmp_path / "var" / "state")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()


def test_a_second_daemon_is_told_that_the_folder_is_in_use(tmp_path: Path):
    first = StateFolder(tmp_path / "state")
    with pytest.raises(InvalidInput, match=r"--state-dir: .* is in use by another daemon"):
        StateFolder(tmp_path / "state")
    first.close()


def test_after_the_first_has_closed_it_the_folder_can_be_had(tmp_path: Path):
    first = StateFolder(tmp_path / "state")
    first.close()
    first.close()
    second = StateFolder(tmp_path / "state")
    assert (second.path / "lock").exists()
    second.close()


def test_a_file_in_its_place_is_told(tmp_path: Path):
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(InvalidInput, match=r"--state-dir: cannot use .*state"):
        StateFolder(tmp_path / "state")


def refuse_folders(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(durable_files, "make_folder", refuse)


def test_a_folder_that_may_not_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    refuse_folders(monkeypatch, errno.EACCES)
    with pytest.raises(InvalidInput, match=r"--state-dir: cannot use .* \(Permission denied\)"):
        StateFolder(tmp_path / "state")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_refuses_is_done_without_told_once_and_asked_again(
    number: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    with pytest.MonkeyPatch.context() as patch:
        refuse_folders(patch, number)
        folder = StateFolder(tmp_path / "state")
        assert [folder.look(), folder.look()] == [False, False]
    assert [folder.look(), folder.look()] == [True, False], "it is ours from then on"
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"Cannot use {folder.path} ({os.strerror(number)}): a restart would find nothing remembered",
        f"{folder.path} can be used",
    ]
    folder.close()
