#!/usr/bin/env python3
"""Run every benchmark, print all, and keep what was printed under `bench-results/`.

    python benchmarks/run_all.py [--only latency,peers] [--quick] [--write-docs]

`--write-docs` puts the figures into docs/benchmarks.md and the short table into README.md, between their markers; it
needs a whole run. Takes about eleven minutes, most of it waiting: daemons are watched at the pace of their cameras.
Leaves with 1 when a benchmark could not be run or missed a bar.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measuring import Headline, machine, versions  # noqa: E402 - the checkout, installed or not

RESULTS = ROOT / "bench-results"
README, DOCUMENT = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
TIME_LIMIT_S = 300.0


class Benchmark(NamedTuple):
    """A script of this folder, and how it is called."""

    name: str
    has_headlines: bool = True
    """Whether it takes --quick and --json."""
    arguments: tuple[str, ...] = ()


BENCHMARKS = (
    Benchmark("daemon_given"),
    Benchmark("daemon_rtsp"),
    Benchmark("latency"),
    Benchmark("startup"),
    Benchmark("clip_cost"),
    Benchmark("adapter_cost"),
    Benchmark("motion_cost", has_headlines=False),
    Benchmark("device_client"),
    Benchmark("hub_fleet"),
    Benchmark("hub_objects"),
    Benchmark("planes_hub"),
    Benchmark("records_lists"),
    Benchmark("lambda_import"),
    Benchmark("peers"),
    Benchmark("motion_quality", has_headlines=False, arguments=("--seeds", "7")),
)


class Outcome(NamedTuple):
    """What a benchmark printed, and its headlines."""

    name: str
    exit_code: int
    text: str
    headlines: list[Headline]
    wall_s: float


def run(benchmark: Benchmark, *, quick: bool) -> Outcome:
    """Run one benchmark, show what it prints, and keep it."""
    figures = RESULTS / f"{benchmark.name}.json"
    figures.unlink(missing_ok=True)
    command = [sys.executable, str(ROOT / "benchmarks" / f"{benchmark.name}.py"), *benchmark.arguments]
    if benchmark.has_headlines:
        command += ["--json", str(figures), *(["--quick"] if quick else [])]
    began_s = time.monotonic()
    try:
        ran = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIME_LIMIT_S, check=False
        )
        exit_code, text = ran.returncode, ran.stdout
    except subprocess.TimeoutExpired:
        exit_code, text = 124, f"given up after {TIME_LIMIT_S:.0f} s\n"
    wall_s = time.monotonic() - began_s
    print(f"=== {benchmark.name} ({wall_s:.0f} s)\n\n{text}", flush=True)
    (RESULTS / f"{benchmark.name}.txt").write_text(text, encoding="utf-8")
    headlines = [Headline(**row) for row in json.loads(figures.read_bytes())] if figures.exists() else []
    return Outcome(benchmark.name, exit_code, text, headlines, wall_s)


def failures(outcomes: Sequence[Outcome]) -> list[str]:
    """What could not be run, and every bar that was missed."""
    found = [f"{outcome.name}: exit code {outcome.exit_code}" for outcome in outcomes if outcome.exit_code]
    return found + [
        f"{line.what}: {line.measured}, at most {line.budget}"
        for outcome in outcomes
        for line in outcome.headlines
        if not line.held
    ]


def between_markers(text: str, marker: str, content: str) -> str:
    """`text` with `content` between `<!-- marker -->` and `<!-- /marker -->`; ValueError when they are missing."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"the text must hold {begin} … {end} once")
    return pattern.sub(lambda _: f"{begin}\n{content.strip()}\n{end}", text)


def short_table(outcomes: Sequence[Outcome], where: str) -> str:
    """The headlines as a Markdown table."""
    rows = [line for outcome in outcomes for line in outcome.headlines]
    return "\n".join(
        [
            "| what | measured | budget | in the same run |",
            "|---|---|---|---|",
            *(
                f"| {line.what} | {line.measured}{'' if line.held else ' **(missed)**'}"
                f" | {line.budget and 'at most ' + line.budget} | {line.beside} |"
                for line in rows
            ),
            "",
            where,
        ]
    )


def write_documents(outcomes: Sequence[Outcome], where: str) -> None:
    """Fill the generated sections."""
    blocks = [f"### {outcome.name}\n\n```text\n{outcome.text.strip()}\n```" for outcome in outcomes]
    for path, marker, content in (
        (DOCUMENT, "figures", "\n\n".join([where, *blocks])),
        (README, "bench", short_table(outcomes, f"{where} What each figure means: [benchmarks](docs/benchmarks.md).")),
    ):
        path.write_text(between_markers(path.read_text(encoding="utf-8"), marker, content), encoding="utf-8")
        print(f"written: {path.relative_to(ROOT)}")


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAMES", help="some of: " + ",".join(entry.name for entry in BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="see that all runs; the figures mean nothing")
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else [entry.name for entry in BENCHMARKS]
    unknown = set(wanted) - {entry.name for entry in BENCHMARKS}
    if unknown or (options.write_docs and (options.only or options.quick)):
        parser.error(
            f"no such benchmark: {', '.join(sorted(unknown))}" if unknown else "--write-docs needs a whole run"
        )
    RESULTS.mkdir(exist_ok=True)
    where = f"Measured on {machine()}; {versions()}."
    outcomes = [run(entry, quick=options.quick) for entry in BENCHMARKS if entry.name in wanted]
    missed = failures(outcomes)
    summary = "\n".join(missed) if missed else "every benchmark ran and held its bars"
    (RESULTS / "summary.txt").write_text(f"{where}\n\n{short_table(outcomes, '')}\n{summary}\n", encoding="utf-8")
    print(f"{summary}\n{sum(outcome.wall_s for outcome in outcomes):.0f} s in all; results in {RESULTS.name}/")
    if options.write_docs:
        unfinished = [outcome.name for outcome in outcomes if not outcome.text.strip() or outcome.exit_code > 1]
        if unfinished:
            print(f"nothing was written into the documents, since these did not end: {', '.join(unfinished)}")
            return 1
        write_documents(outcomes, where)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
