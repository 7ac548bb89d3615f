"""What the service manager hears."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from pathlib import Path

import pytest

from pinthesky.machine.systemd import Notifier, Watchdog


class Manager:
    """The service manager's end: a real datagram socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(0)

    def heard(self) -> list[str]:
        messages = []
        try:
            while True:
                messages.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            return messages


@pytest.fixture
def folder():
    # A socket's path is at most 107 bytes: tmp_path may be longer.
    with tempfile.TemporaryDirectory(prefix="nfy") as name:
        yield Path(name)


@pytest.fixture(params=["path", "abstract"])
def address(request, folder: Path) -> str:
    return str(folder / "notify") if request.param == "path" else f"@pinthesky-test-{os.getpid()}"


@pytest.fixture
def manager(address: str):
    manager = Manager(address)
    yield manager
    manager.socket.close()


def test_the_manager_hears_how_it_goes(manager, address):
    notifier = Notifier({"NOTIFY_SOCKET": address})
    assert notifier.ready()
    assert notifier.status("Watching\n  /dev/video0")
    assert notifier.feed_watchdog()
    assert notifier.stopping()
    assert manager.heard() == ["READY=1", "STATUS=Watching /dev/video0", "WATCHDOG=1", "STOPPING=1"]


def test_a_status_cannot_smuggle_another_message(manager, address):
    Notifier({"NOTIFY_SOCKET": address}).status("fine\nMAINPID=1\r\nSTOPPING=1" + "x" * 1000)
    (message,) = manager.heard()
    assert "\n" not in message
    assert len(message) <= 410


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_manager_nothing_is_said(environ):
    assert not Notifier(environ).ready()


def test_a_manager_that_is_gone_is_logged_once_until_it_is_back(folder, caplog):
    address = str(folder / "notify")
    notifier = Notifier({"NOTIFY_SOCKET": address})
    assert not notifier.ready()
    assert not notifier.ready()
    assert len(caplog.records) == 1
    manager = Manager(address)
    assert notifier.ready()
    manager.socket.close()
    assert not notifier.ready()
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "environ, expected",
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_of_what_it_allows(environ, expected):
    assert Notifier(environ).watchdog_every_s == expected


class Ages:
    """How long ago the threads and the camera were last seen, to be set by the test."""

    def __init__(self, notifier: Notifier) -> None:
        self.threads = {"camera": 0.0, "events": 0.0}
        self.frames: float | None = 0.0
        beats = {name: (lambda name=name: self.threads[name]) for name in self.threads}
        self.watchdog = Watchdog(notifier, beats, lambda: self.frames, limits_s={"events": 5.0}, frames_limit_s=10.0)


@pytest.fixture
def ages(address: str) -> Ages:
    return Ages(Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000000"}))


def test_the_watchdog_is_fed_while_all_is_well(manager, ages):
    ages.threads["camera"] = 20.0
    assert ages.watchdog.check() == []
    assert manager.heard() == ["WATCHDOG=1"]
    assert ages.watchdog.every_s == 10.0


@pytest.mark.parametrize("late, seconds", [("camera", 20.1), ("events", 5.1)])
def test_a_late_thread_starves_the_watchdog(manager, ages, late, seconds):
    ages.threads[late] = seconds
    assert ages.watchdog.check() == [late]
    assert manager.heard() == []


def test_missing_frames_starve_the_watchdog(manager, ages):
    ages.frames = 10.1
    assert ages.watchdog.check() == ["frames"]
    assert manager.heard() == []


def test_a_camera_that_need_not_give_frames_does_not_starve_it(manager, ages):
    ages.frames = None
    assert ages.watchdog.check() == []
    assert manager.heard() == ["WATCHDOG=1"]


def test_what_is_late_is_said_once_and_once_when_all_is_well_again(manager, ages, caplog):
    caplog.set_level(logging.INFO)
    ages.threads["camera"] = 100.0
    ages.watchdog.check()
    ages.watchdog.check()
    ages.frames = 100.0
    ages.watchdog.check()
    ages.threads["camera"], ages.frames = 0.0, 0.0
    ages.watchdog.check()
    ages.watchdog.check()
    first, second, back = [record.getMessage() for record in caplog.records]
    assert "camera late" in first
    assert "frames late" in second
    assert "fed again" in back
    assert manager.heard() == ["WATCHDOG=1"] * 2
