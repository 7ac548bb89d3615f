from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pinthesky.device import clip_spool
from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.clip_writer import ClipFinisher
from pinthesky.device.spool_folder import SpooledItem
from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.machine import durable_files
from pinthesky.model.recording import Item, Kind, Moment
from tests.support.packets import clip_header, plain_numbers, plain_packets

MB = 1_000_000


def refusing(number: int) -> Callable[..., Any]:
    def refused(path: object, *_: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    return refused


def event(number: int) -> str:
    return f"{number:032x}"


def picture(number: int = 1, *, kind: Kind = "still", part: int = 1, wall_s: float | None = 1000.0) -> Item:
    start = Moment(boot_id="boot", monotonic_s=float(number), wall_s=wall_s)
    return Item(kind=kind, event_id=event(number), part=part, start=start, suffix=".jpg", size=0, sha256="0" * 64)


class Pressure:
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, int, str]] = []

    def __call__(self, files: int, size: int, reason: str) -> None:
        self.reports.append((files, size, reason))


class House:
    """A folder, and the spools that are opened on it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pressure = Pressure()
        self.free_bytes = 10**12
        self.opened: list[ClipSpool] = []

    def make(self, max_bytes: int = 10**9, min_free_bytes: int = 0) -> ClipSpool:
        spool = ClipSpool(
            self.folder,
            max_bytes=max_bytes,
            min_free_bytes=min_free_bytes,
            on_pressure=self.pressure,
            free_bytes=lambda _: self.free_bytes,
        )
        self.opened.append(spool)
        return spool

    def open(self, max_bytes: int = 10**9, min_free_bytes: int = 0) -> ClipSpool:
        self.close()
        spool = self.make(max_bytes, min_free_bytes)
        spool.open()
        return spool

    def close(self) -> None:
        for spool in self.opened:
            spool.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "var" / "spool")
    yield house
    house.close()


def record(spool: ClipSpool, number: int = 1, *, part: int = 1, count: int = 10, size: int = 100) -> Path:
    """Record a clip of `count * (size + 17)` bytes and a header; returns its closed journal."""
    writer = spool.create_journal(clip_header(event(number), part=part))
    for packet in plain_packets(count, size=size):
        writer.append(packet)
    writer.close()
    return writer.path


def make_clip(spool: ClipSpool, number: int = 1, **how: int) -> SpooledItem:
    journal = record(spool, number, **how)
    ClipFinisher(spool, as_mp4=False).finish(journal)
    return spool.items()[-1]


def names(spool: ClipSpool) -> list[str]:
    return [kept.name[30:] for kept in spool.items()]


def files(folder: Path, sub: str) -> list[str]:
    return sorted(path.name for path in (folder / sub).iterdir())


# Opening


def test_folders_are_made_for_their_owner_alone(house):
    house.open()
    for folder in (house.folder.parent, house.folder, *(path for path in house.folder.iterdir() if path.is_dir())):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_what_was_kept_is_there_again_with_all_that_is_known_of_it(house):
    spool = house.open()
    kept = spool.add_bytes(b"jpeg", picture())
    clip = make_clip(spool, 2)
    again = house.open()
    assert sorted(again.items()) == sorted([kept, *spool.items()[1:]])
    assert clip in again.items()
    assert again.totals() == (3, 4 + clip.item.size + spool.items()[1].item.size)


def test_a_second_daemon_gets_one_clear_line(house):
    house.open()
    with pytest.raises(InvalidInput, match=rf"--spool-dir: .* in use by another daemon \(process {os.getpid()}\)"):
        house.make().open()


def test_the_lock_goes_with_the_process_that_held_it(house):
    program = f"""
import os, pathlib
from pinthesky.device.clip_spool import ClipSpool
ClipSpool(pathlib.Path({str(house.folder)!r}), max_bytes=1, min_free_bytes=0).open()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    house.open()


def test_a_file_in_place_of_the_folder_is_the_owners_mistake(house):
    house.folder.parent.mkdir()
    house.folder.write_text("")
    with pytest.raises(InvalidInput, match=r"--spool-dir: cannot use .*spool"):
        house.make().open()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_folder_that_may_not_be_written_is_the_owners_mistake(house, monkeypatch, number):
    monkeypatch.setattr(durable_files, "make_folder", refusing(number))
    with pytest.raises(InvalidInput, match=r"--spool-dir: cannot use .*(Permission denied|Operation not permitted)"):
        house.make().open()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_at_the_start_may_be_tried_again(house, monkeypatch, number):
    spool = house.make()
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "make_folder", refusing(number))
        with pytest.raises(Unavailable):
            spool.open()
    assert spool.open() == []


def test_a_full_disk_does_not_keep_away_the_daemon_that_could_empty_it(house, monkeypatch):
    house.open().add_bytes(b"jpeg", picture())
    house.close()
    monkeypatch.setattr(os, "write", refusing(errno.ENOSPC))
    monkeypatch.setattr(os, "writev", refusing(errno.ENOSPC))
    assert len(house.open().items()) == 1


def test_opening_twice_changes_nothing(house):
    spool = house.open()
    spool.add_bytes(b"jpeg", picture())
    record(spool, 2)
    before = (spool.items(), spool.totals())
    assert spool.open() == spool.pending_journals()
    assert (spool.items(), spool.totals()) == before


def test_what_was_in_the_making_is_cleared_away(house):
    spool = house.open()
    spool.tmp_path("half.mp4").write_bytes(b"half")
    house.open()
    assert files(house.folder, "tmp") == []


def test_media_that_nobody_needs_any_more_and_sidecars_alone_are_cleared_away(house):
    spool = house.open()
    kept, stored, lost = (spool.add_bytes(b"jpeg", picture(number)) for number in range(3))
    stored.sidecar.unlink()
    lost.path.unlink()
    assert house.open().items() == [kept]
    assert files(house.folder, "ready") == [kept.name, kept.sidecar.name]


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: kept.sidecar.write_bytes(b'{"kind": "clip"'),
        lambda kept: kept.sidecar.write_bytes(bytes(300)),
        lambda kept: kept.path.write_bytes(b"shorter"),
        lambda kept: kept.sidecar.write_bytes(kept.sidecar.read_bytes().replace(b".jpg", b".exe")),
    ],
)
def test_an_item_that_cannot_be_read_is_set_aside_and_the_others_go_on(house, damage, caplog):
    spool = house.open()
    damaged, kept = spool.add_bytes(b"one jpeg", picture(1)), spool.add_bytes(b"other", picture(2))
    damage(damaged)
    again = house.open()
    assert again.items() == [kept]
    assert files(house.folder, "unreadable") == sorted([damaged.name, damaged.sidecar.name])
    assert f"Set aside {damaged.name}" in caplog.text


def test_a_sidecar_that_the_disk_cannot_read_does_not_keep_the_daemon_from_starting(house, monkeypatch):
    damaged = house.open().add_bytes(b"jpeg", picture())
    read_bytes = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: refusing(errno.EIO)(path) if path == damaged.sidecar else read_bytes(path)
    )
    assert house.open().items() == []
    assert files(house.folder, "unreadable") == sorted([damaged.name, damaged.sidecar.name])


def test_items_are_in_the_order_of_their_time_after_a_start_and_of_arrival_in_a_run(house):
    spool = house.open()
    for number, wall_s in ((1, 300.0), (2, 100.0), (3, None), (4, 200.0)):
        kept = spool.add_bytes(b"jpeg", picture(number, wall_s=wall_s))
        os.utime(kept.path, (150.0, 150.0))
    assert [kept.item.event_id for kept in spool.items()] == [event(n) for n in (1, 2, 3, 4)]
    again = house.open()
    again.add_bytes(b"jpeg", picture(5, wall_s=50.0))
    assert [kept.item.event_id for kept in again.items()] == [event(n) for n in (2, 3, 4, 1, 5)]


# Journals


def test_a_journal_waits_once_it_is_closed(house):
    spool = house.open()
    writer = spool.create_journal(clip_header())
    assert spool.pending_journals() == []
    assert spool.totals() == (1, writer.size_bytes)
    writer.close()
    assert spool.pending_journals() == [writer.path]


def test_journals_of_an_earlier_run_come_back_oldest_first(house):
    spool = house.open()
    journals = [record(spool, number) for number in (3, 1, 2)]
    for age, path in enumerate(journals):
        os.utime(path, (1000.0 + age, 1000.0 + age))
    house.close()
    assert house.make().open() == journals


def test_a_journal_whose_clip_is_in_is_not_finished_again(house):
    spool = house.open()
    journal = record(spool)
    raw = journal.read_bytes()
    ClipFinisher(spool, as_mp4=False).finish(journal)
    journal.write_bytes(raw)
    other = record(spool, part=2)
    house.close()
    assert house.make().open() == [other]
    assert not journal.exists()


def test_while_a_journal_is_being_finished_nobody_else_may(house):
    spool = house.open()
    journal = record(spool)
    with spool.finishing(journal) as was_found:
        assert not was_found
        assert spool.pending_journals() == []
        with pytest.raises(NotFound), spool.finishing(journal):
            pass
    assert spool.pending_journals() == [journal]


def test_one_journal_for_each_part(house):
    spool = house.open()
    record(spool)
    with pytest.raises(Unavailable, match="File exists"):
        spool.create_journal(clip_header(event(1)))


# Items


def test_a_picture_is_kept_with_its_size_and_checksum(house):
    spool = house.open()
    kept = spool.add_bytes(b"jpeg", picture())
    assert kept.path.read_bytes() == b"jpeg"
    assert (kept.item.size, kept.item.sha256) == (4, hashlib.sha256(b"jpeg").hexdigest())
    assert Item.decode(kept.sidecar.read_bytes()) == kept.item
    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_names_do_not_depend_on_a_clock_and_never_meet(house):
    spool = house.open()
    for kind in ("still", "still", "thumbnail", "still"):
        spool.add_bytes(b"jpeg", picture(1, kind=kind, wall_s=None))
    assert names(spool) == ["01-0001-still.jpg", "01-0001-still-2.jpg", "01-0001-thumbnail.jpg", "01-0001-still-3.jpg"]


def test_listeners_hear_of_what_is_new_and_what_changed(house):
    spool = house.open()
    heard: list[int] = []
    spool.add_listener(lambda: heard.append(len(spool.items())))
    kept = spool.add_bytes(b"jpeg", picture())
    make_clip(spool, 2)
    spool.update(kept.name, kept.item)
    assert heard == [1, 3, 3]


def test_what_the_store_confirmed_is_gone_for_good(house):
    spool = house.open()
    kept = spool.add_bytes(b"jpeg", picture())
    spool.mark_stored(kept.name)
    spool.mark_stored(kept.name)
    assert (spool.items(), spool.totals(), files(house.folder, "ready")) == ([], (0, 0), [])


def test_the_sidecar_goes_first_so_that_a_crash_between_cannot_bring_the_item_back(house, monkeypatch):
    spool = house.open()
    kept = spool.add_bytes(b"jpeg", picture())
    removed: list[Path] = []
    monkeypatch.setattr(durable_files, "remove", removed.append)
    spool.mark_stored(kept.name)
    assert removed == [kept.sidecar, kept.path]


def test_a_stored_file_that_cannot_be_deleted_now_is_tried_again_first_when_room_is_needed(house, monkeypatch, caplog):
    spool = house.open(max_bytes=1000)
    kept = spool.add_bytes(bytes(900), picture())
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "remove", refusing(errno.EIO))
        spool.mark_stored(kept.name)
    assert "Cannot remove" in caplog.text
    assert spool.items() == []
    house.free_bytes = -1
    spool.make_room()
    assert files(house.folder, "ready") == []
    assert house.pressure.reports == []


def test_a_time_that_became_known_survives_a_restart(house):
    spool = house.open()
    kept = spool.add_bytes(b"jpeg", picture(wall_s=None))
    known = msgspec.structs.replace(kept.item, start=Moment(boot_id="boot", monotonic_s=1.0, wall_s=5.0))
    assert spool.update(kept.name, known).item == known
    assert [again.item for again in house.open().items()] == [known]


def test_an_item_that_is_gone_cannot_be_updated(house):
    spool = house.open()
    kept = spool.add_bytes(b"jpeg", picture())
    spool.mark_stored(kept.name)
    with pytest.raises(NotFound):
        spool.update(kept.name, kept.item)


def test_an_item_that_goes_while_it_is_updated_does_not_come_back(house, monkeypatch):
    spool = house.open()
    kept = spool.add_bytes(b"jpeg", picture())
    write_new = durable_files.write_new

    def meanwhile(path: Path, data: bytes) -> None:
        write_new(path, data)
        spool.mark_stored(kept.name)

    monkeypatch.setattr(durable_files, "write_new", meanwhile)
    with pytest.raises(NotFound):
        spool.update(kept.name, kept.item)
    assert files(house.folder, "ready") == []


@pytest.mark.parametrize("operation", ["create", "append", "sync_data", "move", "sync_folder", "sync_file"])
def test_a_picture_that_the_disk_refuses_leaves_nothing_behind(house, monkeypatch, operation):
    spool = house.open()
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, operation, refusing(errno.ENOSPC))
        with pytest.raises(Unavailable, match="No space left"):
            spool.add_bytes(b"jpeg", picture())
    assert (files(house.folder, "ready"), spool.items()) == ([], [])
    spool.add_bytes(b"jpeg", picture())
    assert names(spool) == ["01-0001-still.jpg"]
    assert files(house.folder, "tmp") == []


def test_a_sidecar_that_the_disk_refuses_leaves_the_old_one(house, monkeypatch):
    spool = house.open()
    kept = spool.add_bytes(b"jpeg", picture())
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "append", refusing(errno.ENOSPC))
        with pytest.raises(Unavailable):
            spool.update(kept.name, picture(wall_s=5.0))
    assert spool.items() == [kept]
    assert house.open().items() == [kept]


@pytest.mark.parametrize("failing_call", range(1, 5))
def test_a_clip_is_taken_in_whole_or_not_at_all(house, monkeypatch, failing_call):
    spool = house.open()
    journal = record(spool)
    calls = 0
    move = durable_files.move

    def sometimes(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == failing_call:
            raise OSError(errno.EIO, "Input/output error")
        move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "move", sometimes)
        with pytest.raises(Unavailable):
            ClipFinisher(spool, as_mp4=False).finish(journal)
    assert (spool.items(), files(house.folder, "ready")) == ([], [])
    assert spool.pending_journals() == [journal]
    assert len(ClipFinisher(spool, as_mp4=False).finish(journal)) == 2


def test_a_journal_that_cannot_be_removed_after_its_clip_is_in_is_not_finished_again(house, monkeypatch):
    spool = house.open()
    journal = record(spool)
    remove = durable_files.remove

    def stuck(path: Path) -> None:
        if path == journal:
            raise OSError(errno.EIO, "Input/output error")
        remove(path)

    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "remove", stuck)
        ClipFinisher(spool, as_mp4=False).finish(journal)
    assert journal.exists()
    assert spool.pending_journals() == []
    house.close()
    assert house.make().open() == []
    assert not journal.exists()


def test_an_unreadable_journal_that_the_disk_will_not_move_is_tried_again(house, monkeypatch):
    spool = house.open()
    journal = record(spool)
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "move", refusing(errno.EROFS))
        with pytest.raises(Unavailable):
            spool.set_aside_journal(journal)
    assert spool.pending_journals() == [journal]


# Bounds


def test_the_oldest_items_go_when_the_spool_is_full_and_that_is_reported(house, caplog):
    spool = house.open(max_bytes=10_000)
    for number in range(6):
        spool.add_bytes(bytes(3000), picture(number))
    assert [kept.item.event_id for kept in spool.items()] == [event(number) for number in (3, 4, 5)]
    assert house.pressure.reports == [(1, 3000, "the spool may hold 10000 bytes")] * 3
    assert (spool.dropped_files, spool.dropped_bytes) == (3, 9000)
    assert "Dropped 1 recordings (3000 bytes) that nobody has stored" in caplog.text


def test_a_thumbnail_and_the_timestamps_go_with_their_clip(house):
    spool = house.open()
    spool.add_bytes(bytes(10), picture(1, kind="thumbnail"))
    make_clip(spool, 1)
    make_clip(spool, 1, part=2)
    spool.add_bytes(bytes(10), picture(1))
    house.free_bytes = -1
    spool.make_room()
    assert names(spool) == ["01-0002-timestamps.timestamps.txt", "01-0002-clip.h264", "01-0001-still.jpg"]


def test_free_space_on_the_disk_is_kept_by_dropping_just_enough(house):
    spool = house.open(min_free_bytes=50 * MB)
    for number in range(5):
        spool.add_bytes(bytes(1000), picture(number))
    house.free_bytes = 50 * MB - 1500
    assert spool.make_room()
    assert len(spool.items()) == 3
    assert house.pressure.reports == [(2, 2000, "the disk must keep 50000000 bytes free")]


def test_a_disk_below_its_bound_at_the_start_is_brought_back_to_it(house):
    spool = house.open()
    spool.add_bytes(bytes(1000), picture(1))
    spool.add_bytes(bytes(1000), picture(2))
    house.free_bytes = 500
    assert len(house.open(min_free_bytes=1000).items()) == 1


def test_what_was_set_aside_goes_before_anything_else(house):
    spool = house.open()
    spool.add_bytes(bytes(1000), picture(1)).sidecar.write_bytes(b"")
    spool.add_bytes(bytes(1000), picture(2))
    again = house.open(max_bytes=1500)
    assert len(again.items()) == 1
    assert house.pressure.reports == []
    assert sum(path.stat().st_size for path in (house.folder / "unreadable").iterdir()) < 1000


def test_while_a_journal_grows_older_items_give_way_and_the_journal_itself_never(house):
    spool = house.open(max_bytes=4 * MB)
    for number in range(3):
        spool.add_bytes(bytes(MB), picture(number))
    writer = spool.create_journal(clip_header())
    had_room = []
    for packet in plain_packets(50, size=100_000):
        writer.append(packet)
        had_room.append(spool.make_room())
        assert spool.totals()[1] <= 4 * MB or not had_room[-1]
    assert had_room == [True] * 39 + [False] * 11
    assert spool.items() == []
    writer.close()


def test_journals_that_wait_go_last_and_the_oldest_first(house):
    spool = house.open(max_bytes=5 * MB)
    one, other = record(spool, 1, size=100_000), record(spool, 2, size=100_000)
    spool.add_bytes(bytes(MB), picture(3))
    house.free_bytes = -MB // 2
    assert spool.make_room()
    assert (spool.items(), spool.pending_journals()) == ([], [one, other])
    assert spool.make_room()
    assert spool.pending_journals() == [other]
    assert not one.exists()


def test_a_journal_that_is_being_finished_is_not_pulled_away(house):
    spool = house.open()
    journal = record(spool)
    house.free_bytes = -MB
    with spool.finishing(journal):
        assert not spool.make_room()
    assert journal.exists()


def test_no_clip_begins_where_there_is_no_room_for_its_beginning(house, caplog):
    spool = house.open(min_free_bytes=MB)
    house.free_bytes = MB + clip_spool.FIRST_ROOM_BYTES - 1
    with pytest.raises(Unavailable, match="no room for a clip"):
        spool.create_journal(clip_header())
    with pytest.raises(Unavailable, match="no room for a clip"):
        spool.create_journal(clip_header())
    house.free_bytes += 1
    spool.create_journal(clip_header()).close()
    assert caplog.text.count("has no room") == 1


def test_a_picture_that_does_not_fit_is_refused(house):
    spool = house.open(max_bytes=1000)
    with pytest.raises(Unavailable, match="no room for a picture"):
        spool.add_bytes(bytes(1001), picture())
    assert files(house.folder, "ready") == []


def test_room_again_is_logged_once(house, caplog):
    caplog.set_level("INFO")
    spool = house.open(min_free_bytes=MB)
    for free, has_room in ((0, False), (0, False), (2 * MB, True), (2 * MB, True)):
        house.free_bytes = free
        assert spool.make_room() is has_room
    assert caplog.text.count("has no room") == caplog.text.count("has room again") == 1


def test_a_disk_that_cannot_be_asked_is_unavailable(house):
    spool = ClipSpool(house.folder, max_bytes=1, min_free_bytes=0, free_bytes=refusing(errno.EIO))
    with pytest.raises(Unavailable, match="cannot look at the spool"):
        spool.make_room()


def test_the_real_disk_is_asked_when_nobody_says_otherwise(tmp_path):
    free = clip_spool.free_bytes_at(tmp_path)
    assert 0 < free <= os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize


# Several threads


def test_recording_finishing_uploading_and_pressure_at_once_lose_count_of_nothing(house):
    spool = house.open(max_bytes=clip_spool.FIRST_ROOM_BYTES + 30_000)
    finisher = ClipFinisher(spool, as_mp4=False)
    recorded, is_over = threading.Semaphore(0), threading.Event()

    def record_all() -> None:
        for number in range(60):
            record(spool, number, count=6, size=200)
            recorded.release()

    def finish_all() -> None:
        for _ in range(60):
            assert recorded.acquire(timeout=30)
            for path in spool.pending_journals():
                with contextlib.suppress(NotFound):
                    finisher.finish(path)

    def upload() -> None:
        while not is_over.is_set():
            for kept in spool.items()[-2:]:
                spool.mark_stored(kept.name)

    with ThreadPoolExecutor(3) as threads:
        uploading, *working = (threads.submit(work) for work in (upload, record_all, finish_all))
        try:
            for work in working:
                work.result(60)
        finally:
            is_over.set()
        uploading.result(60)
    kept = spool.items()
    assert spool.totals() == (len(kept) + len(spool.pending_journals()), sum(k.item.size for k in kept))
    assert files(house.folder, "ready") == sorted(name for k in kept for name in (k.name, k.sidecar.name))
    for clip in kept:
        if clip.item.kind == "clip":
            assert plain_numbers(clip.path.read_bytes()) == list(range(6))


def test_sidecars_are_json_that_a_person_can_read(house):
    kept = house.open().add_bytes(b"jpeg", picture())
    assert json.loads(kept.sidecar.read_text())["event_id"] == event(1)


def test_a_victim_that_cannot_be_deleted_now_is_tried_again_when_room_is_needed_next(house, monkeypatch):
    spool = house.open(max_bytes=5 * MB)
    journal = record(spool)
    house.free_bytes = -1
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "remove", refusing(errno.EIO))
        assert spool.make_room()
    assert journal.exists()
    spool.make_room()
    assert not journal.exists()
    assert len(house.pressure.reports) == 1
