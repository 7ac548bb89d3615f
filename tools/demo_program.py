"""One program of the fleet that `make run` starts: its log goes to a file, and what a person should see is shown."""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TextIO

from pinthesky.machine.log_lines import clean

PROJECT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
"""Where the programs are: beside the Python that runs this."""
LOG_MAX = 5 * 1024 * 1024
LINE_MAX = 4096
SHOWN_LEVELS = ("WARNING", "ERROR", "CRITICAL")
_RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:,\d+)? (?P<level>[A-Z]+) (?P<said>.*)")
_MOTION = re.compile(r"\S+: Motion began ")
_WELCOME_ENDS = "To add a camera"
_KILL_TAKES_S = 5.0
_UNLESS_ORPHAN = '[ "$PPID" = "$0" ] && exec "$@"'
"""Where we are killed, the kernel ends our children for us; but not one that had no time to ask for it before."""


class _LogFile(logging.handlers.RotatingFileHandler):
    """A full disk must not stop the reading, or the program would stand still with its pipe full."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        del record


def say(text: str, to: TextIO | None = None) -> None:
    """Print at once; a terminal that is gone is no reason to leave programs behind."""
    with suppress(OSError, ValueError):
        print(text, file=to or sys.stdout, flush=True)


class Program:
    """A child process in a session of its own, so that Ctrl-C reaches it by way of us alone, in our order."""

    def __init__(self, name: str, command: Sequence[str], logs: Path) -> None:
        self.name = name
        self.log_file = logs / f"{name.replace(' ', '-')}.log"
        self.has_welcomed = False
        """Whether the hub has said where it is."""
        self._command = list(command)
        if (setpriv := shutil.which("setpriv")) is not None:
            self._command[:0] = [setpriv, "--pdeathsig", "TERM", "/bin/sh", "-c", _UNLESS_ORPHAN, str(os.getpid())]
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread(target=self._read, name=f"log-{name}")
        self._unseen: deque[str] = deque(maxlen=3)

    @property
    def exit_code(self) -> int | None:
        """How it has ended (negative: by which signal); None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it. Raises OSError."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader.start()

    def ask_to_end(self) -> None:
        """SIGTERM, as systemd sends it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self, deadline: float) -> bool:
        """Wait until it has ended, till `deadline` (monotonic); what then is left is killed. False where it was."""
        process = self._process
        if process is None:
            return True
        ended = True
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            ended = False
        # Its session is its own, so this reaches what it may have left behind and nothing else.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_KILL_TAKES_S)
        self._reader.join(_KILL_TAKES_S)
        return ended

    def epitaph(self, log: str) -> str:
        """How it has ended, for a person."""
        code = self.exit_code
        if code is None:
            return f"{self.name} did not get ready in time; its log: {log}"
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        last = "".join(f"\n  {line}" for line in self._unseen)
        return f"{self.name} has ended {how}, and everything with it. The end of {log}:{last}"

    def _read(self) -> None:
        """Until nobody can write any more."""
        file = _LogFile(self.log_file, maxBytes=LOG_MAX, backupCount=1, encoding="utf-8")
        for line in _lines(None if self._process is None else self._process.stdout):
            file.handle(logging.makeLogRecord({"msg": line}))
            if not self._show(line):
                self._unseen.append(line)
        file.close()

    def _show(self, line: str) -> bool:
        """Show what a person should see. False for what stays in the log."""
        record = _RECORD.fullmatch(line)
        if record is None:
            # No record of a log: the hub's welcome, or what a program says that cannot start.
            say(line if self.name == "hub" else f"{self.name}: {line}")
            if line.startswith(_WELCOME_ENDS):
                self.has_welcomed = True
        elif record["level"] in SHOWN_LEVELS:
            say(f"{self.name}: {record['level']} {record['said']}")
        elif _MOTION.match(record["said"]) is not None:
            say(f"{time.strftime('%H:%M:%S')}  {self.name:<6} motion begins")
        else:
            return False
        return True


def _lines(stream: IO[bytes] | None) -> Iterator[str]:
    while stream is not None and (line := stream.readline(LINE_MAX)):
        yield clean(line.decode("utf-8", "replace").rstrip("\r\n"))
