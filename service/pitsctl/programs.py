"""Programs of this machine, run to their end: bounded in time and in what is kept of their output."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple

from pinthesky.errors import Unavailable

KEPT_MAX = 1 << 20
"""Bytes of each of the two outputs: the end of them."""
_CHUNK = 64 * 1024
_LOOK_EVERY_S = 0.3


class Ended(NamedTuple):
    """How a program ended: exit code (negative: the signal), and the end of what it printed."""

    code: int
    out: bytes
    error: bytes


class Programs:
    """Runs programs, and can end those that run, from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(
        self,
        words: Sequence[str],
        *,
        given: bytes = b"",
        timeout_s: float,
        environment: Mapping[str, str] | None = None,
        kept: int = KEPT_MAX,
    ) -> Ended:
        """Run a program with `given` as its input. Raises Unavailable: it cannot be started, or does not end in time.

        It is killed then, with all it has started.
        """
        try:
            process = subprocess.Popen(  # noqa: S603 - the words are ours, and there is no shell
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"{words[0]} cannot be started: {error.strerror}") from error
        with self._lock:
            self._running.add(process)
        try:
            outputs = _exchange(process, given, deadline=time.monotonic() + timeout_s, kept=kept)
            code = process.wait()
        except _TooLate as error:
            _kill(process)
            raise Unavailable(f"{words[0]} did not end within {timeout_s:.0f} s") from error
        finally:
            with self._lock:
                self._running.discard(process)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    _close(pipe)
            _kill(process)
        return Ended(code, *outputs)

    def end_all(self) -> None:
        """End what is running: whoever waits for it hears of it."""
        with self._lock:
            running = list(self._running)
        for process in running:
            _kill(process)


class _TooLate(Exception):
    """The deadline is over."""


def _exchange(process: subprocess.Popen[bytes], given: bytes, *, deadline: float, kept: int) -> tuple[bytes, bytes]:
    """Write the input and read both outputs, each as far as its other end takes part."""
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("all three are pipes")
    left = memoryview(given)
    tails = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for pipe in tails:
            selector.register(pipe, selectors.EVENT_READ)
        if left:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        while selector.get_map():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise _TooLate
            ready = selector.select(min(left_s, _LOOK_EVERY_S))
            if not ready and process.poll() is not None:
                break  # what it has left behind, such as ssh's master, may keep its outputs open
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    left = _write_some(process.stdin, left)
                    is_over = not left
                else:
                    is_over = not _read_some(key.fd, tails[key.fileobj], kept)  # type: ignore[index]  # one of both outputs
                if is_over:
                    selector.unregister(key.fileobj)
                    if key.fileobj is process.stdin:
                        _close(process.stdin)
    _wait_until(process, deadline)
    return bytes(tails[process.stdout]), bytes(tails[process.stderr])


def _write_some(pipe: IO[bytes], left: memoryview) -> memoryview:
    try:
        return left[os.write(pipe.fileno(), left[:_CHUNK]) :]
    except BrokenPipeError:
        return memoryview(b"")


def _read_some(descriptor: int, tail: bytearray, kept: int) -> bool:
    chunk = os.read(descriptor, _CHUNK)
    tail += chunk
    del tail[: max(0, len(tail) - kept)]
    return bool(chunk)


def _wait_until(process: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise _TooLate from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        process.wait()


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return
