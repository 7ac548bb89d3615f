"""The folder of what survives a restart belongs to one daemon."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pinthesky.device import durable_files
from pinthesky.device.state_folder import StateFolder
from pinthesky.errors import InvalidInput, Unavailable


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


@pytest.mark.parametrize(
    "number, expected", [(errno.ENOSPC, Unavailable), (errno.EIO, Unavailable), (errno.EACCES, InvalidInput)]
)
def test_a_disk_that_refuses_may_pass_and_a_permission_does_not(
    number: int, expected: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(durable_files, "make_folder", refuse)
    with pytest.raises(expected, match="cannot use"):
        StateFolder(tmp_path / "state")
