"""Programs of this machine: bounded in time and output, and ended with all they have started."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path, PurePosixPath

import pytest

from pinthesky.errors import InvalidInput, Unavailable
from pitsctl.local_machine import LocalMachine
from pitsctl.machine import FileMode
from pitsctl.programs import Programs


def test_input_goes_in_and_both_outputs_come_out_however_long_they_are():
    given = os.urandom(3_000_000)
    ended = Programs().run(["sh", "-c", "tee /dev/stderr"], given=given, timeout_s=60, kept=5_000_000)
    assert (ended.code, ended.out, ended.error) == (0, given, given)


def test_of_an_output_the_end_is_kept():
    ended = Programs().run(["sh", "-c", "seq 1 100000"], timeout_s=60, kept=20)
    assert ended.out == b"\n".join(str(number).encode() for number in range(1, 100_001))[-19:] + b"\n"


def test_a_program_that_reads_nothing_of_its_input_is_no_error():
    ended = Programs().run(["true"], given=b"x" * 1_000_000, timeout_s=60)
    assert ended.code == 0


def test_a_program_that_is_not_there_is_said():
    with pytest.raises(Unavailable, match="no-such-program cannot be started"):
        Programs().run(["no-such-program"], timeout_s=5)


@pytest.mark.parametrize("script", ["sleep 60 & wait", "exec sleep 60 >&- 2>&-"])
def test_one_that_does_not_end_is_killed_with_all_it_has_started(script: str, tmp_path: Path):
    mark = f"sleep 60 # {tmp_path}"
    before = time.monotonic()
    with pytest.raises(Unavailable, match="did not end within 0 s"):
        Programs().run(["sh", "-c", f"{script} # {mark}"], timeout_s=0.4)
    assert time.monotonic() - before < 20
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_what_a_program_leaves_behind_does_not_hold_its_result_up(tmp_path: Path):
    """As ssh does, whose shared connection lives on with its outputs open."""
    pid = tmp_path / "pid"
    before = time.monotonic()
    ended = Programs().run(["sh", "-c", f"setsid sleep 30 & echo $! > {pid}; echo done"], timeout_s=60)
    assert ended.out == b"done\n"
    assert time.monotonic() - before < 20
    os.kill(int(pid.read_text()), 9)


def test_what_runs_can_be_ended_from_another_thread():
    programs = Programs()
    timer = threading.Timer(0.2, programs.end_all)
    timer.start()
    assert programs.run(["sleep", "60"], timeout_s=50).code == -9
    timer.join()


def test_this_very_machine_runs_reads_and_writes(tmp_path: Path):
    machine = LocalMachine()
    assert machine.name == "this machine"
    assert machine.run("sh", "-c", "echo out; echo error >&2; exit 3").code == 3
    path = PurePosixPath(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"\0\xff")
    assert machine.read(path) == b"\0\xff"
    with pytest.raises(InvalidInput, match="cannot be read"):
        machine.read(PurePosixPath(tmp_path))
    machine.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_a_file_of_this_machine_lands_with_owner_and_mode(tmp_path: Path):
    machine = LocalMachine()
    path = PurePosixPath(tmp_path / "file")
    machine.write(path, b"data", FileMode("nobody", "nogroup", 0o604))
    assert machine.mode_of(path) == FileMode("nobody", "nogroup", 0o604)
    assert machine.mode_of(PurePosixPath(tmp_path / "nothing")) is None
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    with pytest.raises(Unavailable, match="cannot write"):
        machine.write(PurePosixPath(tmp_path / "no" / "folder"), b"data", FileMode())


@pytest.mark.skipif(os.geteuid() != 0, reason="being root needs root")
def test_what_a_program_prints_can_be_followed(capfd: pytest.CaptureFixture[str]):
    assert LocalMachine().follow("sh", "-c", "echo one; exit 4") == 4
    assert capfd.readouterr().out == "one\n"
