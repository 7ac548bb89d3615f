"""What an older version left behind comes into the store, one after the other, and costs nothing newer its place."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from pinthesky.device import older_recordings as module
from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.older_recordings import OlderRecordings
from pinthesky.device.spool_folder import SpooledItem
from pinthesky.machine import durable_files
from pinthesky.model.identifiers import ThingName
from pinthesky.model.recording import Item

LONG_AGO_S = 1_690_000_000.0


class World:
    """Folders of an older version, a spool, and whether there is a place to upload to."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "older"
        self.folder.mkdir()
        self.disk_free = 10**9
        self.may_upload = True
        self.spool = ClipSpool(
            tmp_path / "spool", max_bytes=10**8, min_free_bytes=0, free_bytes=lambda _: self.disk_free
        )
        self.spool.open()
        self.taker = self.new_taker()

    def new_taker(self) -> OlderRecordings:
        return OlderRecordings([self.folder], self.spool, may_upload=lambda: self.may_upload, retry_s=0.01)

    def leave(self, name: str, data: bytes = b"a clip", *, changed_s: float = LONG_AGO_S) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        os.utime(path, (changed_s, changed_s))
        return path

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def holds(self, count: int) -> bool:
        """Whether so many files are left in the folder."""
        return len(self.names) == count

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline_s
            time.sleep(0.005)

    def next_item(self) -> SpooledItem:
        self.wait_for(self.spool.items)
        (spooled,) = self.spool.items()
        return spooled

    def key(self, item: Item) -> str:
        return item.key(video_prefix="videos", image_prefix="images", thing=ThingName("cam"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    assert world.taker.stop(5.0)
    world.spool.close()


def test_they_come_into_the_spool_one_after_the_other_each_when_the_one_before_is_stored(world: World):
    for number in range(3):
        world.leave(f"169000000{number}.motion.h264", f"clip {number}".encode())
    world.taker.start()
    stored = []
    for left in (2, 1, 0):
        spooled = world.next_item()
        world.wait_for(partial(world.holds, left))
        assert spooled.path.read_bytes() == f"clip {2 - left}".encode()
        stored.append(spooled.item)
        world.spool.mark_stored(spooled.name)
    assert [item.start.wall_s for item in stored] == [1_690_000_000, 1_690_000_001, 1_690_000_002]
    assert [item.kind for item in stored] == ["clip"] * 3
    assert world.key(stored[0]) == f"videos/cam/1690000000-{stored[0].event_id}.motion.h264"
    assert stored[0].sha256 == hashlib.sha256(b"clip 0").hexdigest()


def test_a_picture_keeps_its_name_and_one_without_a_time_in_its_name_takes_that_of_its_file(world: World):
    world.leave("front-door.jpg", b"\xff\xd8")
    world.taker.start()
    item = world.next_item().item
    assert world.key(item) == "images/cam/front-door.jpg"
    assert (item.start.wall_s, item.time_uncertain) == (LONG_AGO_S, True)


def test_what_is_no_recording_or_may_still_grow_stays(world: World, caplog: pytest.LogCaptureFixture):
    for name in ("before.h264", "notes.txt", ".x.jpg", "thumbnail_latest.jpg", "a b.jpg"):
        world.leave(name)
    (world.folder / "folder.mp4").mkdir()
    world.leave("empty.mp4", b"")
    world.leave("1690000009.mp4", changed_s=time.time())
    (world.folder / "link.jpg").symlink_to(world.folder / "notes.txt")
    before = world.names
    with caplog.at_level("INFO"):
        world.taker.start()
        world.wait_for(lambda: "have been looked at" in caplog.text)
    assert world.names == before
    assert world.spool.items() == []
    assert "1690000009.mp4 of an older version stays where it is: it is being written to" in caplog.text
    assert "empty.mp4 of an older version stays where it is: it has 0 bytes" in caplog.text
    assert "link.jpg of an older version stays" in caplog.text


def test_without_a_place_to_upload_to_they_stay_where_they_are_safest(world: World):
    world.may_upload = False
    world.leave("1690000000.mp4")
    world.taker.start()
    assert world.taker.stop(5.0)
    assert world.names == ["1690000000.mp4"]
    assert world.spool.items() == []


def test_they_wait_for_room_and_push_nothing_out(world: World, caplog: pytest.LogCaptureFixture):
    world.leave("1690000000.mp4", b"x" * 1000)
    world.disk_free = 1999
    world.taker.start()
    world.wait_for(lambda: "no room" in caplog.text)
    assert world.names == ["1690000000.mp4"]
    world.disk_free = 2000
    assert world.next_item().item.size == 1000
    assert caplog.text.count("no room") == 1
    assert world.spool.dropped_files == 0


def test_a_disk_that_refuses_keeps_nothing_half_and_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    real = durable_files.append
    refused: list[int] = []

    def refuse_twice(descriptor: int, chunks: list[bytes]) -> None:
        real(descriptor, [chunk[:3] for chunk in chunks] if len(refused) < 2 else chunks)
        if len(refused) < 2:
            refused.append(len(list((world.spool.folder / "tmp").iterdir())))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable_files, "append", refuse_twice)
    world.leave("1690000000.mp4", b"whole")
    world.taker.start()
    assert world.next_item().path.read_bytes() == b"whole"
    assert refused == [1, 1]
    assert caplog.text.count("No space left on device; trying again") == 1


def test_one_that_a_power_cut_brings_back_has_the_same_key(world: World):
    world.leave("1690000000.mp4")
    world.taker.start()
    first = world.next_item()
    world.wait_for(lambda: world.names == [])
    world.leave("1690000000.mp4")
    assert world.taker.stop(5.0)
    world.taker = world.new_taker()
    world.taker.start()
    world.wait_for(lambda: world.names == [])
    assert world.key(world.next_item().item) == world.key(first.item)


def test_one_that_cannot_be_removed_is_told_and_not_taken_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    remove = durable_files.remove

    def refuse(path: Path) -> None:
        if path.parent == world.folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        remove(path)

    monkeypatch.setattr(durable_files, "remove", refuse)
    world.leave("1690000000.mp4")
    with caplog.at_level("INFO"):
        world.taker.start()
        world.wait_for(lambda: "have been looked at" in caplog.text)
    assert len(world.spool.items()) == 1
    assert "cannot be removed (Permission denied)" in caplog.text


def test_a_folder_that_may_not_be_changed_is_told_and_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(os, "access", lambda *_: False)
    world.leave("1690000000.mp4")
    world.taker.start()
    assert "holds 1 recordings of an older version, but may not be changed" in caplog.text
    assert world.taker.stop(0.0)


def test_a_stop_in_the_middle_of_a_long_one_leaves_it_where_it_is(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_CHUNK", 1)
    real = durable_files.append

    def slow(descriptor: int, chunks: list[bytes]) -> None:
        real(descriptor, chunks)
        world.taker._stopping.set()

    monkeypatch.setattr(durable_files, "append", slow)
    world.leave("1690000000.mp4")
    world.taker.start()
    assert world.taker.stop(5.0)
    assert world.names == ["1690000000.mp4"]
    assert world.spool.items() == []


def test_nothing_there_is_nothing_to_do(world: World, tmp_path: Path):
    nowhere = OlderRecordings([tmp_path / "absent", world.folder], world.spool, may_upload=lambda: True)
    nowhere.start()
    assert nowhere.stop(0.0)


def test_a_folder_without_end_is_not_read_to_its_end(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LOOKED_AT_MAX", 5)
    for number in range(9):
        world.leave(f"{number}.motion.h264", bytes([number]))
    assert len(module._recordings_in(world.folder)) == 5
