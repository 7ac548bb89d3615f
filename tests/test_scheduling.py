"""The order of the parallel run: what takes long starts first, and what is dear to make is made once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.house.source import ROOT
from tests.support.scheduling import IN_PIECES, STARTS_FIRST, in_order, unit

KILL, SUITES = "tests/faults/test_kill.py::test_kills", "tests/test_python_versions.py::test_suites"


def test_of_what_takes_long_one_each_starts_in_turn_and_all_else_follows_in_its_order():
    collected = ["tests/device/test_a.py::b", "tests/device/test_a.py::a", f"{KILL}[1]", f"{KILL}[2]", f"{SUITES}[3.9]"]
    assert [collected[index] for index in in_order(collected)] == [
        f"{SUITES}[3.9]",
        f"{KILL}[1]",
        f"{KILL}[2]",
        "tests/device/test_a.py::b",
        "tests/device/test_a.py::a",
    ]


@pytest.mark.parametrize(
    "nodeid, expected",
    [
        ("tests/device/test_flags.py::test_x[a::b]", "tests/device/test_flags.py"),
        ("tests/device/test_flags.py::TestThese::test_x", "tests/device/test_flags.py"),
        (f"{KILL}[1]", f"{KILL}[1]"),
        ("tests/contracts/test_cameras.py::TestRtsp::test_x[90]", "tests/contracts/test_cameras.py::TestRtsp"),
    ],
)
def test_a_file_stays_in_one_worker_but_for_those_that_may_be_cut_up(nodeid, expected):
    assert unit(nodeid) == expected


@pytest.mark.parametrize("path", sorted({*STARTS_FIRST, *IN_PIECES}))
def test_what_is_named_is_there(path):
    assert (ROOT / path).exists()


MEASURED = """
import pytest
from coverage.collector import Collector

def test_that_is_measured():
    assert len(Collector._collectors) == 1

@pytest.mark.no_cover
def test_that_is_not():
    assert Collector._collectors == []
"""


def test_in_a_worker_one_thing_measures_coverage_and_no_cover_pauses_it(tmp_path):
    (tmp_path / "test_measured.py").write_text(MEASURED)
    (tmp_path / ".coveragerc").write_text("[run]\nparallel = true\npatch = subprocess\n")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.support.scheduling", "-n", "1", "--cov=.", "-q"],
        cwd=tmp_path,
        env={**outside, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stdout
    assert "2 passed" in found.stdout
