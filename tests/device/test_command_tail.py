"""The tail of the commands' file: each command once, over restarts, truncation and replacement."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pinthesky.device import command_tail
from pinthesky.device.command_tail import CHUNK_MAX, EXPIRY_S, TRUNCATE_AFTER_S, TRUNCATE_OVER, CommandTail
from pinthesky.device.fakes import FakeClock
from pinthesky.model.commands import CaptureImage, Configuration, Health, Rejected

HEALTH = b'{"name":"health"}'
CONFIGURATION = b'{"name":"configuration"}'


class Bench:
    """A file, who appends to it, and a daemon that can be restarted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "event-input.json"
        self.state = folder / "position.json"
        self.clock = FakeClock()
        self.tail = self.new_tail()

    def new_tail(self) -> CommandTail:
        return CommandTail(self.path, self.state, monotonic=self.clock.monotonic)

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def read(self) -> list:
        found = self.tail.read()
        while self.tail.more:
            found += self.tail.read()
        return found

    def restart(self) -> None:
        self.tail.close()
        self.tail = self.new_tail()

    def die(self) -> None:
        """Without an orderly end: nothing is written that was not written already."""
        os.close(self.tail._descriptor) if self.tail._descriptor is not None else None
        self.tail = self.new_tail()


@pytest.fixture
def bench(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.read()
    yield bench
    bench.tail.close()


def test_a_missing_file_is_made_for_its_owner_alone(bench):
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o600


def test_appended_commands_arrive_in_order_and_once(bench):
    bench.append(HEALTH + CONFIGURATION)
    assert bench.read() == [Health(), Configuration()]
    assert bench.read() == []


def test_what_was_there_before_the_first_start_is_old(tmp_path):
    bench = Bench(tmp_path)
    bench.append(HEALTH)
    assert bench.read() == []
    bench.append(CONFIGURATION)
    assert bench.read() == [Configuration()]
    bench.tail.close()


def test_a_restart_neither_repeats_nor_loses(bench):
    bench.append(HEALTH)
    assert bench.read() == [Health()]
    bench.tail.close()
    bench.append(CONFIGURATION)
    bench.restart()
    assert bench.read() == [Configuration()]


def test_a_command_that_was_half_there_at_a_restart_is_read_whole(bench):
    bench.append(HEALTH[:7])
    assert bench.read() == []
    bench.restart()
    bench.append(HEALTH[7:])
    assert bench.read() == [Health()]


def test_a_command_that_kills_the_daemon_does_not_do_so_again(bench):
    bench.append(HEALTH)
    assert bench.read() == [Health()]
    bench.die()
    assert bench.read() == []


def test_the_position_is_stored_before_commands_are_handed_on(bench, monkeypatch):
    order = []
    monkeypatch.setattr(command_tail, "replace_file", lambda path, data: order.append(data))
    bench.append(HEALTH)
    order.append(bench.read())
    assert [type(step) for step in order] == [bytes, list]


def test_a_torn_command_expires_and_the_one_behind_it_is_served(bench):
    bench.append(b'{"name":"x","context":' + HEALTH)
    assert bench.read() == []
    assert bench.tail.expires_in() == pytest.approx(EXPIRY_S)
    bench.clock.advance(EXPIRY_S / 2)
    assert bench.read() == []
    bench.clock.advance(EXPIRY_S / 2)
    assert [type(found) for found in bench.read()] == [Rejected, Health]
    assert bench.tail.expires_in() is None


def test_a_command_that_still_grows_does_not_expire(bench):
    for piece in (HEALTH[:5], HEALTH[5:10]):
        bench.append(piece)
        assert bench.read() == []
        bench.clock.advance(EXPIRY_S * 0.9)
    bench.append(HEALTH[10:])
    assert bench.read() == [Health()]


def test_a_torn_command_that_expired_does_not_come_back_after_a_restart(bench):
    bench.append(b'{"name":"x')
    bench.read()
    bench.clock.advance(EXPIRY_S)
    assert [type(found) for found in bench.read()] == [Rejected]
    bench.restart()
    bench.append(HEALTH)
    assert bench.read() == [Health()]


def test_a_truncated_file_is_read_from_its_beginning(bench):
    bench.append(CONFIGURATION * 3)
    bench.read()
    bench.path.write_bytes(HEALTH)
    assert bench.read() == [Health()]


def test_a_file_truncated_while_the_daemon_was_away_is_read_from_its_beginning(bench):
    bench.append(CONFIGURATION * 3)
    bench.read()
    bench.tail.close()
    bench.path.write_bytes(HEALTH)
    bench.restart()
    assert bench.read() == [Health()]


def test_a_file_renamed_over_is_followed_and_the_rest_of_the_old_one_served(bench):
    bench.append(HEALTH)
    other = bench.path.with_name("other")
    other.write_bytes(CONFIGURATION)
    other.replace(bench.path)
    assert bench.read() == [Health(), Configuration()]


def test_a_file_removed_and_made_anew_is_followed(bench):
    bench.append(HEALTH)
    assert bench.read() == [Health()]
    bench.path.unlink()
    bench.append(CONFIGURATION)
    assert bench.read() == [Configuration()]


def test_a_removed_file_is_made_again(bench):
    bench.path.unlink()
    bench.read()
    assert bench.path.exists()


def test_a_file_replaced_while_the_daemon_was_away_is_read_from_its_beginning(bench):
    bench.append(CONFIGURATION)
    bench.read()
    other = bench.path.with_name("other")
    other.write_bytes(HEALTH * 5)
    other.replace(bench.path)
    bench.restart()
    assert bench.read() == [Health()] * 5


def test_reads_are_bounded(bench):
    image = b'{"name":"capture_image","x":"' + b"y" * 40_000 + b'"}'
    bench.append(image * 10)
    found = bench.tail.read()
    assert len(found) == CHUNK_MAX // len(image)
    assert bench.tail.more
    assert len(found + bench.read()) == 10


def test_a_large_file_is_emptied_when_it_was_read_and_is_quiet(bench):
    bench.append(HEALTH + b" " * TRUNCATE_OVER)
    assert bench.read() == [Health()]
    bench.read()
    assert bench.path.stat().st_size > TRUNCATE_OVER
    bench.clock.advance(TRUNCATE_AFTER_S)
    bench.read()
    assert bench.path.stat().st_size == 0
    bench.restart()
    bench.append(CONFIGURATION)
    assert bench.read() == [Configuration()]


def test_a_file_of_moderate_size_is_left_alone(bench):
    bench.append(HEALTH)
    bench.read()
    bench.clock.advance(TRUNCATE_AFTER_S)
    bench.read()
    assert bench.path.read_bytes() == HEALTH


def test_a_crash_between_emptying_and_storing_the_position_loses_nothing(bench, monkeypatch):
    bench.append(b" " * (TRUNCATE_OVER + 1))
    bench.read()
    bench.clock.advance(TRUNCATE_AFTER_S)
    monkeypatch.setattr(command_tail, "replace_file", lambda path, data: None)
    bench.read()
    monkeypatch.undo()
    bench.die()
    bench.append(HEALTH)
    assert bench.read() == [Health()]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"inode":"x","offset":0}', b"\xff"])
def test_a_position_that_cannot_be_read_counts_as_none(bench, caplog, content):
    bench.append(HEALTH)
    bench.state.write_bytes(content)
    bench.restart()
    assert bench.read() == []
    assert "Cannot read the position" in caplog.text


def test_a_disk_that_does_not_take_the_position_is_told_once_and_commands_go_on(bench, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(command_tail, "replace_file", refuse)
        for _ in range(3):
            bench.append(HEALTH)
            assert bench.read() == [Health()]
    assert len(caplog.records) == 1
    bench.append(HEALTH)
    assert bench.read() == [Health()]
    bench.restart()
    assert bench.read() == []


def test_a_closed_tail_opens_again_where_it_was(bench):
    bench.tail.close()
    bench.tail.close()
    bench.append(HEALTH)
    assert bench.read() == [Health()]


class TailMachine(RuleBasedStateMachine):
    """Commands are numbered; whatever happens to the file and the daemon, each arrives once, in order."""

    @initialize(folder=st.integers())
    def begin(self, folder):
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name))
        self.bench.read()
        self.sent: list[str] = []
        self.arrived: list[str] = []

    def note(self, found):
        self.arrived += [str(command.file_name) for command in found if isinstance(command, CaptureImage)]

    @rule(torn=st.booleans())
    def send(self, torn):
        name = f"n{len(self.sent)}"
        raw = b'{"name":"capture_image","context":{"file_name":"%s"}}' % name.encode()
        self.sent.append(name)
        if torn:
            self.bench.append(raw[:20])
            self.note(self.bench.read())
            raw = raw[20:]
        self.bench.append(raw)

    @rule()
    def look(self):
        self.note(self.bench.read())

    @rule()
    def restart(self):
        self.bench.restart()

    @rule()
    def die(self):
        self.bench.die()

    @rule()
    def replace(self):
        self.look()
        other = self.bench.path.with_name("other")
        other.write_bytes(b"")
        other.replace(self.bench.path)

    @rule()
    def truncate(self):
        self.look()
        self.bench.path.write_bytes(b"")
        self.look()

    @rule(seconds=st.sampled_from([0.5, 3.0, 20.0]))
    def wait(self, seconds):
        self.look()
        self.bench.clock.advance(seconds)

    def teardown(self):
        if hasattr(self, "bench"):
            self.look()
            self.bench.tail.close()
            self.folder.cleanup()
            assert self.arrived == self.sent


TestTail = TailMachine.TestCase
TestTail.settings = settings(max_examples=60, stateful_step_count=25)
