"""The daemon as a service: readiness, watchdog, signals, crashes, what it loads and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.conftest import SCENE
from tests.support.daemon_process import PROJECT, DaemonProcess, eventually, running

pytestmark = pytest.mark.needs_av


def test_sigint_and_sigterm_end_it_in_order(quiet: DaemonProcess) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with running(quiet):
            quiet.wait_ready()
            os.kill(quiet.pid, number)
            assert quiet.wait(26) == 0
        assert not any("Traceback" in line for line in quiet.log)


def test_sigterm_during_the_start_is_heeded(quiet: DaemonProcess) -> None:
    with running(quiet):
        quiet.wait_ready()
        assert quiet.stop() == 0


def test_the_watchdog_is_fed_while_pictures_come(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:600", *SCENE, environment={"WATCHDOG_USEC": "1000000"})
    with running(daemon):
        daemon.wait_ready()
        for _ in range(3):
            daemon.wait_notified("WATCHDOG=1")
        assert daemon.stop() == 0


def test_a_stalled_camera_is_reported_reopened_and_reported_back(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:3,stall:8,quiet:600", *SCENE)
    with running(daemon):
        daemon.wait_log("The camera gives no pictures: no picture for 5 s")
        daemon.wait_log("Watching synthetic", count=2)
        assert daemon.stop() == 0
    assert sum("gives no pictures" in line for line in daemon.log) == 1


def test_a_lost_camera_closes_the_clip_and_is_opened_again(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:3,walk:3,lose,quiet:600&speed=3", *SCENE)
    with running(daemon):
        daemon.wait_log("Clip of event .* is on the disk")
        daemon.wait_log("Watching synthetic", count=2)
        assert daemon.stop() == 0


def test_a_camera_that_does_not_close_ends_the_process_for_systemd_to_start_it_again(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:2,hang:600", *SCENE)
    with running(daemon):
        assert daemon.wait(60) == 1
    assert any("does not close" in line for line in daemon.log)
    assert not any("Traceback" in line for line in daemon.log)


def test_two_signals_are_as_good_as_one(quiet: DaemonProcess) -> None:
    with running(quiet):
        quiet.wait_ready()
        os.kill(quiet.pid, signal.SIGTERM)
        os.kill(quiet.pid, signal.SIGTERM)
        assert quiet.wait(26) == 0


def test_nothing_is_left_in_the_folders_but_what_was_recorded(tmp_path: Path) -> None:
    daemon = DaemonProcess(
        tmp_path, "synthetic:?script=quiet:3,walk:1,quiet:3&loop=0&speed=4", *SCENE, "--post-roll", "1"
    )
    with running(daemon):
        assert daemon.wait(60) == 0
    assert list((daemon.spool / "tmp").iterdir()) == []
    assert list((daemon.spool / "journal").iterdir()) == []
    assert {path.stat().st_mode & 0o077 for path in daemon.spool.rglob("*")} == {0}


def test_importing_the_daemon_loads_neither_boto3_nor_pyav() -> None:
    code = (
        "import sys, pinthesky.device.daemon; print(*sorted({'av', 'boto3', 'botocore', 'urllib3'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.split() == []


def test_a_command_file_that_was_read_is_not_read_again_after_a_restart(quiet: DaemonProcess) -> None:
    with running(quiet):
        quiet.wait_log("Watching synthetic")
        quiet.event_input.write_bytes(b'{"name":"capture_image"}')
        eventually(lambda: [item for item in quiet.sidecars() if item["kind"] == "still"], "still")
        quiet.kill()
    with running(quiet):
        quiet.wait_log("Watching synthetic")
        with quiet.event_input.open("ab") as file:
            file.write(b'{"name":"configuration"}')
        quiet.wait_log("Command configuration")
        assert not any(re.search("Command capture_image", line) for line in quiet.log)
        assert quiet.stop() == 0


def test_recordings_of_an_older_version_stay_where_they_are_while_nothing_is_uploaded(tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    (older / "1690000000.motion.h264").write_bytes(b"not stored yet")
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:600", *SCENE, "--combine-dir", str(older))
    with running(daemon):
        daemon.wait_log("older holds 1 recordings of an older version")
        daemon.wait_ready()
        assert daemon.stop() == 0
    assert [path.read_bytes() for path in older.iterdir()] == [b"not stored yet"]
