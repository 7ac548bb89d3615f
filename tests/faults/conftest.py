"""Fixtures for tests of what the whole daemon does when something around it fails."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import client_of  # noqa: F401 - fixtures are found by being here
from tests.support.aws_fixtures import (  # noqa: F401 - fixtures are found by being here
    bucket,
    credentials_server,
    data_plane,
    moto_port,
    s3,
)
from tests.support.cloud import cloud  # noqa: F401 - fixtures are found by being here

MakeDisk = Callable[[str], Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Mounts small disks, each with the options given (`size=6m`), and takes them away after the test."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"may not mount a small disk here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Ballast:
    """Files that fill a disk up, and go away again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "ballast"
        self.folder.mkdir()

    def fill(self) -> None:
        """Leave not a byte, nor an inode where their number was set."""
        with (self.folder / "bytes").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        if os.statvfs(self.folder).f_files > 1000:
            return
        with contextlib.suppress(OSError):
            for number in range(os.statvfs(self.folder).f_ffree + 1):
                (self.folder / str(number)).touch()

    def take_away(self) -> None:
        """Give everything back."""
        for path in self.folder.iterdir():
            path.unlink()
