"""The tests in `inside`, on the real picamera2 in its root file system: one report for each of them."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.picamera2 import rootfs

INSIDE = Path(__file__).parent / "inside"
PLATFORMS = {"test_vc4": "vc4"}
"""Modules that want to be on a Pi before the fifth."""
TIMEOUT_S = 280


@pytest.fixture(scope="module", autouse=True)
def entered() -> None:
    """Leave these tests out, plainly, where the root file system cannot be had."""
    reason = rootfs.why_not()
    if reason is not None:
        pytest.skip(f"NOT RUN on the real picamera2: {reason}")


@pytest.mark.parametrize("module", sorted(path.stem for path in INSIDE.glob("test_*.py")))
def test_inside(module: str, subtests: pytest.Subtests) -> None:
    report = rootfs.CHECKOUT / ".rootfs" / f"{module}.xml"
    report.unlink(missing_ok=True)
    code, output = rootfs.run(
        *_python(),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        f"tests/picamera2/inside/{module}.py",
        environment={"PINTHESKY_VIRTUAL_CAMERA": PLATFORMS.get(module, "pisp")},
        timeout_s=TIMEOUT_S,
    )
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), output
    cases = list(_cases(report))
    assert cases, output
    for name, kind, text in cases:
        with subtests.test(msg=name):
            if kind == "skipped":
                pytest.skip(text)
            if kind is not None:
                pytest.fail(text, pytrace=False)


def _cases(report: Path) -> Iterator[tuple[str, str | None, str]]:
    """(name, "failure", "error", "skipped" or None, text) of every test."""
    for case in ET.parse(report).getroot().iter("testcase"):
        found = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        yield name, None if found is None else found.tag, "" if found is None else (found.text or "").strip()


def _python() -> list[str]:
    """The interpreter in there; measured when this one is, into a file that is combined with the others."""
    if "coverage" not in sys.modules:
        return ["/venv/bin/python"]
    import coverage

    if coverage.Coverage.current() is None:
        return ["/venv/bin/python"]
    return ["/venv/bin/python", "-m", "coverage", "run", f"--data-file={rootfs.CHECKOUT / '.coverage'}"]
