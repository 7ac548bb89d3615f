"""The application through CDK's own command line: cdk-nag finds nothing that is not meant, and errors are one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra_cdk.names import HOME_STACK, STORE_STACK
from infra_cdk.preview import QUICK
from tests.support.cloud_template import EVERYTHING
from tests.support.house.source import ROOT

# Each test starts Node.js, and loads the whole library in Python.
pytestmark = pytest.mark.soak

CDK = ROOT / "infra_cdk" / "node_modules" / ".bin" / "cdk"


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """A folder with archives in which there is next to nothing."""
    for kind in ("planes", "media"):
        with zipfile.ZipFile(tmp_path / f"{kind}-arm64.zip", "w") as archive:
            archive.writestr("nothing.txt", kind)
    return tmp_path


def as_text(value: object) -> str:
    """A value as somebody types it."""
    return value if isinstance(value, str) else json.dumps(value)


def run_app(*, context: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-O", "-m", "infra_cdk.app"],
        cwd=ROOT,
        env={**os.environ, **QUICK, "CDK_CONTEXT_JSON": json.dumps(context)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_setting_that_is_not_right_is_one_line():
    ended = run_app(context={"retentionDays": "for ever"})
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].startswith("infra_cdk: retentionDays")
    assert "Traceback" not in ended.stderr


def test_archives_that_are_missing_are_named_with_what_makes_them(tmp_path: Path):
    ended = run_app(context={"archives": str(tmp_path)})
    assert ended.returncode == 2
    assert "planes-arm64.zip is missing: python -m tools.lambda_archives makes it" in ended.stderr


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["as-it-comes", "with-everything"])
def test_the_command_line_of_cdk_takes_it_and_cdk_nag_finds_nothing(
    archives: Path, tmp_path: Path, settings: Mapping[str, Any]
):
    output = tmp_path / "cdk.out"
    context = {**settings, "archives": str(archives)}
    asked = [part for key, value in context.items() for part in ("-c", f"{key}={as_text(value)}")]
    ended = subprocess.run(
        [CDK, "synth", "--quiet", "--output", str(output), *asked],
        cwd=ROOT / "infra_cdk",
        env={**os.environ, "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1", "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr
    (report,) = json.loads((output / "validation-report.json").read_text(encoding="utf-8"))["pluginReports"]
    assert (report["pluginName"], report["conclusion"], report["violations"]) == ("AwsSolutions", "success", [])
    assert all(len(each["reason"]) > 20 for each in report["suppressedViolations"])
    stacks = json.loads((output / "manifest.json").read_text(encoding="utf-8"))["artifacts"]
    assert stacks[STORE_STACK]["properties"]["terminationProtection"] is True
    assert stacks[HOME_STACK]["properties"]["terminationProtection"] is False
