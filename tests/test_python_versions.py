"""The vocabulary and the daemon's core run on every Python that a device may have, and without PyAV.

`make setup` makes one environment per Python it finds under .venvs/; each of them runs the suites of `model` and
`device` here, as a child process.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tools import prepare

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = sorted(
    (path for path in ROOT.glob(".venvs/3.*") if (path / "bin" / "python").exists()),
    key=lambda path: int(path.name.split(".")[1]),
)
SUITES = ("tests/model", "tests/machine", "tests/device")


def run_python(environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}
    return subprocess.run(
        [str(environment / "bin" / "python"), *arguments],
        cwd=ROOT,
        env={
            **inherited,
            "HYPOTHESIS_PROFILE": "versions",
            "PINTHESKY_WITHOUT_AV": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.name)
@pytest.mark.timeout(660)
def test_the_suites_of_model_and_device_pass(environment: Path):
    result = run_python(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not soak", *SUITES)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed, result.stdout[-2000:]
    assert int(passed[1]) > 0


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_the_oldest_and_the_newest_python_are_among_them(version: str):
    if prepare.find_python(version) is None:
        pytest.skip(f"no Python {version} on this machine (make setup looks on the PATH and in pyenv's folder)")
    assert version in {environment.name for environment in ENVIRONMENTS}, "run `make setup` again"
    assert run_python(ROOT / ".venvs" / version, "--version").stdout.startswith(f"Python {version}.")


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.name)
@pytest.mark.parametrize("library", ["av", "boto3"])
def test_the_environment_lacks(environment: Path, library: str):
    assert run_python(environment, "-c", f"import {library}").returncode == 1
