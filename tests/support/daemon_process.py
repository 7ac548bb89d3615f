"""The whole daemon as a child process, as systemd would run it: with a notify socket, signals and a log on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

PROJECT = Path(__file__).resolve().parents[2]


class DaemonProcess:
    """One run of the daemon with its own folders below `folder`; start it again for another run on the same ones."""

    def __init__(
        self,
        folder: Path,
        camera: str,
        *flags: str,
        environment: Optional[Mapping[str, str]] = None,
        is_covered: bool = True,
    ) -> None:
        """`is_covered` is False where its coverage would be lost (`kill -9`) or cost more than it tells."""
        self.folder = folder
        self.state = folder / "state"
        self.spool = folder / "spool"
        self.files = folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.event_input = self.files / "event-input.json"
        self.event_output = self.files / "event-output.json"
        self.configure_input = self.files / "configure-input.json"
        self.configure_output = self.files / "configure-output.json"
        self.log: list[str] = []
        self.log_at: list[float] = []
        """Monotonic second at which each line of `log` was read."""
        self._news = threading.Condition()
        self._environment = dict(environment or {})
        self._is_covered = is_covered
        self._process: Optional[subprocess.Popen[str]] = None
        self._reader: Optional[threading.Thread] = None
        self._notify: Optional[socket.socket] = None
        self._command = [
            sys.executable,
            "-m",
            "pinthesky",
            "--camera",
            camera,
            "--thing-name",
            "garden",
            "--rotation",
            "0",
            "--state-dir",
            str(self.state),
            "--spool-dir",
            str(self.spool),
            "--spool-min-free",
            "0",
            "--event-input",
            str(self.event_input),
            "--event-output",
            str(self.event_output),
            "--configure-input",
            str(self.configure_input),
            "--configure-output",
            str(self.configure_output),
            *flags,
        ]

    def start(self) -> DaemonProcess:
        """Start the process; returns at once."""
        address = "\0pits-test-" + os.urandom(8).hex()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(address)
        environment = {
            **{name: value for name, value in os.environ.items() if self._is_covered or not name.startswith("COV")},
            "NOTIFY_SOCKET": "@" + address[1:],
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            **self._environment,
        }
        self.log, self.log_at = [], []
        self._process = subprocess.Popen(
            self._command,
            env=environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        return self

    @property
    def pid(self) -> int:
        """Process id of the running daemon."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, timeout_s: float = 20.0) -> None:
        """Wait for READY=1."""
        self.wait_notified("READY=1", timeout_s)

    def wait_notified(self, message: str, timeout_s: float = 20.0) -> None:
        """Wait for a message to the service manager."""
        assert self._notify is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._notify.settimeout(max(0.01, deadline - time.monotonic()))
            with contextlib.suppress(TimeoutError):
                if self._notify.recv(4096).decode() == message:
                    return
        raise AssertionError(f"no {message} within {timeout_s} s; log:\n" + "\n".join(self.log))

    def wait_log(self, pattern: str, *, count: int = 1, timeout_s: float = 30.0) -> list[re.Match[str]]:
        """Wait until `count` lines of the log match; returns all matches."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                found = [match for match in map(expression.search, self.log) if match]
                if len(found) >= count:
                    return found
                ended = self._process is not None and self._process.poll() is not None and not self._reading()
                if ended or not self._news.wait(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(
                        f"{len(found)} of {count} lines like {pattern!r} in the log:\n" + "\n".join(self.log)
                    )

    def kill(self) -> None:
        """`kill -9`."""
        self._end(signal.SIGKILL, 10.0)

    def stop(self, timeout_s: float = 26.0) -> int:
        """SIGTERM, as systemd stops it. Returns the exit code."""
        return self._end(signal.SIGTERM, timeout_s)

    def wait(self, timeout_s: float) -> int:
        """Wait for the process to end by itself. Returns the exit code."""
        assert self._process is not None
        assert self._reader is not None
        code = self._process.wait(timeout_s)
        self._reader.join(5.0)
        self._close_notify()
        return code

    def sidecars(self) -> list[dict[str, Any]]:
        """All items in the spool, each with its `path`."""
        found = []
        for sidecar in sorted((self.spool / "ready").glob("*.json")):
            with contextlib.suppress(FileNotFoundError):  # it may be stored this moment
                item = json.loads(sidecar.read_bytes())
                item["path"] = sidecar.with_suffix("")
                found.append(item)
        return found

    def clips(self) -> list[dict[str, Any]]:
        """The clips in the spool, oldest first."""
        clips = [item for item in self.sidecars() if item["kind"] == "clip"]
        return sorted(clips, key=lambda item: (item["start"]["monotonic_s"], item.get("part", 1)))

    def _end(self, number: int, timeout_s: float) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            # Every thread's stack comes with it.
            self._process.send_signal(signal.SIGABRT)
            self.wait(10.0)
            raise AssertionError(f"it did not end within {timeout_s} s; log:\n" + "\n".join(self.log)) from None

    def _reading(self) -> bool:
        return self._reader is not None and self._reader.is_alive()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._news:
                    self.log.append(line.rstrip("\n"))
                    self.log_at.append(time.monotonic())
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _close_notify(self) -> None:
        if self._notify is not None:
            self._notify.close()
            self._notify = None


@contextlib.contextmanager
def running(daemon: DaemonProcess) -> Iterator[DaemonProcess]:
    """Start the daemon, and see to its end whatever happens."""
    daemon.start()
    try:
        yield daemon
    finally:
        if daemon.is_running:
            daemon.kill()


def eventually(condition: Any, what: str, timeout_s: float = 20.0) -> Any:
    """Poll until `condition()` is true; returns what it gave."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.05)
