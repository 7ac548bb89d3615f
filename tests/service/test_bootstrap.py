"""pitsctl comes onto a workstation by one line from a checkout, without root and without harm to what is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pinthesky.version import __version__
from tests.support.house.source import ROOT

WHEELHOUSE = ROOT / ".wheelhouse"
# Says that it is new enough and has all it needs; cannot make an environment.
STUMBLES = '#!/bin/sh\n[ "$1" = -c ] && exit 0\nmkdir -p "$3" && touch "$3/half" && exit 1\n'
TOO_OLD = "#!/bin/sh\nexit 1\n"


class Workstation:
    """A person's home, without a network."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.share = home / ".local" / "share" / "pitsctl"
        self.link = home / ".local" / "bin" / "pitsctl"

    def bootstrap(self, *arguments: str, **told: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(WHEELHOUSE),
            **told,
        }
        command = [str(ROOT / "service" / "bootstrap.sh"), *arguments]
        return subprocess.run(
            command, cwd=self.home, env=environment, capture_output=True, text=True, check=False, timeout=280
        )

    def python(self, text: str) -> str:
        """A program in the place of Python."""
        path = self.home / "a-python"
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def install_another(self) -> Path:
        """What an earlier bootstrap has left."""
        program = self.share / "environment.before" / "bin" / "pitsctl"
        program.parent.mkdir(parents=True)
        program.touch()
        self.link.parent.mkdir(parents=True)
        self.link.symlink_to(program)
        return program


@pytest.fixture
def workstation(tmp_path: Path) -> Workstation:
    return Workstation(tmp_path)


@pytest.mark.soak
def test_one_line_makes_pitsctl_and_again_replaces_it(workstation: Workstation):
    before = workstation.install_another()
    finished = workstation.bootstrap()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert f"pitsctl {__version__} is in {workstation.link}" in finished.stdout
    assert "is not in the PATH of this shell" in finished.stdout
    assert not before.exists()
    said = subprocess.run([workstation.link, "--help"], capture_output=True, text=True, check=False, timeout=60)
    assert "sd-card" in said.stdout
    assert workstation.bootstrap("--remove").returncode == 0
    assert not workstation.share.exists()
    assert not workstation.link.is_symlink()


def test_a_failure_leaves_what_was_there_before(workstation: Workstation):
    before = workstation.install_another()
    finished = workstation.bootstrap(PYTHON=workstation.python(STUMBLES))
    assert finished.returncode != 0
    assert workstation.link.readlink() == before
    assert [path.name for path in workstation.share.iterdir()] == ["environment.before"]


def test_a_python_that_is_too_old_is_said(workstation: Workstation):
    finished = workstation.bootstrap(PYTHON=workstation.python(TOO_OLD))
    assert finished.returncode == 1
    assert "needs Python 3.11 or newer" in finished.stderr


def test_a_pitsctl_of_somebody_else_is_not_touched(workstation: Workstation):
    workstation.link.parent.mkdir(parents=True)
    workstation.link.write_text("mine\n")
    assert "is not from here" in workstation.bootstrap().stderr
    assert workstation.bootstrap("--remove").returncode == 0
    assert workstation.link.read_text() == "mine\n"


def test_it_knows_one_flag(workstation: Workstation):
    finished = workstation.bootstrap("--force")
    assert finished.returncode == 1
    assert "knows --remove, and nothing else" in finished.stderr
