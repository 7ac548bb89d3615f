"""Slot files: written in place, never seen empty, never seen torn."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pinthesky.errors import InvalidInput
from pinthesky.machine.slot_file import SLOT_MAX, create_if_missing, write_slot
from tests.support.daemon_process import PROJECT


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    return tmp_path / "slot.json"


@pytest.mark.parametrize("old", [b'{"a":1}', b"{}", b'{"a":"' + b"x" * 5000 + b'"}', b""])
def test_the_new_content_stands_alone(slot, old):
    slot.write_bytes(old)
    write_slot(slot, b'{"new":true}')
    assert slot.read_bytes() == b'{"new":true}'


def test_the_inode_stays(slot):
    write_slot(slot, b"{}")
    before = slot.stat().st_ino
    write_slot(slot, b'{"longer":"content"}')
    assert slot.stat().st_ino == before


def test_a_missing_file_is_made_for_its_owner_alone(slot):
    write_slot(slot, b"{}")
    assert slot.read_bytes() == b"{}"
    assert stat.S_IMODE(slot.stat().st_mode) == 0o600
    assert [path.name for path in slot.parent.iterdir()] == [slot.name]


def test_the_mode_of_a_file_that_is_there_stays(slot):
    slot.write_bytes(b"{}")
    slot.chmod(0o640)
    write_slot(slot, b"[]")
    assert stat.S_IMODE(slot.stat().st_mode) == 0o640


@pytest.mark.parametrize("content", [b"", b" \n", b"x" * (SLOT_MAX + 1)])
def test_nothing_and_too_much_are_never_written(slot, content):
    write_slot(slot, b"{}")
    with pytest.raises(InvalidInput):
        write_slot(slot, content)
    assert slot.read_bytes() == b"{}"


def test_a_foreign_file_of_any_size_is_taken_over(slot):
    slot.write_bytes(b"x" * (SLOT_MAX * 3))
    write_slot(slot, b"{}")
    assert slot.read_bytes() == b"{}"


def test_a_disk_that_refuses_is_the_callers_to_know(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_slot(tmp_path / "missing" / "slot", b"{}")


def test_a_write_that_was_taken_in_part_is_finished(slot, monkeypatch):
    write_slot(slot, b'{"a":"0123456789"}')
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, at: pwrite(descriptor, data[:3], at))
    write_slot(slot, b'{"b":"9876543210"}')
    assert slot.read_bytes() == b'{"b":"9876543210"}'


def test_a_disk_without_room_leaves_the_old_content_whole(slot, monkeypatch):
    write_slot(slot, b'{"a":1}')
    pwrite = os.pwrite

    def nearly_full(descriptor: int, data: bytes, at: int) -> int:
        if at + len(data) > 10:
            pwrite(descriptor, data[:2], at)
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", nearly_full)
    with pytest.raises(OSError, match="No space left"):
        write_slot(slot, b'{"b":"0123456789"}')
    assert slot.read_bytes() == b'{"a":1}'


def test_one_write_then_the_cut_so_every_state_between_is_whole(slot, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, at, do=os.pwrite: do(descriptor, data, at) + look())
    monkeypatch.setattr(os, "ftruncate", lambda descriptor, size, do=os.ftruncate: (do(descriptor, size), look()))

    def look() -> int:
        seen.append(slot.read_bytes())
        return 0

    write_slot(slot, b'{"a":"a long old value"}')
    write_slot(slot, b'{"b":1}')
    assert [json.loads(content) for content in seen] == [{"b": 1}, {"b": 1}]


def test_what_is_there_is_not_changed_by_making_it(slot):
    assert create_if_missing(slot, b"{}")
    slot.write_bytes(b"mine")
    assert not create_if_missing(slot, b"{}")
    assert slot.read_bytes() == b"mine"


def test_a_file_may_be_made_empty(slot):
    assert create_if_missing(slot)
    assert slot.read_bytes() == b""
    assert stat.S_IMODE(slot.stat().st_mode) == 0o600


def test_a_file_that_somebody_else_makes_meanwhile_is_kept(slot, monkeypatch):
    def link(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"theirs")
        raise FileExistsError

    monkeypatch.setattr(os, "link", link)
    assert not create_if_missing(slot, b"{}")
    assert slot.read_bytes() == b"theirs"
    assert [path.name for path in slot.parent.iterdir()] == [slot.name]


def test_what_a_crash_left_beside_the_file_is_taken_over(slot):
    slot.with_name(f".slot.json.{os.getpid()}.new").write_bytes(b"torn")
    assert create_if_missing(slot, b"{}")
    assert slot.read_bytes() == b"{}"


def test_daemon_and_client_may_make_the_same_file_at_the_same_moment(tmp_path):
    making = (
        "import sys, pathlib; from pinthesky.machine.slot_file import create_if_missing\n"
        "folder, word = pathlib.Path(sys.argv[1]), sys.argv[2].encode() * 50\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(sum(create_if_missing(folder / f'{number}.json', word) for number in range(100)))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", making, str(tmp_path), word],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        for word in ("daemon", "client")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    made = [int(process.communicate(timeout=30.0)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(made) == 100, "each was made by one of the two"
    assert {path.read_bytes() for path in tmp_path.iterdir()} <= {b"daemon" * 50, b"client" * 50}
    assert len(list(tmp_path.iterdir())) == 100
