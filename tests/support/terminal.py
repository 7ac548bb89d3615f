"""A real terminal: tmux with a server of its own, keys in and the screen out."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.house.source import ROOT

DEADLINE_S = 30.0


class Terminal:
    """One window of tmux."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def tmux(self, *words: str) -> str:
        command = ["tmux", "-f", "/dev/null", "-S", str(self._socket), *words]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def press(self, *keys: str) -> None:
        """Send keys by tmux's names for them."""
        self.tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)

    def resize(self, width: int, height: int) -> None:
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    @property
    def screen(self) -> str:
        """What is on the screen, as text."""
        return self.tmux("capture-pane", "-p")

    @property
    def pid(self) -> int:
        """The process that runs in the window."""
        return int(self.tmux("display-message", "-p", "#{pane_pid}"))

    def see(self, *texts: str, within_s: float = DEADLINE_S) -> str:
        """Wait until all of the texts are on the screen; the screen."""
        deadline = time.monotonic() + within_s
        while not all(text in (screen := self.screen) for text in texts):
            assert time.monotonic() < deadline, f"{texts} never came:\n{screen}"
            time.sleep(0.05)
        return screen


@contextmanager
def terminal(folder: Path, command: str, *, size: tuple[int, int] = (80, 24)) -> Iterator[Terminal]:
    """Run a shell's command in a terminal of its own; everything in it is hung up in the end."""
    window = Terminal(folder / "tmux")
    words = ["new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), "-c", str(ROOT), command]
    clean = {name: value for name, value in os.environ.items() if name not in ("TMUX", "NO_COLOR", "COLORFGBG")}
    subprocess.run(["tmux", "-f", "/dev/null", "-S", str(folder / "tmux"), *words], check=True, env=clean)
    try:
        yield window
    finally:
        subprocess.run(["tmux", "-S", str(folder / "tmux"), "kill-server"], capture_output=True, check=False)
