"""The machine's own clock."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

import pytest

from pinthesky.device import timekeeping
from pinthesky.device.timekeeping import SystemClock


def a_machine(root: Path, *, synchronised: bool = False) -> Path:
    boot_id = root / "proc/sys/kernel/random/boot_id"
    boot_id.parent.mkdir(parents=True)
    boot_id.write_text("11111111-2222-4333-8444-555555555555\n")
    if synchronised:
        mark = root / "run/systemd/timesync/synchronized"
        mark.parent.mkdir(parents=True)
        mark.touch()
    return root


def test_the_system_clock_counts_the_time_since_boot(tmp_path):
    clock = SystemClock(a_machine(tmp_path))
    assert clock.boot_id == "11111111-2222-4333-8444-555555555555"
    assert clock.monotonic() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)
    assert clock.wall() == pytest.approx(time.time(), abs=5)


class _Libc:
    """A C library whose adjtimex answers as told; -1 is what a sandbox makes of it."""

    def __init__(self, outcome: int, status: int) -> None:
        self.outcome, self.status, self.asked = outcome, status, 0

    def adjtimex(self, reference) -> int:
        self.asked += 1
        reference._obj.status = self.status
        return self.outcome


@pytest.mark.parametrize(
    "outcome, status, expected", [(0, 0x2001, True), (5, 0x40, False), (0, 0x40, False), (5, 0x2001, False)]
)
def test_the_kernel_is_asked_whether_the_clock_is_disciplined(tmp_path, monkeypatch, outcome, status, expected):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: _Libc(outcome, status))
    assert SystemClock(a_machine(tmp_path, synchronised=not expected)).synchronised() is expected


@pytest.mark.parametrize("marked", [True, False])
def test_the_mark_of_timesyncd_stands_in_where_the_kernel_may_not_be_asked(tmp_path, monkeypatch, marked):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: _Libc(-1, 0))
    assert SystemClock(a_machine(tmp_path, synchronised=marked)).synchronised() is marked


def test_a_c_library_without_adjtimex_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert SystemClock(a_machine(tmp_path, synchronised=True)).synchronised() is True


def test_the_kernel_is_not_asked_at_every_question(tmp_path, monkeypatch):
    libc = _Libc(0, 0)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: libc)
    clock = SystemClock(a_machine(tmp_path))
    for _ in range(5):
        clock.synchronised()
    assert libc.asked == 1


def test_this_machine_answers():
    assert SystemClock().synchronised() in (True, False)
    assert timekeeping._kernel_synchronised() in (True, False, None)
