"""What a person gets who installs the package: built from the checkout, put into an empty environment, run from there.

Nothing here uses the network: `make setup` left the dependencies as wheels in .wheelhouse.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pinthesky.model.recording import Item
from pinthesky.version import __version__
from tests.support.house.source import ROOT, project_names

WHEELHOUSE = ROOT / ".wheelhouse"
FOOTAGE = ROOT / "tests" / "footage" / "people.mp4"
INSTALL_S = 180
RUN_S = 150  # the footage lasts a minute and is played at its own pace


def run(*command: object, cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run outside the checkout and without what would let the checkout be imported."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "COV", "PIP_", "VIRTUAL_ENV"))
    }
    environment["PIP_CONFIG_FILE"] = os.devnull
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git would take, so that nothing left in the checkout slips in."""
    source = tmp_path_factory.mktemp("source")
    for name in project_names():
        if not name.startswith(("tests/", "benchmarks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    target = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation")
    result = run(*pip, "--wheel-dir", target, source, cwd=target, timeout=INSTALL_S)
    assert result.returncode == 0, result.stdout + result.stderr
    return next(target.glob("pinthesky-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an empty environment into which only the wheel and its dependencies went."""
    if not WHEELHOUSE.is_dir():
        pytest.skip("no .wheelhouse; `make setup` fills it")
    folder = tmp_path_factory.mktemp("environment")
    result = run(sys.executable, "-m", "venv", folder / "venv", cwd=folder, timeout=INSTALL_S)
    assert result.returncode == 0, result.stderr
    python = folder / "venv" / "bin" / "python"
    offline = ("--no-index", "--find-links", WHEELHOUSE, "--disable-pip-version-check")
    result = run(python, "-m", "pip", "install", *offline, wheel, cwd=folder, timeout=INSTALL_S)
    assert result.returncode == 0, result.stdout + result.stderr
    return python.parent


def test_the_wheel_holds_the_typed_package_and_nothing_else(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert "pinthesky/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"pinthesky", "pitsctl"}


def test_the_wheel_holds_every_module(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    folders = (ROOT / "pinthesky", ROOT / "service" / "pitsctl")
    modules = {path.relative_to(folder.parent).as_posix() for folder in folders for path in folder.rglob("*.py")}
    assert modules <= names


def test_the_installed_program_tells_its_version(installed: Path, tmp_path: Path):
    result = run(installed / "pinthesky", "--version", cwd=tmp_path, timeout=30)
    assert (result.returncode, __version__ in result.stdout) == (0, True), result.stderr


def test_the_installed_daemon_is_not_the_checkout(installed: Path, tmp_path: Path):
    program = "import pinthesky; print(pinthesky.__file__)"
    where = run(installed / "python", "-c", program, cwd=tmp_path, timeout=30).stdout
    assert where.startswith(str(installed.parent))


@pytest.mark.timeout(RUN_S + 2 * INSTALL_S)
def test_the_installed_daemon_makes_clips_of_real_video(installed: Path, tmp_path: Path):
    for name in ("event-input.json", "configure-output.json"):
        (tmp_path / name).touch()
    files = {
        f"--{name}": tmp_path / f"{name}.json"
        for name in ("event-input", "event-output", "configure-input", "configure-output")
    }
    flags = {"--camera": FOOTAGE, "--thing-name": "demo", "--rotation": 0, "--health-interval": 3600}
    folders = {"--state-dir": tmp_path / "state", "--spool-dir": tmp_path / "spool"}
    command = [part for pair in {**flags, **folders, **files}.items() for part in pair]
    result = run(installed / "pinthesky", *command, cwd=tmp_path, timeout=RUN_S)
    assert result.returncode == 0, result.stdout + result.stderr
    clips = sorted((tmp_path / "spool" / "ready").glob("*.mp4"))
    assert clips, result.stdout
    items = [Item.decode(clip.with_name(f"{clip.name}.json").read_bytes()) for clip in clips]
    assert {item.kind for item in items} == {"clip"}
