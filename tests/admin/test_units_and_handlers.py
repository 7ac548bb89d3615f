"""What can be said of units and handlers without starting them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pinthesky.admin import command
from tests.support.house.source import ROOT

UNITS = ROOT / "service" / "systemd"
OURS = ("pinthesky.service", "pits-device-client.service", "pinthesky-admin@.service", "pinthesky-upgrade.service")
HANDLERS = sorted((ROOT / "service" / "handlers").iterdir())
EXPOSURE_MAX = {"pinthesky.service": 2.5, "pits-device-client.service": 2.0, "pinthesky-admin@.service": 1.5}
"""As `systemd-analyze security` counts: 0 is exposed to nothing, 10 to everything."""


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path):
    for path in UNITS.iterdir():
        if "hub" not in path.name:
            (tmp_path / path.name).write_text(re.sub(r"(?m)^(ExecStart=)\S+", r"\1/bin/true", path.read_text()))
    result = analyze("verify", *(str(path) for path in sorted(tmp_path.iterdir())))
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("unit", OURS)
def test_each_unit_is_exposed_to_little(unit: str):
    result = analyze("security", "--offline=true", str(UNITS / unit))
    found = re.search(r"exposure level for \S+: ([\d.]+)", result.stdout)
    assert found is not None, result.stderr
    assert float(found[1]) <= EXPOSURE_MAX.get(unit, 2.6)


def test_the_daemon_keeps_its_camera():
    unit = (UNITS / "pinthesky.service").read_text()
    assert not re.search(r"(?m)^(PrivateDevices|ProtectClock|DeviceAllow|DevicePolicy)=", unit)
    assert "SupplementaryGroups=video" in unit


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda path: path.name)
def test_a_handler_asks_the_root_helper_and_does_nothing_else(handler: Path):
    text = handler.read_text()
    words = re.search(r"bin/pinthesky-admin ([a-z-]+)", text)
    assert words is not None
    verbs = command.parser()._subparsers._group_actions[0].choices
    assert words[1] in verbs
    assert os.access(handler, os.X_OK)
    assert "sudo" not in text


def test_the_shell_of_the_handlers_is_sound():
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed")
    result = subprocess.run([program, *map(str, HANDLERS)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
