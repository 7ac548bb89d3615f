"""One child process of a job: its output read at any size in bounded memory, its whole group ended with it."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pinthesky.model.jobs import STATUS_DETAIL_MAX

_CHUNK = 65_536
_TAIL_BYTES = 3 * 4 * STATUS_DETAIL_MAX
"""Kept of each stream: what a status detail looks at, at four bytes a character."""
_LAST_WORDS_S = 1.0
"""How long the output of a process that has ended, with all its children, is still read."""


class Tail:
    """The last bytes of a stream, and how many lines went through."""

    def __init__(self) -> None:
        self._kept = b""
        self._line_ends = 0
        self._open_line = False

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self._kept = (self._kept + data)[-_TAIL_BYTES:]
        self._line_ends += data.count(b"\n")
        self._open_line = not data.endswith(b"\n")

    @property
    def text(self) -> str:
        """What was kept; bytes that are no UTF-8 are replaced, the rest of a character cut at the front is left out."""
        kept = self._kept
        if len(kept) == _TAIL_BYTES:
            kept = kept.lstrip(bytes(range(0x80, 0xC0)))
        return kept.decode("utf-8", "replace")

    @property
    def lines(self) -> int:
        """Lines so far, one without an end included."""
        return self._line_ends + self._open_line


@dataclass(frozen=True)
class Ended:
    """How a process ended, and the ends of what it wrote."""

    exit_status: int
    """As `Popen.returncode`: negative is the signal that killed it."""
    stdout: str = ""
    stderr: str = ""
    stderr_lines: int = 0

    @property
    def failure(self) -> str | None:
        """In words, or None for exit status 0."""
        if self.exit_status >= 0:
            return f"exited with status {self.exit_status}" if self.exit_status else None
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-self.exit_status).name}"
        return f"was killed by signal {-self.exit_status}"


class JobProcess:
    """A running child in a session of its own, without a terminal and without input. For one thread.

    When the child has ended, whatever is left of its process group is killed: a handler leaves nothing behind. Only
    what makes a session of its own escapes; the service manager ends that with the device client.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> None:
        """Start it. Raises OSError where that cannot be done."""
        self._stdout, self._stderr = Tail(), Tail()
        self._kill_at: float | None = None
        self._killed = False
        self._popen = subprocess.Popen(  # noqa: S603 - job_handlers has said that this may run
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._selector = selectors.DefaultSelector()
        for stream, tail in ((self._popen.stdout, self._stdout), (self._popen.stderr, self._stderr)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._selector.register(stream, selectors.EVENT_READ, tail)
        self._exit = os.pidfd_open(self._popen.pid)
        self._selector.register(self._exit, selectors.EVENT_READ, None)

    def wait(self, timeout_s: float, wake: int) -> Ended | None:
        """Read its output until it ends, `timeout_s` has passed, or the descriptor `wake` is readable."""
        deadline = time.monotonic() + timeout_s
        with self._listening(wake):
            while True:
                self._kill_if_due()
                until = deadline if self._kill_at is None or self._killed else min(deadline, self._kill_at)
                ready = {key.fd for key in self._read(max(0.0, until - time.monotonic()))}
                if self._exit in ready:
                    break
                if wake in ready or time.monotonic() >= deadline:
                    return None
        return self._finish()

    def terminate(self, grace_s: float) -> None:
        """SIGTERM for the whole group now; SIGKILL, during a `wait`, when it has not ended after `grace_s`."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace_s
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill what still runs, wait for it, and give everything back. Safe to call twice."""
        if self._popen.returncode is None:
            self._signal(signal.SIGKILL)
            self._popen.wait()
        for stream in (self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()
        self._selector.close()
        if self._exit >= 0:
            os.close(self._exit)
            self._exit = -1

    @contextlib.contextmanager
    def _listening(self, wake: int) -> Iterator[None]:
        self._selector.register(wake, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            self._selector.unregister(wake)

    def _read(self, timeout_s: float) -> list[selectors.SelectorKey]:
        """Wait for anything, take what the child wrote, and return what is ready."""
        ready = [key for key, _ in self._selector.select(timeout_s)]
        for key in ready:
            if isinstance(key.data, Tail):
                try:
                    data = os.read(key.fd, _CHUNK)
                except BlockingIOError:
                    continue
                if data:
                    key.data.add(data)
                else:
                    self._selector.unregister(key.fileobj)
        return ready

    def _finish(self) -> Ended:
        """The child is gone but not yet waited for, so its process group's number cannot be anybody else's."""
        self._signal(signal.SIGKILL)
        self._selector.unregister(self._exit)
        deadline = time.monotonic() + _LAST_WORDS_S
        while self._selector.get_map() and (left_s := deadline - time.monotonic()) > 0.0:
            self._read(left_s)
        status = self._popen.wait()
        return Ended(status, self._stdout.text, self._stderr.text, self._stderr.lines)

    def _kill_if_due(self) -> None:
        if self._kill_at is not None and not self._killed and time.monotonic() >= self._kill_at:
            self._killed = True
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)
