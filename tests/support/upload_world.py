"""An uploader in a small world: a real spool on the disk, a store in memory, a clock that the test moves."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any, Callable, Optional

import msgspec

from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.destination import Destination
from pinthesky.device.fakes import FakeClock, FakeObjectStore
from pinthesky.device.upload_schedule import Lane
from pinthesky.device.uploader import Uploader
from pinthesky.model.identifiers import ThingName
from pinthesky.model.recording import Item, Moment

HOME = Destination(bucket="home", video_prefix="motion_videos", image_prefix="capture_images")
AWAY = Destination(bucket="away", video_prefix="motion_videos", image_prefix="capture_images")
BOOT = "00000000-0000-4000-8000-000000000000"
T0 = 1_800_000_000


class World:
    """An uploader with a real spool on the disk, a store in memory, and a clock that the test moves."""

    def __init__(self, folder: Path, *buckets: str) -> None:
        self.folder = folder
        self.clock = FakeClock(float(T0))
        self.store = FakeObjectStore(*(buckets or ("home", "away")))
        self.stored: list[tuple[str, str]] = []
        self.clock_is_right = True
        self.spools: list[ClipSpool] = []
        self.sleeps: list[float] = []
        self.begin()

    def begin(self) -> None:
        """Start, or start again after whatever happened."""
        for spool in self.spools:
            spool.close()
        self.spool = ClipSpool(self.folder / "spool", max_bytes=10**9, min_free_bytes=0)
        self.spools.append(self.spool)
        self.spool.open()
        self.uploader = Uploader(
            self.spool,
            lambda _stopping: self.store,
            thing_name=ThingName("garden"),
            clock=self.clock,
            state_file=self.folder / "destination.json",
            resolve_time=self.resolve_time,
            on_stored=lambda item, bucket, key: self.stored.append((bucket, key)),
            jitter=random.Random(1).random,
        )

    def resolve_time(self, item: Item) -> Optional[Item]:
        if not self.clock_is_right:
            return None
        start = msgspec.structs.replace(item.start, wall_s=T0 + item.start.monotonic_s)
        return msgspec.structs.replace(item, start=start)

    def clip(self, number: int, *, wall: bool = True, kind: Any = "clip", **changes: Any) -> str:
        """Put an item into the spool that began `number` seconds after T0. Returns its name there."""
        item = Item(
            kind=kind,
            event_id=changes.pop("event_id", f"{number:032x}"),
            start=Moment(boot_id=BOOT, monotonic_s=number, wall_s=float(T0 + number) if wall else None),
            suffix=".mp4" if kind == "clip" else ".jpg",
            size=0,
            sha256="0" * 64,
            **changes,
        )
        return self.spool.add_bytes(f"{kind} {number}".encode(), item).name

    def still(self, number: int, file_name: Optional[str] = None, **changes: Any) -> str:
        return self.clip(number, kind="still", file_name=file_name, **changes)

    def run(self, seconds: float = 0.0) -> int:
        """Let both workers work for so long, as their threads would. Returns the attempts they made."""
        before = self.store.attempts
        deadline = self.clock.monotonic() + seconds
        while True:
            waits = [self.uploader.step(lane) for lane in Lane]
            if any(wait == 0 for wait in waits):
                continue
            left = deadline - self.clock.monotonic()
            if left <= 0:
                return self.store.attempts - before
            self.clock.advance(min([left] + [wait for wait in waits if wait is not None]))

    @property
    def order(self) -> list[int]:
        """Numbers of the items stored, in the order of their arrival."""
        return [int(key.split("/")[2].split("-")[0]) - T0 for _, key in self.store.puts]

    @property
    def waiting(self) -> int:
        return len(self.spool.items())


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.005)
