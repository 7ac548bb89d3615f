"""The publish file and the subscribe file."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from pinthesky.errors import NotAuthorized
from pinthesky.link import pubsub_files
from pinthesky.link.pubsub_files import PAYLOAD_MAX, PublishFile, SubscribeFile
from tests.support.held_mqtt import HeldMqtt

TOPIC = "pinthesky/events/garden/output"


class Bench:
    """A publish file without a thread: `look` is what the thread does."""

    def __init__(self, folder: Path, *, on_change: bool = True) -> None:
        self.mqtt = HeldMqtt()
        self.path = folder / "out.json"
        self.woken = 0
        self._make = lambda: PublishFile(self.path, TOPIC, self.mqtt, on_change=on_change, wake=self._wake)

    def start(self, content: bytes | None = None) -> Bench:
        if content is not None:
            self.path.write_bytes(content)
        self.file = self._make()
        self.mqtt.connect()
        self.look()
        return self

    def look(self, *changed: Path) -> list[bytes]:
        self.file.look(set(changed))
        return [sent.payload for sent in self.mqtt.sent]

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_content_goes_out_once_at_the_start_and_again_after_each_write(bench: Bench) -> None:
    bench.start(b"first")
    assert bench.look() == [b"first"]
    assert bench.mqtt.sent[0].topic == TOPIC
    bench.path.write_bytes(b"second")
    assert bench.look(bench.path) == [b"first", b"second"]
    assert bench.look(bench.path) == [b"first", b"second", b"second"], "written again, though the same"
    assert bench.look() == [b"first", b"second", b"second"]


def test_raw_bytes_go_out_as_they_are(bench: Bench) -> None:
    bench.start(b"\x00\xff no json")
    assert bench.look() == [b"\x00\xff no json"]


def test_a_rename_over_the_file_is_seen_also_without_a_sign(bench: Bench) -> None:
    bench.start(b"first")
    (bench.path.parent / "new").write_bytes(b"renamed")
    (bench.path.parent / "new").rename(bench.path)
    assert bench.look()[-1] == b"renamed"
    bench.path.write_bytes(b"in place after the rename")
    assert bench.look(bench.path)[-1] == b"in place after the rename"


def test_an_empty_and_a_missing_file_are_harmless(bench: Bench) -> None:
    bench.start()
    assert bench.look(bench.path) == []
    bench.path.touch()
    assert bench.look(bench.path) == []
    bench.path.write_bytes(b"now")
    assert bench.look(bench.path) == [b"now"]
    bench.path.unlink()
    assert bench.look() == [b"now"]


def test_what_is_too_long_is_said_once_and_not_published(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.start(b"x" * (PAYLOAD_MAX + 1))
    assert bench.look(bench.path) == []
    assert [record.message for record in caplog.records] == [
        f"{bench.path} is longer than {PAYLOAD_MAX} bytes and is not published"
    ]
    bench.path.write_bytes(b"x" * PAYLOAD_MAX)
    assert len(bench.look(bench.path)[0]) == PAYLOAD_MAX


def test_a_file_that_cannot_be_read_is_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.path.mkdir()
    bench.start()
    bench.look(bench.path)
    assert [record.message for record in caplog.records] == [f"cannot read {bench.path}: Is a directory"]


def test_without_publish_on_change_it_goes_out_at_the_start_only(tmp_path: Path) -> None:
    bench = Bench(tmp_path, on_change=False).start(b"first")
    bench.path.write_bytes(b"second")
    assert bench.look(bench.path) == [b"first"]
    assert bench.file.files == frozenset()


def test_what_changed_while_there_was_no_connection_goes_out_with_the_next(bench: Bench) -> None:
    bench.start(b"first")
    bench.mqtt.lose()
    bench.path.write_bytes(b"second")
    assert bench.look(bench.path) == [b"first"]
    assert bench.look() == [b"first"]
    assert bench.mqtt.refused == 1, "it does not knock again at every look"
    bench.mqtt.connect()
    assert bench.look() == [b"first", b"second"]


def test_what_was_not_acknowledged_goes_out_again(bench: Bench) -> None:
    bench.mqtt.acknowledges = False
    bench.start(b"first")
    bench.mqtt.lose()
    assert bench.woken
    bench.mqtt.connect()
    assert bench.file.due_in() == 0.0
    assert bench.look() == [b"first", b"first"]


def test_a_refusal_by_policy_is_said_once_and_tried_again_later(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.mqtt.acknowledges = False
    bench.start(b"first")
    bench.mqtt.sent[0].answer.set_exception(NotAuthorized("the broker does not let garden publish there"))
    due_s = bench.file.due_in()
    assert due_s is not None
    assert due_s > 30
    assert [record.message for record in caplog.records] == ["the broker does not let garden publish there"]


# The subscribe file


def receive_of(path: Path, **bounds: int) -> tuple[SubscribeFile, Callable[[bytes], None]]:
    mqtt = HeldMqtt()
    file = SubscribeFile(path, "in", mqtt, **bounds)
    return file, lambda payload: mqtt.deliver("in", payload)


def test_messages_are_appended_one_write_each_with_nothing_between(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "in.json"
    writes: list[bytes] = []
    write = os.write

    def recorded(descriptor: int, data: bytes) -> int:
        writes.append(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", recorded)
    _, receive = receive_of(path)
    receive(b'{"name":"a"}')
    receive(b"")
    receive(b'{"name":"b"}')
    assert path.read_bytes() == b'{"name":"a"}{"name":"b"}'
    assert path.stat().st_mode & 0o777 == 0o600
    assert writes == [b'{"name":"a"}', b'{"name":"b"}']


def test_a_file_that_the_reader_emptied_or_removed_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    _, receive = receive_of(path)
    receive(b"a")
    os.truncate(path, 0)
    receive(b"b")
    assert path.read_bytes() == b"b"
    path.unlink()
    receive(b"c")
    assert path.read_bytes() == b"c"


def test_a_file_that_nobody_reads_stays_within_its_bound_and_losses_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "in.json"
    file, receive = receive_of(path, most_bytes=10)
    for _ in range(5):
        receive(b"1234")
    assert path.read_bytes() == b"12341234"
    assert file.lost == 3
    os.truncate(path, 0)
    receive(b"5")
    assert path.read_bytes() == b"5"
    assert [record.message for record in caplog.records] == [
        f"What arrives is lost: {path} holds more than 10 bytes that nobody has read",
        f"Messages go to {path} again; 3 were lost since the start",
    ]


def test_a_message_that_the_disk_takes_half_of_is_taken_back(tmp_path: Path, monkeypatch, caplog) -> None:
    path = tmp_path / "in.json"
    file, receive = receive_of(path)
    receive(b"whole")
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:2]))
        receive(b"torn")
    assert path.read_bytes() == b"whole"
    assert (file.lost, "No space left" in caplog.text) == (1, True)
    receive(b"!")
    assert path.read_bytes() == b"whole!"


def test_a_file_that_cannot_be_opened_loses_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, receive = receive_of(tmp_path / "none" / "in.json")
    receive(b"a")
    receive(b"b")
    assert file.lost == 2
    assert len(caplog.records) == 1


def test_an_unforeseen_failure_is_tried_again_without_a_line(bench: Bench) -> None:
    bench.mqtt.acknowledges = False
    bench.start(b"first")
    answer: Future[None] = bench.mqtt.sent[0].answer
    answer.set_exception(RuntimeError("library"))
    assert bench.file.due_in() == pytest.approx(pubsub_files.REFUSED_RETRY_S, abs=1.0)
