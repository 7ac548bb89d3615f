"""Every benchmark runs and prints its table. What it measures is not judged here: figures of a quick run mean nothing.

`peers.py` is left out: it watches a clip at its own pace beside Debian's `motion` and DVR-Scan, which a machine that
runs the tests need not have; `make bench` runs it. `motion_quality.py` is left out for its length, and judges itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measuring import Headline
from benchmarks.peers import score, truth_of_own_footage
from benchmarks.run_all import BENCHMARKS, Benchmark, Outcome, between_markers, failures, short_table
from tests.support.house.source import ROOT

pytestmark = pytest.mark.needs_av

NOT_HERE = {"peers", "motion_quality"}
ROWS = {
    "daemon_given": [
        "floor: the replay alone",
        "daemon, quiet scene",
        "daemon, motion 20 % of the time",
        "the same, upl",
    ],
    "daemon_rtsp": ["floor: PyAV reads", "daemon, quiet scene", "daemon, motion 20 % of the time"],
    "latency": ["figures shown"],
    "startup": ["packets given, cold", "a camera through PyAV, warm", "pinthesky.device.daemon"],
    "clip_cost": ["bare PyAV remux"],
    "adapter_cost": ["picamera2 alone", "the adapter", "a packet taken over", "a picture made into a luma frame"],
    "device_client": ["pits-device-client", "the queue's folder", "the publish file"],
    "hub_fleet": ["edit of a shadow to reported", "command to event", "idle, 8 connected"],
    "planes_hub": ["list videos, 20 a page", "to the last", "after the walk begins"],
    "hub_objects": ["pictures of 100 KB, hub", "clips of 5 MB, moto", "clips of 5 MB, the disk alone"],
    "motion_cost": ["320x240", "160x120"],
    "lambda_import": ["boto3", "pinthesky.aws.lambda_handlers beside it", "the first", "warm"],
    "records_lists": ["first page", "a page in the middle", "filtered by label", "one camera's"],
}
QUICK = {"motion_cost": ["--rounds", "1"]}


@pytest.mark.parametrize(
    "benchmark", [entry for entry in BENCHMARKS if entry.name not in NOT_HERE], ids=lambda b: b.name
)
def test_a_benchmark_runs_and_prints_its_table(benchmark: Benchmark, tmp_path: Path):
    figures = tmp_path / "figures.json"
    given = ["--quick", "--json", str(figures)] if benchmark.has_headlines else QUICK[benchmark.name]
    ran = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / f"{benchmark.name}.py", *given],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    if ran.stdout.startswith("left out: "):
        pytest.skip(ran.stdout.strip())
    lines = ran.stdout.splitlines()
    for row in ROWS[benchmark.name]:
        assert any(line.startswith(row) for line in lines), f"no row {row!r} in:\n{ran.stdout}"
    if benchmark.has_headlines:
        assert all(line["what"] and line["measured"] for line in json.loads(figures.read_bytes()))


def test_every_benchmark_is_run_by_make_bench_and_explained():
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "def main() -> int:" in path.read_text()}
    listed = {entry.name for entry in BENCHMARKS}
    assert scripts - {"run_all", "replay_daemon"} == listed
    explained = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert all(f"`{name}.py`" in explained for name in listed)


@pytest.mark.parametrize("path, marker", [("README.md", "bench"), ("docs/benchmarks.md", "figures")])
def test_the_documents_have_a_place_for_the_figures(path: str, marker: str):
    text = (ROOT / path).read_text(encoding="utf-8")
    filled = between_markers(text, marker, "| a table |")
    assert "| a table |" in filled
    assert between_markers(filled, marker, "| a table |") == filled


def test_figures_are_not_written_where_there_is_no_place_for_them():
    with pytest.raises(ValueError, match="bench"):
        between_markers("a text without markers", "bench", "| a table |")


def test_a_missed_budget_and_a_failed_benchmark_are_named():
    headline = {"what": "CPU", "measured": "3 %", "budget": "2 %", "held": False}
    outcomes = [Outcome("a", 0, "", [json_headline(headline)], 1.0), Outcome("b", 1, "", [], 1.0)]
    assert failures(outcomes) == ["b: exit code 1", "CPU: 3 %, at most 2 %"]
    assert "| CPU | 3 % **(missed)** | at most 2 % |" in short_table(outcomes, "")


def json_headline(fields):
    return Headline(**fields)


@pytest.mark.parametrize(
    "events, found, merged, false",
    [
        ([(10.2, 14.0), (20.1, 25.0)], 2, 0, 0),
        ([(10.2, 24.0)], 2, 1, 0),
        ([(10.2, 12.0), (13.0, 21.0)], 2, 1, 0),
        ([(10.2, 21.0), (22.0, 24.0)], 2, 1, 0),
        ([(20.0, 21.0)], 1, 0, 0),
        ([(10.0, 14.0), (16.0, 17.0)], 1, 0, 0),
        ([(1.0, 3.0), (17.0, 18.0)], 0, 0, 2),
        ([], 0, 0, 0),
    ],
)
def test_events_are_compared_with_who_was_there(events, found, merged, false):
    assert score([(10.0, 15.0), (20.0, 25.0)], events) == (found, merged, false)


def test_passages_that_lie_close_together_are_one():
    assert truth_of_own_footage() == "42-86,177-199,300-322,336-502,588-609".replace("300-322,336-502", "300-502")
