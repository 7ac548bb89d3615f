"""What the benchmarks have in common: CPU and memory of another process, a table, and a report with its bars.

CPU is that of all threads of a process in user and kernel mode, from its own clock, to the nanosecond; memory is what
the kernel says in /proc. Nothing here measures this process: what is measured is always a child.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("av", "numpy", "msgspec", "boto3")
ZERO_2, ZERO = 10, 40
"""Measured figures times these are the estimates for a Raspberry Pi Zero 2 and a Zero."""


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used. Raises OSError when it is gone."""
    # The number of a process's CPU clock, as clock_getcpuclockid(3) makes it: ~pid << 3, with 2 for the scheduler's.
    return time.clock_gettime((~pid << 3) | 2)


class Memory(NamedTuple):
    """Memory of a process in MB (10^6 bytes)."""

    resident: float
    peak: float
    """The most that was ever resident."""
    private: float
    """Resident and not shared with another process."""


def memory_of(pid: int) -> Memory:
    """What a process has in memory now. Raises OSError when it is gone."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    status = dict(line.split(":", 1) for line in lines)
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
    return Memory(
        resident=int(status["VmRSS"].split()[0]) * 1024 / 1e6,
        peak=int(status["VmHWM"].split()[0]) * 1024 / 1e6,
        private=private * 1024 / 1e6,
    )


class Usage(NamedTuple):
    """What a process used from its start to its end, with the children that it waited for."""

    exit_code: int
    cpu_s: float
    wall_s: float
    peak_mb: float


def run_to_end(command: Sequence[str | Path], *, cwd: Path, output: IO[str]) -> Usage:
    """Run a program to its end and say what it used. What it says on stderr is dropped."""
    began_s = time.monotonic()
    child = subprocess.Popen([str(part) for part in command], cwd=cwd, stdout=output, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return Usage(
        exit_code=child.returncode,
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=time.monotonic() - began_s,
        peak_mb=usage.ru_maxrss * 1024 / 1e6,
    )


def cpu_in_windows(pids: dict[str, int], *, windows: int, window_s: float) -> dict[str, list[float]]:
    """Watch several processes for `windows` stretches of `window_s`; CPU seconds of each, stretch by stretch."""
    spent: dict[str, list[float]] = {name: [] for name in pids}
    began_s = time.monotonic()
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    for number in range(1, windows + 1):
        time.sleep(max(0.0, began_s + number * window_s - time.monotonic()))
        for name, pid in pids.items():
            now = cpu_s(pid)
            spent[name].append(now - before[name])
            before[name] = now
    return spent


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float], digits: int) -> str:
    """The median, and the least and the most beside it."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def machine() -> str:
    """One line on what this was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith(("model name", "Model"))
        ),
        platform.processor() or "unknown processor",
    )
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = os.getloadavg()[0]
    return (
        f"{model}, {os.cpu_count()} cores, {memory_gb:.0f} GB, {platform.machine()}, Linux {platform.release()}, "
        f"load before the start {load:.1f}"
    )


def versions(*names: str) -> str:
    """One line with the versions of Python, of this project and of libraries."""
    from pinthesky.version import __version__  # noqa: PLC0415 - the path to the checkout is set by the script

    found = [f"Python {platform.python_version()}", f"pinthesky {__version__}"]
    return ", ".join(found + [f"{name} {importlib.metadata.version(name)}" for name in names or VERSIONS])


class Headline(NamedTuple):
    """One row of the summary in the README."""

    what: str
    measured: str
    budget: str = ""
    """What it must not exceed, or nothing."""
    beside: str = ""
    """The floor or the peer that was measured in the same run."""
    held: bool = True


@dataclass
class Report:
    """What a benchmark prints: a title, tables, notes on how to read them, and headlines with their budgets."""

    title: str
    libraries: tuple[str, ...] = VERSIONS
    parts: list[str] = field(default_factory=list)
    headlines: list[Headline] = field(default_factory=list)
    machine: str = field(default_factory=machine)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table: the first column to the left, all others to the right."""
        widths = [max(len(row[index]) for row in [columns, *rows]) for index in range(len(columns))]
        lines = [
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [columns, ["-" * width for width in widths], *rows]
        ]
        self.parts.append("\n".join(lines))

    def note(self, text: str) -> None:
        """Add a paragraph."""
        self.parts.append(text)

    def judge(self, what: str, value: float, limit: float, *, unit: str, beside: str = "") -> None:
        """Hold a figure against its budget."""
        shown = f"{value:.3g}" if value < 100 else f"{value:.0f}"
        headline = Headline(what, f"{shown} {unit}", f"{limit:g} {unit}", beside, value <= limit)
        self.headlines.append(headline)

    def headline(self, what: str, measured: str, beside: str = "") -> None:
        """Add a figure that has no budget."""
        self.headlines.append(Headline(what, measured, beside=beside))

    def text(self) -> str:
        """The whole report."""
        budgets = [
            f"{'held  ' if line.held else 'MISSED'}  {line.what}: {line.measured}, at most {line.budget}"
            for line in self.headlines
            if line.budget
        ]
        head = f"{self.title}\n{self.machine}\n{versions(*self.libraries)}"
        return "\n\n".join([head, *self.parts, *(["\n".join(budgets)] if budgets else [])]) + "\n"

    def deliver(self, json_path: Path | None) -> int:
        """Print it, and write the headlines where they were asked for. Returns the exit code."""
        print(self.text(), flush=True)
        if json_path is not None:
            json_path.write_text(json.dumps([line._asdict() for line in self.headlines], indent=1), encoding="utf-8")
        return 0


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The flags that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="as short as can be: figures mean nothing, all is run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the headlines there")
    return parser
