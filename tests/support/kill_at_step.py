"""Each change of the media folder, ended by SIGKILL before each of its steps, in folders of their own.

`python -m tests.support.kill_at_step FOLDER` forks one child for each; what they leave is for a test to look at.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pinthesky.hub.database import Database
from pinthesky.hub.media_folder import MediaFolder
from pinthesky.hub.media_index import MediaIndex
from pinthesky.hub.media_record import Address, MediaRecord
from pinthesky.hub.media_recovery import recover
from pinthesky.machine import durable_files
from tests.support.hub_media import a_record

ADDRESS = Address("capture_images", "garden", "thumbnail_latest.jpg")
OLD, NEW = b"old content", b"the new content"
STEPS_MAX = 40


class Killer:
    """Counts steps, and kills this process at the chosen one."""

    def __init__(self, step: int) -> None:
        self._left = step

    def step(self) -> None:
        """One step."""
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def before(self, owner: Any, name: str) -> None:
        """Make the call of `name` a step."""
        original = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self.step()
            return original(*arguments, **named)

        setattr(owner, name, call)


def store(folder: MediaFolder, content: bytes, *, replace: bool = False) -> MediaRecord:
    """Store it under ADDRESS."""
    incoming = folder.begin(len(content))
    try:
        incoming.write(content)
        return folder.store(incoming, a_record(ADDRESS, content), replace=replace)
    finally:
        incoming.discard()


CHANGES: dict[str, tuple[bool, Callable[[MediaFolder], object]]] = {
    # name -> whether something is stored before, and the change
    "store": (False, lambda folder: store(folder, NEW)),
    "replace": (True, lambda folder: store(folder, NEW, replace=True)),
    "delete": (True, lambda folder: folder.delete(ADDRESS.key)),
    "star": (True, lambda folder: folder.star(ADDRESS.key, starred=True)),
}


def opened(place: Path) -> MediaFolder:
    """The folder at a place."""
    return MediaFolder(place / "media", MediaIndex(Database(place / "hub.sqlite")))


def prepared(place: Path, *, is_stored: bool) -> Path:
    """What a change begins with."""
    place.mkdir()
    folder = opened(place)
    recover(folder)
    if is_stored:
        store(folder, OLD)
    return place


def live(place: Path, do: Callable[[MediaFolder], object], step: int) -> None:
    """In a child: arm the killer, do it."""
    folder = opened(place)
    killer = Killer(step)
    for name in ("sync_data", "make_folder", "write_new", "move", "remove", "sync_folder"):
        killer.before(durable_files, name)
    for name in ("put", "update", "remove"):
        killer.before(MediaIndex, name)
    do(folder)
    (place / "done").touch()


def main() -> None:
    """Fork child after child, until a change comes to its end."""
    root = Path(sys.argv[1])
    for change, (is_stored, do) in CHANGES.items():
        before = prepared(root / f"before-{change}", is_stored=is_stored)
        for step in range(STEPS_MAX):
            place = root / f"{change}-{step}"
            shutil.copytree(before, place)
            child = os.fork()
            if child == 0:
                live(place, do, step)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if not os.WIFSIGNALED(status):
                assert os.waitstatus_to_exitcode(status) == 0
                break
        else:
            raise AssertionError(f"{change} has more than {STEPS_MAX} steps")


if __name__ == "__main__":
    main()
