"""The thread that watches the device client's files."""

from __future__ import annotations

import json
import os
import queue
import stat
import threading
import time
from pathlib import Path

import inotify_simple
import pytest

from pinthesky.device import inotify_thread
from pinthesky.device.fakes import FakeClock
from pinthesky.device.inotify_thread import RETRIES_MAX, INotifyThread, ShadowFile
from pinthesky.model.commands import Configuration, Health, Rejected
from pinthesky.model.shadow import DOCUMENT_MAX

HEALTH = b'{"name":"health"}'
PATIENCE_S = 10.0


def document(framerate: int = 20) -> bytes:
    return json.dumps({"current": {"state": {"desired": {"camera": {"framerate": framerate}}}}}).encode()


class Bench:
    """The thread with its files, and what it handed on."""

    def __init__(self, folder: Path, recheck_s: float = 60.0) -> None:
        folder.mkdir(exist_ok=True)
        self.event_input = folder / "event-input.json"
        self.configure_output = folder / "configure-output.json"
        self.state = folder / "position.json"
        self.commands: queue.Queue = queue.Queue()
        self.rejected: queue.Queue = queue.Queue()
        self.documents: queue.Queue = queue.Queue()
        self.crashes: queue.Queue = queue.Queue()
        self.on_command = self.commands.put
        self.recheck_s = recheck_s
        self.thread: INotifyThread

    def make(self) -> INotifyThread:
        return INotifyThread(
            event_input=self.event_input,
            configure_output=self.configure_output,
            state=self.state,
            on_command=lambda command: self.on_command(command),  # noqa: PLW0108 - a test replaces it
            on_rejected=self.rejected.put,
            on_shadow=self.documents.put,
            on_crash=lambda name, error: self.crashes.put((name, error)),
            recheck_s=self.recheck_s,
        )

    def start(self) -> None:
        self.thread = self.make()
        self.thread.start()
        wait_until(lambda: self.event_input.exists() and self.configure_output.exists() and self.state.exists())

    def stop(self) -> None:
        self.thread.stop()
        assert self.thread.join(PATIENCE_S)

    def append(self, data: bytes) -> None:
        with self.event_input.open("ab") as file:
            file.write(data)

    def next_command(self) -> object:
        return self.commands.get(timeout=PATIENCE_S)

    def next_document(self) -> object:
        return self.documents.get(timeout=PATIENCE_S)


def wait_until(condition, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "files")
    bench.start()
    yield bench
    bench.stop()


def test_missing_files_are_made_as_the_client_demands_them(bench):
    for path in (bench.event_input, bench.configure_output):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_there_is_never_changed(tmp_path):
    bench = Bench(tmp_path)
    for path in (bench.event_input, bench.configure_output):
        path.write_bytes(document())
        path.chmod(0o640)
    bench.start()
    assert bench.next_document() == document()
    bench.stop()
    for path in (bench.event_input, bench.configure_output):
        assert path.read_bytes() == document()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_two_commands_in_one_append_are_both_handed_on(bench):
    # The predecessor raised here and was deaf for ever.
    bench.append(HEALTH + b'{"name":"configuration"}')
    assert [bench.next_command(), bench.next_command()] == [Health(), Configuration()]


def test_commands_go_on_after_any_bad_one(bench):
    bench.append(b'garbage {"name":"combine_end","context":{"file_name":"../../etc/passwd"}}{"name":"hea' + HEALTH)
    assert bench.next_command() == Health()
    assert bench.rejected.qsize() == 3
    bench.append(HEALTH)
    assert bench.next_command() == Health()


def test_a_torn_command_is_given_up_in_time_without_any_further_event(bench, monkeypatch):
    monkeypatch.setattr("pinthesky.device.command_tail.EXPIRY_S", 0.05)
    bench.append(b'{"name":"x","context":' + HEALTH)
    assert bench.next_command() == Health()


def test_a_stop_is_seen_at_once(tmp_path):
    bench = Bench(tmp_path)
    bench.start()
    began = time.monotonic()
    bench.stop()
    assert time.monotonic() - began < 2.0
    bench.thread.wake()  # harmless afterwards


def test_the_thread_beats_while_nothing_happens(tmp_path):
    bench = Bench(tmp_path, recheck_s=0.02)
    bench.start()
    beat = bench.thread.last_beat
    wait_until(lambda: bench.thread.last_beat > beat + 0.05)
    bench.stop()
    assert bench.commands.empty()


def test_a_failure_of_a_receiver_ends_the_thread_and_is_told(bench):
    def fail(command: object) -> None:
        raise RuntimeError("defect")

    bench.on_command = fail
    bench.append(HEALTH)
    name, error = bench.crashes.get(timeout=PATIENCE_S)
    assert (name, str(error)) == ("inotify", "defect")


def test_the_document_is_handed_on_when_it_changes(bench):
    bench.configure_output.write_bytes(document(30))
    assert bench.next_document() == document(30)
    bench.configure_output.write_bytes(document(30))
    bench.configure_output.write_bytes(document(31))
    assert bench.next_document() == document(31)


def test_a_document_renamed_over_the_file_is_seen(bench):
    other = bench.configure_output.with_name("other")
    other.write_bytes(document(30))
    other.replace(bench.configure_output)
    assert bench.next_document() == document(30)
    bench.configure_output.write_bytes(document(31))
    assert bench.next_document() == document(31)


def test_a_document_made_anew_is_seen(bench):
    bench.configure_output.unlink()
    bench.configure_output.write_bytes(document(30))
    assert bench.next_document() == document(30)


def test_a_torn_document_is_waited_out(bench):
    raw = document(30)
    with bench.configure_output.open("wb", buffering=0) as file:
        file.write(raw[:10])
        # Longer than all retries would take at their first pace: later ones come at the change.
        wait_until(lambda: bench.thread._shadow.retry_in() is not None)
        file.write(raw[10:])
    assert bench.next_document() == raw
    assert bench.documents.empty()


def test_a_command_file_renamed_over_is_followed(bench):
    other = bench.event_input.with_name("other")
    other.write_bytes(HEALTH)
    other.replace(bench.event_input)
    assert bench.next_command() == Health()
    bench.append(HEALTH)
    assert bench.next_command() == Health()


def test_commands_sent_while_the_daemon_was_away_are_served_at_its_next_start(bench):
    bench.stop()
    bench.append(HEALTH)
    bench.start()
    assert bench.next_command() == Health()


class NoInotify:
    def __init__(self) -> None:
        raise OSError(24, "Too many open files")


def test_files_are_looked_at_where_the_kernel_tells_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(inotify_simple, "INotify", NoInotify)
    bench = Bench(tmp_path, recheck_s=0.02)
    bench.start()
    bench.append(HEALTH)
    bench.configure_output.write_bytes(document(30))
    assert bench.next_command() == Health()
    assert bench.next_document() == document(30)
    bench.stop()
    assert sum("tells no changes" in record.message for record in caplog.records) == 1


def test_a_folder_that_appears_later_is_watched_then(tmp_path, caplog):
    caplog.set_level("INFO")
    bench = Bench(tmp_path / "files", recheck_s=0.02)
    bench.event_input.parent.rmdir()
    bench.configure_output = tmp_path / "configure-output.json"
    bench.state = tmp_path / "position.json"
    thread = threading.Thread(target=bench.start)
    thread.start()
    wait_until(lambda: "Cannot read" in caplog.text)
    bench.event_input.parent.mkdir()
    thread.join(PATIENCE_S)
    bench.append(HEALTH)
    assert bench.next_command() == Health()
    wait_until(lambda: "changes of files again" in caplog.text)
    assert caplog.text.count("Cannot read") == 1
    assert "Reading" in caplog.text
    bench.stop()


def test_a_file_that_cannot_be_read_is_not_asked_for_without_end(bench, monkeypatch):
    bench.stop()
    bench.append(b'{"torn')
    bench.configure_output.write_bytes(b"{")
    thread = bench.thread = bench.make()
    thread.step()
    waits: list[float | None] = []

    def wait(timeout_s: float | None) -> set[Path]:
        waits.append(timeout_s)
        return set()

    monkeypatch.setattr(thread._watch, "wait", wait)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(thread._tail, "read", refuse)
    monkeypatch.setattr(thread._shadow, "read", refuse)
    thread.step()
    thread.step()
    assert waits[0] is not None
    assert waits[1] is None
    thread.finish()


def test_refused_input_does_not_fill_the_log(bench, caplog):
    for _ in range(50):
        bench.append(b'{"name":"nothing"}')
    wait_until(lambda: bench.rejected.qsize() == 50)
    assert sum("Refused input" in record.message for record in caplog.records) == 10


def test_what_was_not_logged_is_counted_a_minute_later(monkeypatch, caplog):
    log = inotify_thread._RejectionLog()
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in range(15):
        log.add(Rejected("why", "{}"))
    now[0] += 61
    log.add(Rejected("why", "{}"))
    assert "Refused 5 further pieces" in caplog.text


# -- the shadow's file alone


@pytest.fixture
def shadow(tmp_path):
    clock = FakeClock()
    path = tmp_path / "shadow.json"
    return ShadowFile(path, monotonic=clock.monotonic), path, clock


@pytest.mark.parametrize("torn", [b"", b"{", document()[:30]])
def test_a_torn_file_is_read_again_ever_more_slowly_and_then_left_until_it_changes(shadow, torn, caplog):
    file, path, clock = shadow
    path.write_bytes(torn)
    waits = []
    assert file.read(forced=False) is None
    while (wait := file.retry_in()) is not None:
        waits.append(wait)
        clock.advance(wait)
        assert file.read(forced=False) is None
    assert len(waits) == RETRIES_MAX
    assert 2.0 < sum(waits) < 10.0
    assert file.read(forced=False) is None
    assert len(caplog.records) == (1 if torn else 0)
    path.write_bytes(document())
    assert file.read(forced=False) == document()


def test_a_torn_file_that_was_finished_without_a_sign_is_found_by_a_retry(shadow):
    file, path, clock = shadow
    path.write_bytes(b" " * len(document()))
    assert file.read(forced=False) is None
    before = path.stat()
    path.write_bytes(document())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.advance(file.retry_in())
    assert file.read(forced=False) == document()


def test_a_write_within_the_grain_of_file_times_is_seen_when_it_is_told(shadow):
    file, path, _ = shadow
    path.write_bytes(document(30))
    assert file.read(forced=False) == document(30)
    path.write_bytes(document(31))
    assert file.read(forced=True) == document(31)
    assert file.read(forced=True) is None


def test_a_file_too_large_is_not_read_whole(shadow, caplog):
    file, path, clock = shadow
    path.write_bytes(b" " * (DOCUMENT_MAX + 10))
    for _ in range(RETRIES_MAX + 1):
        assert file.read(forced=False) is None
        clock.advance(10)
    assert "cannot be used" not in caplog.text or "longer than" in caplog.text
