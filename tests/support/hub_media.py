"""Records and files for the tests of the media folder."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from pinthesky.hub.database import Database
from pinthesky.hub.media_folder import MediaFolder
from pinthesky.hub.media_index import MediaIndex
from pinthesky.hub.media_record import Address, MediaRecord
from pinthesky.hub.media_recovery import recover

STANDARD = {"retention": "standard"}


class Clock:
    """The wall clock, ahead or behind as a test wants it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


def clip_address(thing: str = "garden", *, epoch_s: int = 1800000000, number: int = 1) -> Address:
    """Where a clip goes."""
    return Address("motion_videos", thing, f"{epoch_s}-{number:032x}.motion.mp4")


def a_record(address: Address, content: bytes, **more: Any) -> MediaRecord:
    """What is known of `content` before it is stored."""
    values: dict[str, Any] = {
        "address": address,
        "file": "",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "md5": hashlib.md5(content).hexdigest(),
        "recorded_at_s": 0,
        "stored_at_s": 0,
        "tags": STANDARD,
    }
    return MediaRecord(**{**values, **more})


class MediaBench:
    """A media folder with its index and a clock."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.root = root
        self.clock = Clock()
        self.database = Database(root / "hub.sqlite")
        self.index = MediaIndex(self.database)
        self.folder = MediaFolder(root / "media", self.index, clock=self.clock, **options)
        self.recovery = recover(self.folder)

    def store(
        self, address: Address, content: bytes = b"content", *, replace: bool = False, **more: Any
    ) -> MediaRecord:
        """Store it."""
        incoming = self.folder.begin(len(content))
        try:
            incoming.write(content)
            return self.folder.store(incoming, a_record(address, content, **more), replace=replace)
        finally:
            incoming.discard()

    def content(self, address: Address) -> bytes | None:
        """What is stored."""
        if not self.folder.has(address.key):
            return None
        with self.folder.open(address.key)[1] as file:
            return file.read()

    def files(self) -> set[str]:
        """Every file below the media folder."""
        return {str(path.relative_to(self.folder.root)) for path in self.folder.root.rglob("*") if path.is_file()}
