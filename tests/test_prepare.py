"""What `make setup` says to a person who has to do something first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tools import prepare

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def ordinary_user(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Somebody on Debian who is neither root nor in sudoers; the set names the programs that are installed."""
    installed = {"apt-get"}
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in installed else None)
    return installed


def test_who_may_not_install_is_told_the_exact_command_and_goes_on(ordinary_user, capsys):
    prepare.want_programs()
    said = capsys.readouterr().out
    assert (
        "sudo apt-get update && sudo apt-get install --no-install-recommends shellcheck motion mosquitto chromium"
        in said
    )
    assert "make check and make bench and make run and make test and make test will stop until you run" in said


def test_what_is_there_is_not_asked_for(ordinary_user, capsys):
    ordinary_user |= {"shellcheck", "motion", "mosquitto", "chromium"}
    prepare.want_programs()
    assert capsys.readouterr().out == ""


def test_who_is_not_root_is_told_which_tests_are_left_out(ordinary_user, capsys):
    prepare.want_systemd_tests()
    assert "on a systemd of their own are left out: they need root" in capsys.readouterr().out


def test_root_without_apt_is_told_what_the_tests_on_systemd_need(ordinary_user, monkeypatch, capsys):
    ordinary_user.clear()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    prepare.want_systemd_tests()
    said = capsys.readouterr().out
    assert "left out until you run" in said
    assert {"dbus", "openssh-server", "passwd", "util-linux"} <= set(said.split())


def test_root_has_what_the_tests_on_systemd_need_installed(ordinary_user, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    installed: list[str] = []

    def install(packages: list[str]) -> bool:
        installed.extend(packages)
        return True

    monkeypatch.setattr(prepare, "install_debian_packages", install)
    ordinary_user |= {*prepare.SYSTEMD_PROGRAMS} - {"systemd-analyze"}
    prepare.want_systemd_tests()
    assert "systemd" in installed


def test_a_python_that_cannot_make_environments_is_named(ordinary_user, monkeypatch):
    failed: subprocess.CompletedProcess[str] = subprocess.CompletedProcess([], returncode=1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(prepare.CannotPrepare, match=f"sudo apt-get install .* python{PYTHON}-venv"):
        prepare.need_venv_module()


def test_a_system_without_apt_is_told_what_to_install(ordinary_user):
    ordinary_user.clear()
    assert prepare.by_hand(["motion"]) == "install with your system's package manager: motion"


def test_a_python_that_is_too_old_is_refused(monkeypatch):
    monkeypatch.setattr(prepare, "OLDEST_MAIN", (99, 0))
    with pytest.raises(prepare.CannotPrepare, match="is needed, this is"):
        prepare.prepare()


def test_a_python_is_found_on_the_path_only_if_it_is_what_its_name_says(tmp_path, monkeypatch):
    impostor = tmp_path / "python3.9"
    impostor.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert shutil.which("python3.9") == str(impostor)
    assert prepare.find_python("3.9") is None


def test_a_failing_step_shows_its_command_and_what_it_said():
    with pytest.raises(prepare.CannotPrepare, match=r"exit code 3:[\s\S]*no such luck"):
        prepare.run(sys.executable, "-c", "print('no such luck'); raise SystemExit(3)")
