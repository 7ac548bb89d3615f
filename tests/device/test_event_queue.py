"""The daemon's side of the event queue: whole files, in order, bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinthesky.device.event_output import WRITE_RETRY_S
from pinthesky.device.event_queue import EventQueue
from pinthesky.device.fakes import FakeClock
from pinthesky.machine import durable_files
from pinthesky.model import events
from pinthesky.model.event_queue import parse_event_file


def motion(number: int = 0) -> events.MotionStart:
    return events.MotionStart(thing_name="garden", event_id=f"{number:032x}", score=1.0)


def change(number: int = 0) -> events.RecordingChange:
    return events.RecordingChange(thing_name="garden", timestamp=float(number), recording=True)


def health(number: int) -> events.HealthEnd:
    return events.HealthEnd(thing_name="garden", report={"number": number})


class Bench:
    def __init__(self, folder: Path, **bounds: int) -> None:
        self.clock = FakeClock()
        self.folder = folder / "queue"
        self.queue = EventQueue(self.folder, clock=self.clock, **bounds)
        self.queue.prepare()

    def write(self, *posted: events.AnyEvent) -> None:
        for event in posted:
            self.queue.post(event)
        assert self.queue.flush()

    def documents(self) -> list[dict]:
        return [json.loads((self.folder / name).read_bytes()) for name in sorted(self.names())]

    def names(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_each_event_is_a_file_at_once_and_motion_comes_first(bench: Bench) -> None:
    bench.write(change(1), change(2))
    bench.write(motion(7))
    assert [document["name"] for document in bench.documents()] == ["motion_start", *["recording_change"] * 2]
    assert [document["timestamp"] for document in bench.documents()[1:]] == [1.0, 2.0]
    assert all(parse_event_file(name) for name in bench.names()), "nothing else is left in the folder"
    assert bench.queue.due_in() is None
    assert all((bench.folder / name).stat().st_mode & 0o777 == 0o600 for name in bench.names())
    assert bench.folder.stat().st_mode & 0o777 == 0o700


def test_of_health_reports_the_latest_is_there(bench: Bench) -> None:
    bench.write(health(1))
    bench.write(health(2))
    assert [document["number"] for document in bench.documents()] == [2]
    assert bench.queue.dropped == 0


def test_the_oldest_goes_first_and_motion_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, files_max=4)
    bench.write(motion(1), change(1), change(2), change(3))
    bench.write(change(4))
    assert [document.get("timestamp") for document in bench.documents()] == [None, 2.0, 3.0, 4.0]
    for number in range(2, 6):
        bench.write(motion(number))
    ids = [int(document["event_id"], 16) for document in bench.documents()]
    assert ids == [2, 3, 4, 5]
    assert bench.queue.dropped == 5
    assert len(caplog.records) == 1, "it is said once"


def test_bytes_are_bounded_too(tmp_path: Path) -> None:
    size = len(events.encode(change(1)))
    bench = Bench(tmp_path, bytes_max=3 * size)
    bench.write(*(change(number) for number in range(1, 8)))
    assert [document["timestamp"] for document in bench.documents()] == [5.0, 6.0, 7.0]


def test_what_the_client_took_makes_room(tmp_path: Path) -> None:
    bench = Bench(tmp_path, files_max=2)
    bench.write(change(1), change(2))
    for name in bench.names():
        (bench.folder / name).unlink()
    bench.write(change(3), change(4))
    assert (len(bench.names()), bench.queue.dropped) == (2, 0)


def test_a_new_run_goes_on_behind_the_former_one_under_names_of_its_own(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    first.write(change(1), health(1))
    (first.folder / ".1-0000000000000009-00000000.json.new").write_text("half")
    (first.folder / "notes").write_text("somebody's")
    second = Bench(tmp_path)
    second.write(change(2), health(2))
    (first.folder / "notes").unlink()
    assert [document.get("timestamp", document.get("number")) for document in second.documents()] == [1.0, 2.0, None]
    assert second.documents()[-1]["number"] == 2
    assert len({name.split("-")[2][:8] for name in second.names()}) == 2


def test_a_disk_that_refuses_is_tried_again_and_nothing_is_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(durable_files, "move", refuse)
        bench.queue.post(change(1))
        assert not bench.queue.flush()
        assert bench.queue.due_in() == WRITE_RETRY_S
        assert not bench.queue.flush()
        bench.clock.advance(WRITE_RETRY_S)
        assert not bench.queue.flush()
    assert bench.names() == [], "no half file stays"
    bench.clock.advance(WRITE_RETRY_S)
    assert bench.queue.flush()
    assert [document["timestamp"] for document in bench.documents()] == [1.0]
    assert ["Cannot write" in record.message for record in caplog.records if record.levelname == "WARNING"] == [True]


def test_a_folder_that_was_removed_is_made_again(bench: Bench) -> None:
    bench.folder.rmdir()
    bench.queue.post(change(1))
    assert not bench.queue.flush()
    bench.clock.advance(WRITE_RETRY_S)
    assert bench.queue.flush()
    assert len(list(bench.folder.iterdir())) == 1


def test_a_file_that_goes_while_it_is_looked_at_is_no_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.folder / "1-0000000000000001-00000000.json").symlink_to(bench.folder / "nowhere")
    bench.write(change(1))
    assert len(bench.names()) == 2
