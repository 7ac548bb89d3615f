"""The guards that stand around every test, and the ledger of skips, do what they say."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from tests.support.guards import LeftTheMachine, NetworkGuard, is_loopback, leaked_threads
from tests.support.skips import SkipLedger, read_known_skips

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run_suite(tmp_path: Path):
    """Run pytest with our two plugins on a test file given as text, in a process of its own."""

    def run(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
        test_file = tmp_path / "test_sample.py"
        test_file.write_text(textwrap.dedent(text), encoding="utf-8")
        plugins = ["-p", "tests.support.guards", "-p", "tests.support.skips", "-p", "no:cacheprovider"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(tmp_path), *plugins, str(test_file)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


SKIPPING = """
    import pytest

    def test_that_runs():
        assert 1 + 1 == 2

    @pytest.mark.skip(reason="no gauge on this bench")
    def test_of_the_gauge():
        assert False
"""


def test_an_unlisted_skip_fails_the_run_where_everything_can_run(run_suite):
    result = run_suite(SKIPPING, PINTHESKY_STRICT_SKIPS="1")
    assert result.returncode == 1
    assert "NOT EXPECTED test_sample.py::test_of_the_gauge: no gauge on this bench" in result.stdout


def test_an_unlisted_skip_is_only_listed_where_something_may_be_missing(run_suite):
    result = run_suite(SKIPPING, PINTHESKY_STRICT_SKIPS="0")
    assert result.returncode == 0
    assert "test_sample.py::test_of_the_gauge: no gauge on this bench" in result.stdout


def test_a_module_that_skips_itself_is_counted_too(run_suite):
    result = run_suite("import pytest\npytest.importorskip('no_such_module')\n", PINTHESKY_STRICT_SKIPS="1")
    assert "skipped: 1, of these not expected: 1" in result.stdout


def test_a_listed_skip_is_expected():
    ledger = SkipLedger(["tests/a.py::test_*"], strict=True, without_av=False)
    ledger.skips = {"tests/a.py::test_one": "why", "tests/b.py::test_two": "why"}
    assert ledger.unexpected() == {"tests/b.py::test_two": "why"}


@pytest.mark.parametrize("without_av, left", [(True, {}), (False, {"t": "needs PyAV"})])
def test_missing_pyav_excuses_only_a_run_meant_without_it(without_av, left):
    ledger = SkipLedger([], strict=True, without_av=without_av)
    ledger.skips = {"t": "needs PyAV"}
    assert ledger.unexpected() == left


def test_a_known_skip_without_a_reason_is_refused(tmp_path: Path):
    listing = tmp_path / "known_skips.txt"
    listing.write_text("# comment\ntests/a.py::test_x\n", encoding="utf-8")
    with pytest.raises(pytest.UsageError, match=r"known_skips\.txt:2"):
        read_known_skips(listing)


def test_a_test_that_leaves_a_thread_behind_fails(run_suite):
    result = run_suite(
        """
        import threading

        import pytest

        stop = threading.Event()

        @pytest.fixture(scope="module", autouse=True)
        def end_of_the_thread():
            yield
            stop.set()

        def test_leaks():
            thread = threading.Thread(target=stop.wait, name="forgotten")
            thread.start()
            assert thread.is_alive()
        """
    )
    assert result.returncode == 1
    assert "threads that the test left running: ['forgotten']" in result.stdout


def test_a_thread_on_its_way_out_is_no_leak():
    before = set(threading.enumerate())
    thread = threading.Thread(target=lambda: None)
    thread.start()
    assert leaked_threads(before) == []


@pytest.mark.parametrize(
    "host, ours",
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        (None, True),
        ("192.0.2.1", False),
        ("10.0.0.1", False),
        ("camera.example", False),
    ],
)
def test_only_loopback_is_this_machine(host, ours):
    assert is_loopback(host) is ours


def test_a_connection_that_leaves_the_machine_is_refused_and_remembered(network_guard: NetworkGuard):
    with socket.socket() as sock, pytest.raises(LeftTheMachine):
        sock.connect(("192.0.2.1", 9))
    with pytest.raises(LeftTheMachine):
        socket.getaddrinfo("camera.example", 80)
    assert network_guard.attempts == ["connect '192.0.2.1'", "getaddrinfo 'camera.example'"]
    network_guard.attempts.clear()
