"""The wizard in a real terminal, driven by its keys."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.support.terminal import DEADLINE_S, Terminal, terminal

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")

PROGRAM = f"{sys.executable} -m tests.support.made_up_installer"
# What a shell finds when the wizard is gone: exit code, and a terminal that echoes, edits lines and hears Ctrl-C.
MODES = 'stty -a | tr " " "\\n" | grep -xE "icanon|echo|isig" | xargs'


def and_then(program: str) -> str:
    """The program, and behind it what a person's shell would meet."""
    return f"{program}; echo code=$?; {MODES}; read line"


def go_on(window: Terminal, *titles: str) -> None:
    for title in titles:
        window.press("Enter")
        window.see(f"▸ {title}")


def check_sane(window: Terminal, code: int) -> str:
    return window.see(f"code={code}", "isig icanon echo")


def test_a_whole_pass_at_80_columns_with_all_that_is_asked_and_a_lost_connection(tmp_path: Path):
    with terminal(tmp_path, and_then(f"{PROGRAM} lost")) as window:
        window.see("▸ Host", "pi@camera.local", "Enter Continue")
        window.press("Enter")
        window.see("Is this pi@camera.local?")
        window.press("Right", "Enter")
        window.see("Raspberry Pi Zero 2 W", "PgDn More")
        go_on(window, "Home")
        window.press("Enter")
        window.see("PinTheSky in eu-central-1")
        go_on(window, "Cloud names", "Storage", "Camera", "CloudWatch", "Data plane", "Paths")
        window.press("Enter")
        window.see("Password of pi on camera.local")
        window.type("secret")
        window.see("••••••")
        window.press("Enter")
        screen = window.see("+ will do  Install Debian packages", "[ Install ]")
        assert max(map(len, screen.splitlines())) <= 80
        window.press("Enter")
        window.see("The connection was lost while: Install pinthesky 1.0.0.", "[ Go on ]")
        window.press("Enter")
        window.see("The camera is set up")
        window.press("Enter")
        said = check_sane(window, 0)
        assert "https://hub.local:8443" in said
        assert "▸" not in said, "the wizard's screen is gone"
        assert "secret" not in said


def test_leaving_a_step_at_once_says_what_was_done_and_leaves_a_sane_terminal(tmp_path: Path):
    with terminal(tmp_path, and_then(f"{PROGRAM} held"), size=(120, 40)) as window:
        window.see("▸ Host", "Enter Continue")
        window.press("Enter")
        window.see("Model")
        go_on(window, "Home")
        window.see("https://cellar.local:8443")
        window.press("Enter")
        window.see("Hub  ")
        go_on(window, "Storage", "Camera", "Data plane", "Paths", "Review")
        window.see("[ Install ]")
        window.press("Enter")
        window.see("▸ works    Install pinthesky 1.0.0")
        window.resize(80, 24)
        window.see("2 of 5 done.", "[ Stop after this step ]")
        window.press("C-c")
        window.see("Leave at once")
        window.press("C-c")
        said = check_sane(window, 130)
        assert "2 of 5 steps are done, the last of them: Install Debian packages." in said
        assert "pitsctl install --host pi@camera.local" in said


def test_a_terminal_that_goes_away_ends_the_program(tmp_path: Path):
    with terminal(tmp_path, f"exec {PROGRAM} hangs") as window:
        window.see("▸ Host", "Enter Continue")
        window.press("Enter")
        window.see("Looking at pi@camera.local")
        process = Path(f"/proc/{window.pid}")
        window.tmux("kill-session")
        deadline = time.monotonic() + DEADLINE_S
        while process.exists():
            assert time.monotonic() < deadline, "it is still there"
            time.sleep(0.05)


def test_a_terminal_that_cannot_draw_gets_prompts(tmp_path: Path):
    with terminal(tmp_path, and_then(f"TERM=dumb {PROGRAM} plain")) as window:
        window.see("Host [pi@camera.local]:")
        window.press("C-c")
        said = check_sane(window, 130)
        assert "Left before anything was changed." in said
