"""The folder of events: in order, several in flight, removed when the broker has them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pinthesky.errors import InvalidInput, NotAuthorized
from pinthesky.link.event_queue import IN_FLIGHT_MAX, URGENT_IN_FLIGHT_MAX, EventQueue
from pinthesky.link.pubsub_files import PAYLOAD_MAX, RETRY_S
from pinthesky.machine import durable_files
from pinthesky.model.event_queue import EventFile
from tests.support.held_mqtt import HeldMqtt


class Bench:
    """A queue without a thread: `look` is what the thread does when it is woken."""

    def __init__(self, folder: Path) -> None:
        self.mqtt = HeldMqtt()
        self.mqtt.acknowledges = False
        self.folder = folder / "queue"
        self.queue = EventQueue(self.folder, "out", self.mqtt, wake=lambda: None)
        self.mqtt.connect()

    def put(self, *numbers: int, urgent: bool = False) -> None:
        for number in numbers:
            (self.folder / EventFile(urgent, number, "0" * 8).name).write_text(json.dumps(number))

    def look(self) -> list[int]:
        self.queue.look(set())
        return [sent.document for sent in self.mqtt.sent]

    def left(self) -> list[int]:
        return sorted(json.loads(path.read_text()) for path in self.folder.iterdir())

    def acknowledge(self, count: int) -> None:
        for sent in [sent for sent in self.mqtt.sent if not sent.answer.done()][:count]:
            sent.answer.set_result(None)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_events_go_out_in_order_and_motion_before_all(bench: Bench) -> None:
    bench.put(3, 1, 2)
    bench.put(5, 4, urgent=True)
    assert bench.look() == [4, 5, 1, 2, 3]
    assert bench.look() == [4, 5, 1, 2, 3], "none twice while it is on its way"


def test_a_file_goes_when_its_event_was_acknowledged_and_not_before(bench: Bench) -> None:
    bench.put(1, 2)
    bench.look()
    assert bench.left() == [1, 2]
    bench.acknowledge(1)
    assert bench.left() == [2]
    assert bench.folder.stat().st_mode & 0o777 == 0o700


def test_several_are_in_flight_but_not_all_and_motion_need_not_wait(bench: Bench) -> None:
    bench.put(*range(100, 200))
    assert len(bench.look()) == IN_FLIGHT_MAX
    bench.put(*range(50), urgent=True)
    assert bench.look()[IN_FLIGHT_MAX:] == list(range(URGENT_IN_FLIGHT_MAX - IN_FLIGHT_MAX))
    for _ in range(20):
        bench.acknowledge(50)
        bench.look()
    assert bench.left() == []
    assert sorted(sent.document for sent in bench.mqtt.sent) == [*range(50), *range(100, 200)]


def test_what_was_not_acknowledged_goes_out_again_with_the_next_connection(bench: Bench) -> None:
    bench.put(1, 2, 3)
    bench.look()
    bench.acknowledge(1)
    bench.mqtt.lose()
    assert bench.look() == [1, 2, 3]
    bench.mqtt.connect()
    assert bench.queue.due_in() == 0.0
    assert bench.look() == [1, 2, 3, 2, 3]
    assert bench.queue.due_in() is None


def test_nothing_is_tried_before_the_first_connection(tmp_path: Path) -> None:
    mqtt = HeldMqtt()
    queue = EventQueue(tmp_path, "out", mqtt, wake=lambda: None)
    (tmp_path / EventFile(True, 1, "0" * 8).name).write_text("1")
    queue.look(set())
    assert (mqtt.sent, mqtt.refused, queue.due_in()) == ([], 0, None)


def test_a_refusal_by_policy_loses_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.put(1, 2)
    bench.look()
    for sent in bench.mqtt.sent:
        sent.answer.set_exception(NotAuthorized("the broker does not let garden publish there"))
    assert bench.look() == [1, 2]
    assert bench.left() == [1, 2]
    assert [record.message for record in caplog.records] == [
        f"the broker does not let garden publish there; events wait in {bench.folder}"
    ]


def test_what_the_broker_will_never_take_is_dropped_with_a_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.put(1, 2)
    bench.look()
    bench.mqtt.sent[0].answer.set_exception(InvalidInput("publish", "payload format invalid"))
    assert bench.left() == [2]
    assert "is dropped: publish: payload format invalid" in caplog.text


def test_what_a_power_cut_left_empty_and_what_is_too_long_is_dropped(bench: Bench, caplog) -> None:
    (bench.folder / EventFile(False, 1, "0" * 8).name).touch()
    (bench.folder / EventFile(False, 2, "0" * 8).name).write_bytes(b"1" * (PAYLOAD_MAX + 1))
    (bench.folder / EventFile(False, 3, "0" * 8).name).write_bytes(bytes(100))
    bench.put(4)
    assert bench.look() == [4]
    assert bench.left() == [4]
    assert caplog.text.count("a power cut") == 2
    assert f"over {PAYLOAD_MAX} bytes" in caplog.text


def test_other_files_links_and_folders_are_left_alone(bench: Bench, tmp_path: Path) -> None:
    (bench.folder / ".1-half.json.new").write_text("1")
    (bench.folder / "notes.txt").write_text("1")
    (tmp_path / "secret").write_text("1")
    (bench.folder / EventFile(False, 1, "0" * 8).name).symlink_to(tmp_path / "secret")
    os.mkfifo(bench.folder / EventFile(False, 2, "0" * 8).name)
    (bench.folder / EventFile(False, 3, "0" * 8).name).mkdir()
    assert bench.look() == []
    assert len(list(bench.folder.iterdir())) == 5


def test_a_file_that_the_daemon_took_back_is_no_error(bench: Bench, monkeypatch, caplog) -> None:
    bench.put(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", lambda _: [EventFile(False, 2, "0" * 8).name])
        assert bench.look() == []
    assert caplog.records == []


def test_a_folder_that_cannot_be_read_is_tried_again_later(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.folder.rmdir()
    assert bench.look() == []
    due_s = bench.queue.due_in()
    assert due_s is not None
    assert 0 < due_s <= RETRY_S
    assert "cannot look at the queue" in caplog.text


def test_a_file_that_cannot_be_removed_is_not_published_over_and_over(bench: Bench, monkeypatch, caplog) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    bench.put(1)
    bench.look()
    monkeypatch.setattr(durable_files, "remove", refuse)
    bench.acknowledge(1)
    assert bench.look() == [1]
    assert "cannot remove" in caplog.text
