from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.link.job_process import Ended, JobProcess, Tail

FOREVER_S = 20.0


@pytest.fixture
def wake():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def started(script: str, folder: Path) -> contextlib.closing[JobProcess]:
    environment = {"PATH": "/usr/bin:/bin"}
    return contextlib.closing(JobProcess(["/bin/sh", "-c", script], environment=environment, folder=folder))


def test_output_and_status_are_told(tmp_path, wake):
    with started("echo out; echo err >&2; exit 7", tmp_path) as process:
        ended = process.wait(FOREVER_S, wake[0])
    assert ended == Ended(7, "out\n", "err\n", 1)


def test_a_wait_ends_with_its_time(tmp_path, wake):
    with started("exec sleep 60", tmp_path) as process:
        assert process.wait(0.05, wake[0]) is None


def test_a_wait_can_be_woken(tmp_path, wake):
    with started("exec sleep 60", tmp_path) as process:
        timer = threading.Timer(0.05, os.write, (wake[1], b"x"))
        timer.start()
        begun = time.monotonic()
        assert process.wait(FOREVER_S, wake[0]) is None
        timer.join()
    assert time.monotonic() - begun < FOREVER_S / 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP])
def test_the_signal_that_killed_it_is_named(tmp_path, wake, number):
    # Whoever runs the tests may have told its children to ignore a hang-up, as nohup does.
    with started(f"exec env --default-signal /bin/sh -c 'kill -{int(number)} $$'", tmp_path) as process:
        ended = process.wait(FOREVER_S, wake[0])
    assert ended is not None
    assert ended.failure == f"was killed by {number.name}"


def test_a_signal_without_a_name_is_told_by_its_number():
    assert Ended(-99).failure == "was killed by signal 99"


def test_a_process_that_closes_its_output_is_still_waited_for(tmp_path, wake):
    with started("exec >&- 2>&-; sleep 0.2; exit 5", tmp_path) as process:
        ended = process.wait(FOREVER_S, wake[0])
    assert ended == Ended(5)


def test_a_child_that_keeps_the_output_open_does_not_keep_us(tmp_path, wake):
    with started("setsid sleep 5 & exit 0", tmp_path) as process:
        begun = time.monotonic()
        ended = process.wait(FOREVER_S, wake[0])
    assert ended == Ended(0)
    assert time.monotonic() - begun < 4.0


def test_a_stopped_process_can_be_terminated(tmp_path, wake):
    with started("trap 'exit 9' TERM; kill -STOP $$; while :; do sleep 0.02; done", tmp_path) as process:
        process.wait(0.2, wake[0])
        process.terminate(grace_s=10.0)
        ended = process.wait(FOREVER_S, wake[0])
    assert ended == Ended(9)


def test_the_grace_is_counted_from_the_first_request(tmp_path, wake):
    with started("trap '' TERM; while :; do sleep 0.02; done", tmp_path) as process:
        process.wait(0.2, wake[0])
        begun = time.monotonic()
        process.terminate(grace_s=0.3)
        process.terminate(grace_s=60.0)
        ended = process.wait(FOREVER_S, wake[0])
    assert ended == Ended(-signal.SIGKILL)
    assert 0.25 < time.monotonic() - begun < 5.0


def test_closing_kills_what_still_runs(tmp_path, wake):
    process = JobProcess(["/bin/sleep", "60"], environment={}, folder=tmp_path)
    process.close()
    process.close()
    assert process._popen.returncode == -signal.SIGKILL


def test_megabytes_on_both_pipes_are_read_in_bounded_memory(tmp_path, wake):
    script = "head -c 20000000 /dev/zero >&2 & head -c 20000000 /dev/zero; wait; echo; echo the end"
    with started(script, tmp_path) as process:
        ended = process.wait(FOREVER_S, wake[0])
    assert ended is not None
    assert ended.exit_status == 0
    assert ended.stdout.endswith("\nthe end\n")
    assert len(ended.stdout) + len(ended.stderr) < 30_000


@given(st.lists(st.binary(max_size=20_000), max_size=6))
def test_a_tail_is_the_end_of_everything_and_counts_every_line(chunks):
    tail = Tail()
    for chunk in filter(None, chunks):
        tail.add(chunk)
    whole = b"".join(chunks)
    assert tail.lines == len(whole.split(b"\n")) - (whole.endswith(b"\n") or not whole)
    assert len(whole) > 12_000 or tail.text == whole.decode("utf-8", "replace")
    tail.text.encode()


def test_a_character_cut_at_the_front_is_left_out():
    tail = Tail()
    tail.add("é".encode() * 10_000 + b"x")
    assert set(tail.text) == {"é", "x"}
