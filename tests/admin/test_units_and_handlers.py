"""What can be said of units and handlers without starting them."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from pinthesky.admin import command
from tests.support.house.source import ROOT
from tests.support.small_wheels import build_wheel

DOCUMENT = ROOT / "docs" / "reference" / "admin.md"
UNITS = ROOT / "service" / "systemd"
HANDLERS = sorted((ROOT / "service" / "handlers").iterdir())
EXPOSURE_MAX = {
    "pinthesky.service": 2.1,
    "pits-device-client.service": 1.6,
    "pits-hub.service": 1.8,
    "pinthesky-admin@.service": 1.4,
    "pinthesky-upgrade.service": 2.5,
}
"""As `systemd-analyze security` counts, 0 to 10, and docs/reference/admin.md says."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path):
    for path in UNITS.iterdir():
        (tmp_path / path.name).write_text(re.sub(r"(?m)^(ExecStart=)\S+", r"\1/bin/true", path.read_text()))
    result = analyze("verify", *(str(path) for path in sorted(tmp_path.iterdir())))
    assert (result.returncode, result.stderr) == (0, "")


def test_every_unit_of_a_service_has_its_figure():
    assert {path.name for path in UNITS.glob("*.service")} == EXPOSURE_MAX.keys()


@pytest.mark.parametrize("unit", EXPOSURE_MAX)
def test_each_unit_is_exposed_to_no_more_than_the_documents_say(unit: str):
    result = analyze("security", "--offline=true", str(UNITS / unit))
    found = re.search(r"exposure level for \S+: ([\d.]+)", result.stdout)
    assert found is not None, result.stderr
    assert float(found[1]) <= EXPOSURE_MAX[unit]
    row = next(line for line in DOCUMENT.read_text().splitlines() if line.startswith("|") and f"`{unit}`" in line)
    assert f"| {EXPOSURE_MAX[unit]} |" in row


def test_the_daemon_keeps_its_camera():
    unit = (UNITS / "pinthesky.service").read_text()
    assert not re.search(r"(?m)^(PrivateDevices|ProtectClock|DeviceAllow|DevicePolicy)=", unit)
    assert "SupplementaryGroups=video" in unit


@pytest.mark.parametrize("handler", [path for path in HANDLERS if path.name != "doctor"], ids=lambda path: path.name)
def test_a_handler_asks_the_root_helper_and_does_nothing_else(handler: Path):
    text = handler.read_text()
    words = re.search(r"bin/pinthesky-admin ([a-z-]+)", text)
    assert words is not None
    # Were it no verb, this would end with an error of the grammar.
    with pytest.raises(SystemExit) as caught:
        command.parser().parse_args([words[1], "--help"])
    assert caught.value.code == 0
    assert "sudo" not in text


@pytest.mark.parametrize(
    "says, code, told",
    [
        ("  ok   clock: right\\n   -   test PUT: no bucket is set\\n", 0, "all is well\n"),
        (
            "  ok   clock: right\\nFAIL   disk: full\\n       → Make room\\n",
            1,
            "FAIL   disk: full\n       → Make room\n",
        ),
    ],
)
def test_the_doctors_handler_tells_what_is_not_well(tmp_path: Path, says: str, code: int, told: str):
    doctor = tmp_path / "pinthesky-doctor"
    doctor.write_text(f"#!/bin/sh\nprintf '{says}'\nexit {code}\n")
    doctor.chmod(0o755)
    text = next(path for path in HANDLERS if path.name == "doctor").read_text()
    handler = tmp_path / "doctor"
    handler.write_text(text.replace("/opt/pinthesky/current/bin", str(tmp_path)))
    result = subprocess.run(["sh", handler, "pinthesky"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (code, told)


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda path: path.name)
def test_a_handler_can_be_run_by_its_owner_in_the_checkout_and_in_the_wheel(handler: Path, wheel: Path):
    assert handler.stat().st_mode & 0o700 == 0o700
    entry = next(
        entry
        for entry in zipfile.ZipFile(wheel).infolist()
        if entry.filename.endswith(f".data/data/share/pinthesky/handlers/{handler.name}")
    )
    assert entry.external_attr >> 16 & 0o700 == 0o700


def test_the_wheel_brings_every_unit(wheel: Path):
    names = {Path(name).name for name in zipfile.ZipFile(wheel).namelist() if "/share/pinthesky/systemd/" in name}
    assert names == {path.name for path in UNITS.iterdir()}


def test_the_shell_of_the_handlers_is_sound():
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed")
    result = subprocess.run([program, *map(str, HANDLERS)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
