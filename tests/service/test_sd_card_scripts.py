"""What a prepared card does at its first start, in a root folder of its own, with apt, systemd and pip stood in for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.house.source import ROOT

SCRIPTS = ROOT / "service" / "sd-card"
UNIT = "pinthesky-first-boot.service"
WHEEL = "pinthesky-1.2.3-py3-none-any.whl"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

# Makes environments whose pip puts a small pitsctl in place; everything else is the real Python.
FAKE_PYTHON = f"""#!/bin/sh
echo "python3 $*" >>"$CALLS"
if [ "$1" = -c ] && [ "${{NO_VENV:-}}" = yes ] && [ "${{2#*ensurepip}}" != "$2" ]; then exit 1; fi
if [ "$1" = -c ] && [ "${{OLD:-}}" = yes ]; then exit 1; fi
if [ "$1" = -m ] && [ "$2" = venv ]; then
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    exit 0
fi
if [ "$1" = -m ] && [ "$2" = pip ]; then
    [ "${{NO_NETWORK:-}}" != yes ] || {{ echo "no network"; exit 2; }}
    case $* in *--no-deps*) cp "$FAKES/pitsctl" "${{0%python}}pitsctl" ;; esac
    exit 0
fi
exec {sys.executable} "$@"
"""
FAKE_PITSCTL = """#!/bin/sh
echo "pitsctl $*" >>"$CALLS"
case $1 in
register) echo "Let the camera in: type BCDF-GHJK at https://hub.local:8443" ; exit "${REGISTER:-0}" ;;
install) echo "Done: version, services." ; exit 0 ;;
esac
"""
FAKE_OTHER = '#!/bin/sh\necho "${0##*/} $*" >>"$CALLS"\n'


class Pi:
    """A root folder with a card's boot partition in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.boot = self.root / "boot" / "firmware" / "pinthesky"
        self.state = self.root / "var" / "lib" / "pinthesky-first-boot"
        self.calls_file = folder / "calls.txt"
        fakes = folder / "bin"
        fakes.mkdir()
        for name, text in (
            ("python3", FAKE_PYTHON),
            ("pitsctl", FAKE_PITSCTL),
            ("systemctl", FAKE_OTHER),
            ("apt-get", FAKE_OTHER),
            ("sync", FAKE_OTHER),
        ):
            (fakes / name).write_text(text)
            (fakes / name).chmod(0o755)
        self.environment = {
            "PATH": f"{fakes}:/usr/bin:/bin",
            "PINTHESKY_ROOT": str(self.root),
            "CALLS": str(self.calls_file),
            "FAKES": str(fakes),
        }
        self.boot.mkdir(parents=True)
        for name in ("begin.sh", "first-boot.sh", UNIT):
            shutil.copy(SCRIPTS / name, self.boot / name)
        (self.boot / "answers.yaml").write_text("home: {kind: hub}\n")
        with zipfile.ZipFile(self.boot / WHEEL, "w") as wheel:
            wheel.write(ROOT / "pinthesky" / "machine" / "pinned.py", "pinthesky/machine/pinned.py")
            wheel.writestr(
                f"pinthesky-1.2.3.data/data/share/pinthesky/requirements/amd64-python{PYTHON}-pitsctl.txt", "pins\n"
            )

    def begin(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(self.boot / "begin.sh", *arguments)

    def first_boot(self, **told: str) -> subprocess.CompletedProcess[str]:
        return self._run(self.state / "first-boot.sh", **told)

    def _run(self, script: Path, *arguments: str, **told: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", script, *arguments],
            env={**self.environment, **told},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    @property
    def log(self) -> str:
        return (self.boot / "log.txt").read_text()


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


@pytest.fixture
def begun(pi: Pi) -> Pi:
    """After its very first start."""
    assert pi.begin().returncode == 0
    return pi


def test_the_shell_around_the_package_is_sound():
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed")
    scripts = [path for folder in ("", "container", "sd-card") for path in (ROOT / "service" / folder).glob("*.sh")]
    assert len(scripts) == 6
    result = subprocess.run([program, *scripts], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout


def test_systemd_finds_nothing_wrong_with_the_unit():
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    result = subprocess.run(
        [program, "verify", SCRIPTS / UNIT], capture_output=True, text=True, check=False, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "")


needs_the_list = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the wheel of these tests has the list of x86-64 machines only"
)


def test_the_first_start_puts_a_service_in_place_and_does_nothing_else(begun: Pi):
    assert (begun.root / "etc" / "systemd" / "system" / UNIT).read_text() == (SCRIPTS / UNIT).read_text()
    assert begun.calls == ["sync ", "systemctl daemon-reload", f"systemctl enable {UNIT}"]
    assert {path.name for path in begun.state.iterdir()} == {WHEEL, "first-boot.sh", "answers.yaml", "boot-folder"}
    assert begun.state.stat().st_mode & 0o777 == 0o700


def test_cloud_init_starts_the_service_at_once(pi: Pi):
    assert pi.begin("now").returncode == 0
    assert pi.calls[-1] == f"systemctl start --no-block {UNIT}"


def test_a_card_that_is_done_is_left_alone(begun: Pi):
    (begun.state / "done").touch()
    begun.calls_file.unlink()
    assert begun.begin("now").returncode == 0
    assert begun.first_boot().returncode == 0
    assert begun.calls == []


@needs_the_list
def test_the_camera_registers_itself_is_installed_and_the_service_goes(begun: Pi):
    finished = begun.first_boot()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    answers = f"--answers {begun.state}/answers.yaml"
    assert [call for call in begun.calls if call.startswith("pitsctl")] == [
        f"pitsctl register {answers}",
        f"pitsctl install {answers} --yes",
    ]
    assert begun.calls[-1] == f"systemctl disable {UNIT}"
    assert {path.name for path in begun.state.iterdir()} == {"first-boot.sh", "answers.yaml", "boot-folder", "done"}


@needs_the_list
def test_what_is_installed_is_pinned_by_the_wheels_own_list(begun: Pi):
    begun.first_boot(REGISTER="3")
    assert (begun.state / "requirements.txt").read_text() == "pins\n"
    pips = [call for call in begun.calls if "-m pip" in call]
    assert f"--require-hashes --only-binary=:all: --requirement {begun.state}/requirements.txt" in pips[0]
    assert f"install --no-deps --no-index {begun.state}/{WHEEL}" in pips[1]


@needs_the_list
def test_the_code_is_shown_in_the_log_and_on_the_card(begun: Pi):
    finished = begun.first_boot()
    assert "type BCDF-GHJK at https://hub.local:8443" in finished.stdout
    assert "type BCDF-GHJK at https://hub.local:8443" in begun.log
    assert "Done: this is a camera now" in begun.log


@needs_the_list
def test_a_code_that_nobody_typed_is_followed_by_another_without_a_new_environment(begun: Pi):
    assert begun.first_boot(REGISTER="1").returncode == 1
    begun.calls_file.unlink()
    assert begun.first_boot().returncode == 0
    assert not [call for call in begun.calls if "-m venv" in call]


@needs_the_list
def test_without_a_network_it_is_tried_again(begun: Pi):
    finished = begun.first_boot(NO_NETWORK="yes")
    assert finished.returncode == 1
    assert "no network" in begun.log
    assert "once more in a minute" in begun.log
    assert begun.first_boot().returncode == 0


@needs_the_list
def test_a_missing_part_of_python_is_installed_first(begun: Pi):
    assert begun.first_boot(NO_VENV="yes").returncode == 0
    assert [call for call in begun.calls if call.startswith("apt-get")] == [
        "apt-get -q -y -o DPkg::Lock::Timeout=600 update",
        "apt-get -q -y -o DPkg::Lock::Timeout=600 install python3-venv",
    ]


def test_a_system_that_is_too_old_is_said_once_and_not_tried_again(begun: Pi):
    finished = begun.first_boot(OLD="yes")
    assert finished.returncode == 2
    assert "older than 3.11" in begun.log
    assert "RestartPreventExitStatus=2" in (SCRIPTS / UNIT).read_text()


def test_a_machine_without_pinned_libraries_is_told_what_to_do_instead(begun: Pi):
    with zipfile.ZipFile(begun.state / WHEEL, "w") as wheel:
        wheel.write(ROOT / "pinthesky" / "machine" / "pinned.py", "pinthesky/machine/pinned.py")
    finished = begun.first_boot()
    assert finished.returncode == 2
    assert "with pitsctl from a workstation" in begun.log


@needs_the_list
def test_a_card_that_cannot_be_written_any_more_is_no_reason_to_stop(begun: Pi):
    shutil.rmtree(begun.boot)
    assert begun.first_boot().returncode == 0


@needs_the_list
def test_the_log_on_the_card_does_not_grow_for_ever(begun: Pi):
    (begun.boot / "log.txt").write_text("x" * 100_001)
    assert begun.first_boot().returncode == 0
    assert len(begun.log) == 100_001
