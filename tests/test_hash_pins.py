"""What goes onto a Pi is pinned by hash, the pins fit setup.py, and pip installs exactly them."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys

import pytest

from pinthesky.machine import pinned, shipped
from tests.support.house.source import ROOT
from tools import hash_pins, prepare
from tools.hash_pins import CannotPin, Pin, Target

WHEELHOUSE = ROOT / ".wheelhouse"
LISTS = runpy.run_path(str(ROOT / "setup.py"))
ARM64 = Target("arm64", "3.11")
ARMHF = Target("armhf", "3.11")
HERE = Target(pinned.architecture_here() or "", f"{sys.version_info[0]}.{sys.version_info[1]}")
HERE_CTL = Target(HERE.architecture, HERE.python, for_pitsctl=True)


def names(target: Target) -> set[str]:
    return {pin.name for pin in hash_pins.read(target)}


def entry(
    name: str, *needs: str, requested: bool = False, url: str = "https://index.example/a.whl"
) -> dict[str, object]:
    """One library as pip's report has it."""
    return {
        "metadata": {"name": name, "version": "1.0", "requires_dist": list(needs)},
        "download_info": {"url": url, "archive_info": {"hashes": {"sha256": "ab" * 32}}},
        "requested": requested,
    }


def test_the_lists_fit_setup_py(capsys):
    assert hash_pins.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("target", hash_pins.TARGETS, ids=lambda target: target.path.stem)
def test_a_list_says_nothing_of_where_its_files_come_from(target: Target):
    text = target.path.read_text(encoding="utf-8")
    assert "://" not in text
    assert "-url" not in text


def test_the_lists_travel_in_the_wheel():
    assert {target.path.parent for target in hash_pins.TARGETS} == {shipped.folder_of("requirements")}
    assert LISTS["SHIPPED"]["share/pinthesky/requirements"] == "service/requirements"


def test_a_64_bit_pi_gets_video_and_the_device_client():
    assert {"av", "awscrt", "awsiotsdk", "numpy"} <= names(ARM64)


def test_a_32_bit_pi_gets_neither_and_is_told_where_the_others_come_from():
    assert names(ARMHF).isdisjoint({"av", "awscrt", "awsiotsdk", "numpy", "msgspec"})
    sources = {one.requirement.partition(">")[0]: one.debian_package for one in pinned.elsewhere("armhf", "3.11")}
    assert sources == {"numpy": "python3-numpy", "msgspec": None}


def test_pitsctl_on_a_pi_is_pinned_too():
    pitsctl = names(Target("arm64", "3.11", for_pitsctl=True))
    assert {"cryptography", "pyyaml", "textual", "zeroconf"} <= pitsctl
    assert "awscrt" not in pitsctl


def test_numpy_fits_the_camera_library_of_debian_12():
    version = next(pin.version for pin in hash_pins.read(ARM64) if pin.name == "numpy")
    assert version.startswith("1.")


@pytest.mark.skipif(not HERE.path.is_file(), reason="no list is made for this machine's Python")
@pytest.mark.parametrize("target", [HERE, HERE_CTL], ids=["camera", "pitsctl"])
def test_pip_installs_the_list_by_its_hashes_alone(target: Target, tmp_path):
    report = tmp_path / "report.json"
    offline = ["--no-index", "--find-links", str(WHEELHOUSE), "--only-binary=:all:", "--require-hashes"]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    command += [*offline, "--report", str(report), "--requirement", str(target.path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr
    taken = {part["metadata"]["name"].lower().replace("_", "-") for part in json.loads(report.read_text())["install"]}
    assert taken == names(target)


def test_setup_fetches_what_the_lists_pin():
    both = {
        f"{pin.name}=={pin.version}"
        for target in (HERE, HERE_CTL)
        if target.path.is_file()
        for pin in hash_pins.read(target)
    }
    assert set(prepare.pinned_versions()) == both


def test_a_system_that_is_not_linux_has_no_list(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert pinned.architecture_here() is None


# What makes and checks the lists


@pytest.fixture
def one_list(tmp_path, monkeypatch):
    """A folder of lists in which only that of ARM64 counts; returns what writes it."""
    monkeypatch.setattr(hash_pins, "FOLDER", tmp_path)
    monkeypatch.setattr(hash_pins, "TARGETS", (ARM64,))

    def write(*pins: Pin, more: str = "") -> None:
        ARM64.path.write_text(hash_pins.written(ARM64, pins) + more, encoding="utf-8")

    return write


def needs(**lists: list[str]) -> dict[str, list[str]]:
    return {"DEVICE": [], "VIDEO": [], "CLOUD": [], "CLIENT": [], "CTL": [], **lists}


def test_a_missing_list_is_found(one_list):
    assert hash_pins.complaints(ARM64, needs()) == ["arm64-python3.11.txt is missing"]


def test_a_requirement_that_is_not_pinned_is_found(one_list):
    one_list(Pin("six", "1.17.0", "ab" * 32))
    assert hash_pins.complaints(ARM64, needs(CLOUD=["boto3>=1"])) == ["arm64-python3.11.txt: boto3>=1 is not pinned"]


def test_a_pin_outside_the_range_is_found(one_list):
    one_list(Pin("numpy", "2.1.0", "ab" * 32))
    assert hash_pins.complaints(ARM64, needs(DEVICE=["numpy>=1.24,<3"])) == [
        "arm64-python3.11.txt: numpy 2.1.0 is not numpy<2,<3,>=1.24"
    ]


@pytest.mark.parametrize("more", ["six==1.17.0\n", "-r other.txt\n", "boto3\n"])
def test_a_list_with_anything_but_pins_is_refused(one_list, more):
    one_list(Pin("six", "1.17.0", "ab" * 32), more=more)
    with pytest.raises(CannotPin, match="more than pins"):
        hash_pins.read(ARM64)


def test_a_list_that_no_machine_needs_is_found(one_list, tmp_path, capsys):
    (tmp_path / "old.txt").touch()
    assert hash_pins.strangers() == ["old.txt: no machine needs it"]
    assert hash_pins.main(["--check"]) == 1
    assert "old.txt" in capsys.readouterr().err


def test_a_marker_is_read_as_the_other_machine_would():
    lists = needs(VIDEO=['av>=15; platform_machine == "aarch64"'])
    assert [str(one) for one in hash_pins.wanted(ARM64, lists)] == ["av>=15"]
    assert hash_pins.wanted(ARMHF, lists) == []


def test_a_file_that_is_not_from_the_index_is_refused():
    entries = [entry("a", requested=True), entry("b", requested=True, url="file:///somewhere/b.whl")]
    with pytest.raises(CannotPin, match="not all files come from one index"):
        hash_pins.pins_of(ARM64, entries)


def test_what_only_the_other_machine_needs_is_missed():
    entries = [entry("a", "b>=1; platform_machine == 'aarch64'", requested=True)]
    with pytest.raises(CannotPin, match=r"\['b'\]"):
        hash_pins.pins_of(ARM64, entries)


def test_a_report_becomes_a_list_that_is_read_as_it_was_written(one_list):
    pins = hash_pins.pins_of(ARM64, [entry("A_b", "c", requested=True), entry("c")])
    one_list(*pins)
    assert hash_pins.read(ARM64) == pins == [Pin("a-b", "1.0", "ab" * 32), Pin("c", "1.0", "ab" * 32)]


def test_pip_that_cannot_resolve_is_quoted(one_list, monkeypatch, capsys):
    monkeypatch.setattr(hash_pins, "wanted", lambda *_: ["./no-such-wheel.whl"])
    assert hash_pins.main([]) == 1
    assert "no-such-wheel" in capsys.readouterr().err


@pytest.mark.parametrize(
    "said, bits, name",
    [
        ("aarch64", 64, "arm64"),
        ("aarch64", 32, "armhf"),
        ("armv6l", 32, "armhf"),
        ("x86_64", 64, "amd64"),
        ("amd64\n", 64, "amd64"),
        ("riscv64", 64, None),
    ],
)
def test_machines_are_named_by_what_their_programs_are_made_for(said: str, bits: int, name: str | None):
    assert pinned.architecture_named(said, bits=bits) == name
