"""Between the camera and the spool: closed journals become clips, pictures are taken in, whatever the disk does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pinthesky.device import finishing_worker
from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.clip_writer import ClipFinisher
from pinthesky.device.finishing_worker import FinishingWorker
from pinthesky.device.internal_events import ItemsReady, PictureRefused
from pinthesky.errors import NotFound, Unavailable
from pinthesky.model.recording import Item, Moment
from tests.support.packets import EVENT_ID, clip_header, plain_packets
from tests.support.upload_world import wait_until

JPEG = b"\xff\xd8 picture \xff\xd9"


def picture(event_id: str = EVENT_ID) -> Item:
    return Item.of_picture(
        JPEG, kind="thumbnail", event_id=event_id, start=Moment(boot_id="boot", monotonic_s=1.0, wall_s=1e9)
    )


class Stage:
    """A worker on a real spool. `free_bytes` is what the disk claims to have."""

    def __init__(self, folder: Path) -> None:
        self.free_bytes = 10**12
        self.posted: list[Any] = []
        self._changed = threading.Condition()
        self.spool = ClipSpool(folder, max_bytes=10**9, min_free_bytes=0, free_bytes=lambda _: self.free_bytes)
        self.spool.open()
        self.finish: Callable[[Path], list[Item]] = ClipFinisher(self.spool, as_mp4=False).finish
        self.worker = FinishingWorker(self.spool, self._finish, self.post)

    def _finish(self, path: Path) -> list[Item]:
        return self.finish(path)

    def post(self, event: object) -> None:
        with self._changed:
            self.posted.append(event)
            self._changed.notify_all()

    def journal(self, part: int = 1, *, close: bool = True) -> Path:
        journal = self.spool.create_journal(clip_header(part=part))
        for packet in plain_packets(20):
            journal.append(packet)
        if close:
            journal.close()
        return journal.path

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.posted if isinstance(event, kind)]

    @property
    def ready(self) -> list[Item]:
        return [item for event in self.of(ItemsReady) for item in event.items]

    def until(self, holds: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(holds, timeout=10)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "spool")
    yield made
    assert made.worker.stop(10)
    made.spool.close()


def test_a_closed_journal_becomes_a_clip(stage: Stage):
    stage.worker.start()
    stage.journal()
    stage.worker.journal_closed()
    stage.until(lambda: bool(stage.ready))
    assert [(item.kind, item.part, item.recovered) for item in stage.ready if item.kind == "clip"] == [
        ("clip", 1, False)
    ]
    assert stage.spool.pending_journals() == []


def test_a_journal_that_is_still_written_is_left_alone(stage: Stage):
    path = stage.journal(close=False)
    stage.worker.start()
    assert stage.worker.stop(10)
    assert path.exists()
    assert stage.posted == []


def test_what_a_crash_left_is_finished_at_the_start(tmp_path: Path):
    before = Stage(tmp_path / "spool")
    before.journal(1, close=False)
    before.journal(2)
    before.spool.close()
    stage = Stage(tmp_path / "spool")
    stage.worker.start()
    stage.until(lambda: len(stage.of(ItemsReady)) == 2)
    assert stage.worker.stop(10)
    assert sorted((item.part, item.recovered) for item in stage.ready if item.kind == "clip") == [(1, True), (2, True)]


def test_a_picture_is_taken_in(stage: Stage):
    stage.worker.start()
    stage.worker.take_picture_in(JPEG, picture())
    stage.until(lambda: bool(stage.ready))
    assert [kept.path.read_bytes() for kept in stage.spool.items()] == [JPEG]


def test_a_journal_that_the_disk_refuses_is_tried_again_and_it_is_said_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(finishing_worker, "_RETRY_S", 0.01)
    attempts: list[Path] = []
    finish = stage.finish

    def refuse_five_times(path: Path) -> list[Item]:
        attempts.append(path)
        if len(attempts) <= 5:
            raise Unavailable("disk is full")
        return finish(path)

    stage.finish = refuse_five_times
    stage.journal()
    stage.worker.start()
    stage.until(lambda: bool(stage.ready))
    assert caplog.text.count("disk is full") == 1
    assert caplog.text.count("takes clips and pictures again") == 1


def test_one_journal_that_the_disk_refuses_does_not_hold_up_the_others(stage: Stage):
    first = stage.journal(1)
    stage.journal(2)
    finish = stage.finish

    def refuse_first(path: Path) -> list[Item]:
        if path == first:
            raise Unavailable("bad sector")
        return finish(path)

    stage.finish = refuse_first
    stage.worker.start()
    stage.until(lambda: bool(stage.ready))
    assert {item.part for item in stage.ready} == {2}
    assert first.exists()


def test_a_defect_met_in_one_journal_does_not_hold_up_the_others_and_is_met_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
):
    first = stage.journal(1)
    stage.journal(2)
    finish = stage.finish

    def trip(path: Path) -> list[Item]:
        if path == first:
            raise KeyError("defect")
        return finish(path)

    stage.finish = trip
    stage.worker.start()
    stage.until(lambda: bool(stage.ready))
    stage.journal(3)
    stage.worker.journal_closed()
    stage.until(lambda: len({item.part for item in stage.ready}) == 2)
    assert first.exists()
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]


def test_a_journal_that_was_dropped_meanwhile_is_no_news(stage: Stage, caplog: pytest.LogCaptureFixture):
    def gone(path: Path) -> list[Item]:
        raise NotFound(f"{path.name} was dropped")

    stage.finish = gone
    stage.journal()
    stage.worker.start()
    assert stage.worker.stop(10)
    assert stage.posted == []
    assert caplog.records == []


def test_a_journal_without_pictures_makes_no_event(stage: Stage):
    stage.spool.create_journal(clip_header()).close()
    stage.worker.start()
    assert stage.worker.stop(10)
    assert stage.posted == []
    assert stage.spool.pending_journals() == []


def test_a_picture_that_the_disk_refuses_is_reported(stage: Stage, caplog: pytest.LogCaptureFixture):
    stage.free_bytes = -1
    stage.worker.start()
    stage.worker.take_picture_in(JPEG, picture())
    stage.until(lambda: bool(stage.posted))
    [refused] = stage.of(PictureRefused)
    assert (refused.item.event_id, "no room" in refused.reason) == (EVENT_ID, True)
    stage.free_bytes = 10**12
    stage.worker.take_picture_in(JPEG, picture())
    stage.until(lambda: bool(stage.ready))
    assert "takes clips and pictures again" in caplog.text


def test_pictures_beyond_the_bound_leave_oldest_first_and_are_reported(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finishing_worker, "PICTURES_MAX", 2)
    ids = [str(number) * 32 for number in range(4)]
    for event_id in ids:
        stage.worker.take_picture_in(JPEG, picture(event_id))
    assert [event.item.event_id for event in stage.of(PictureRefused)] == ids[:2]
    stage.worker.start()
    stage.until(lambda: len(stage.ready) == 2)
    assert [item.event_id for item in stage.ready] == ids[2:]


def test_a_picture_does_not_wait_for_all_journals(stage: Stage):
    for part in range(1, 4):
        stage.journal(part)
    finish = stage.finish

    def with_picture(path: Path) -> list[Item]:
        if path.name.endswith("0001.journal"):
            stage.worker.take_picture_in(JPEG, picture())
        return finish(path)

    stage.finish = with_picture
    stage.worker.start()
    stage.until(lambda: len(stage.of(ItemsReady)) == 4)
    kinds = [{item.kind for item in event.items} for event in stage.of(ItemsReady)]
    assert kinds[1] == {"thumbnail"}


def test_a_stop_finishes_what_waits(stage: Stage):
    for part in range(1, 4):
        stage.journal(part)
    stage.worker.take_picture_in(JPEG, picture())
    stage.worker.start()
    assert stage.worker.stop(10)
    assert len(stage.of(ItemsReady)) == 4


def test_a_stop_whose_time_is_over_leaves_the_rest_to_the_next_start(stage: Stage):
    for part in range(1, 4):
        stage.journal(part)
    finish = stage.finish
    began, go_on = threading.Event(), threading.Event()

    def slowly(path: Path) -> list[Item]:
        began.set()
        go_on.wait(10)
        return finish(path)

    stage.finish = slowly
    stage.worker.start()
    assert began.wait(10)
    assert not stage.worker.stop(0.01)
    go_on.set()
    wait_until(lambda: stage.worker.stop(0))
    assert len(stage.of(ItemsReady)) == 1
    assert len(stage.spool.pending_journals()) == 2


def test_one_that_was_never_started_stops_at_once(stage: Stage):
    assert stage.worker.stop(0)
