"""Skipped tests are counted, listed with their reasons at the end, and limited by a committed list.

Where everything can be had (root on Debian 12, which is what CI is), a skip that tests/known_skips.txt does not name
fails the run. PINTHESKY_STRICT_SKIPS=1 or =0 switches that on or off by hand.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

KNOWN_SKIPS = Path(__file__).resolve().parents[1] / "known_skips.txt"


def read_known_skips(path: Path) -> list[str]:
    """Return the patterns of test ids in `path`; every line is `pattern | reason`, and the reason is needed."""
    patterns = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pattern, _, reason = line.partition(" | ")
        if not reason.strip():
            raise pytest.UsageError(f"{path.name}:{number}: a known skip needs a reason: `pattern | reason`")
        patterns.append(pattern.strip())
    return patterns


def everything_can_run_here() -> bool:
    """Tell whether this machine is one where no test has an excuse: root on Debian 12."""
    forced = os.environ.get("PINTHESKY_STRICT_SKIPS")
    if forced is not None:
        return forced == "1"
    try:
        release = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return os.geteuid() == 0 and "ID=debian" in release and 'VERSION_ID="12"' in release


class SkipLedger:
    """Every skip of the run, whichever worker it happened in."""

    def __init__(self, known: list[str], *, strict: bool, without_av: bool) -> None:
        self.known = known
        self.strict = strict
        self.without_av = without_av
        self.skips: dict[str, str] = {}

    def unexpected(self) -> dict[str, str]:
        """Return the skips that the committed list does not name; missing PyAV excuses only a run meant without it."""
        return {
            test: reason
            for test, reason in self.skips.items()
            if not any(fnmatchcase(test, pattern) for pattern in self.known)
            and not (self.without_av and ("PyAV" in reason or "'av'" in reason))
        }

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Remember `report` if it is a skip."""
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        where = report.longrepr
        reason = where[2] if isinstance(where, tuple) else str(where)
        self.skips[report.nodeid] = reason.removeprefix("Skipped: ")

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for every phase of every test, in the process that reports."""
        self.note(report)

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Called for modules that skip themselves as a whole."""
        self.note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn an otherwise green run red if a test was skipped that must run here."""
        if self.strict and self.unexpected() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List every skip with its reason, the unexpected ones apart."""
        if not self.skips:
            return
        unexpected = self.unexpected()
        terminalreporter.section(f"skipped: {len(self.skips)}, of these not expected: {len(unexpected)}")
        for test, reason in sorted(self.skips.items()):
            mark = "NOT EXPECTED " if test in unexpected else ""
            terminalreporter.line(f"{mark}{test}: {reason}")
        if self.strict and unexpected:
            terminalreporter.line("Everything can run on this machine: mend these, or name them in known_skips.txt.")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the ledger in the process that reports, not in the workers."""
    if hasattr(config, "workerinput"):
        return
    ledger = SkipLedger(
        read_known_skips(KNOWN_SKIPS),
        strict=everything_can_run_here(),
        without_av=os.environ.get("PINTHESKY_WITHOUT_AV") == "1",
    )
    config.pluginmanager.register(ledger, "skip-ledger")
