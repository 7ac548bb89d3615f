"""In which order, and where, the parallel part of `make test` runs.

Most long tests wait for real time to pass, so there are more workers than cores (see the Makefile). A file's tests stay
in one worker, which makes what they share once, but for some files that share nothing dear. What takes long starts
first, so that none of it is left to a single worker at the end.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

STARTS_FIRST = (
    "tests/test_python_versions.py",
    "tests/faults/test_kill.py",
    "tests/test_install.py",
    "tests/picamera2/test_in_rootfs.py",
    "tests/faults/test_disk_full.py",
    "tests/faults/test_network.py",
    "tests/admin/test_on_systemd.py",
    "tests/pitsctl/test_on_systemd.py",
    "tests/pitsctl/",
    "tests/daemon/",
    "tests/fleet/",
    "tests/console/",
    "tests/faults/",
    "tests/contracts/",
    "tests/test_benchmarks.py",
)
"""Files and folders, of which one test each starts in turn: so those that compute run beside those that wait."""
IN_PIECES = (
    "tests/contracts/test_cameras.py",
    "tests/daemon/",
    "tests/faults/test_disk_full.py",
    "tests/faults/test_kill.py",
    "tests/faults/test_network.py",
    "tests/picamera2/test_in_rootfs.py",
    "tests/test_benchmarks.py",
    "tests/test_python_versions.py",
    "tests/pitsctl/wizard/test_full_screen.py",
)
"""Files whose tests, or classes of tests, share nothing that is dear: each may run in a worker of its own."""


def rank(nodeid: str) -> int:
    """Where in the order a test starts: 0 first."""
    return next((rank for rank, start in enumerate(STARTS_FIRST) if nodeid.startswith(start)), len(STARTS_FIRST))


def unit(nodeid: str) -> str:
    """What is given to one worker together with `nodeid`: its file, its class, or nothing else."""
    if not nodeid.startswith(IN_PIECES):
        return nodeid.partition("::")[0]
    return nodeid.rpartition("::")[0] if nodeid.count("::") > 1 else nodeid


def in_order(nodeids: Sequence[str]) -> list[int]:
    """Places of the tests in the order in which they start: of each rank one in turn, then all that have none."""
    turns: Counter[int] = Counter()

    def place(index: int) -> tuple[float, int]:
        its_rank = rank(nodeids[index])
        turns[its_rank] += 1
        return (turns[its_rank] if its_rank < len(STARTS_FIRST) else math.inf), its_rank

    return sorted(range(len(nodeids)), key=place)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes long first, in a parallel run."""
    if hasattr(config, "workerinput"):
        items[:] = [items[index] for index in in_order([item.nodeid for item in items])]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The scheduler of a parallel run; pytest-xdist, which not every environment has, asks for it."""
    from xdist.scheduler import LoadScopeScheduling

    class ByUnit(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    config.option.loadscopereorder = False
    return ByUnit(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Let nothing measure coverage in a worker yet.

    What pytest-cov starts with the session is then the only one that does, so `no_cover` can pause it: of two, the
    other would go on. One is begun by the main process, which asks every child to measure itself (`patch` in
    pyproject.toml), and upon it a second by pytest-cov before it knows that it is in a worker.
    """
    coverage = sys.modules.get("coverage")
    if coverage is None or not hasattr(config, "workerinput"):
        return
    controller = getattr(config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
    for started in (getattr(controller, "cov", None), getattr(coverage.process_startup, "coverage", None)):
        if started is not None:
            started.stop()
