"""What travels to the machine: the wheel of this very package, however it was installed here."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pinthesky.errors import InvalidInput
from pinthesky.version import __version__
from pitsctl.dev_builds import fitting, numbered
from pitsctl.parcel import Parcel, _made_again, parcel
from tests.support.house.source import ROOT
from tests.support.pretend_root import made_up_parcel


@pytest.fixture(scope="module")
def built() -> Parcel:
    return parcel()


def test_a_checkout_s_wheel_is_the_same_every_time(built: Parcel):
    again = parcel()
    assert (again.version, again.sha256) == (__version__, built.sha256)


def test_it_holds_units_handlers_and_pinned_versions(built: Parcel):
    assert built.files("systemd")["pinthesky.service"] == (ROOT / "service/systemd/pinthesky.service").read_bytes()
    assert built.files("handlers")["reboot"] == (ROOT / "service/handlers/reboot").read_bytes()
    assert b"--hash=sha256:" in (built.requirements("arm64", "3.11") or b"")
    assert built.requirements("riscv64", "3.11") is None


def test_an_installed_package_gives_the_wheel_that_it_came_from(built: Parcel, tmp_path: Path):
    (tmp_path / built.name).write_bytes(built.data)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(python.parents[1])], check=True, timeout=120)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(tmp_path / built.name)], check=True, timeout=120)
    from importlib.metadata import Distribution

    folder = next(python.parents[1].glob("lib/*/site-packages/pinthesky-*.dist-info"))
    again = _made_again(Distribution.at(folder))
    assert _made_again(Distribution.at(folder)) == again, "the same every time"
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / built.name
    path.write_bytes(again)
    with zipfile.ZipFile(tmp_path / built.name) as before, zipfile.ZipFile(path) as after:
        names = set(before.namelist())
        assert set(after.namelist()) == names
        assert all(before.read(name) == after.read(name) for name in names if not name.endswith("/RECORD"))
    subprocess.run([*pip, "--force-reinstall", str(path)], check=True, timeout=120)
    told = subprocess.run([python, "-c", "import pitsctl.places"], check=False, timeout=60)
    assert told.returncode == 0


def test_a_numbered_build_is_a_wheel_that_pip_takes_and_says_its_number(built: Parcel, tmp_path: Path):
    made = numbered(built, 7)
    assert made.version == f"{__version__}+b0007"
    assert numbered(built, 7).sha256 == made.sha256
    (tmp_path / made.name).write_bytes(made.data)
    target = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(tmp_path / "there")]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *target, str(tmp_path / made.name)], check=True, timeout=120
    )
    told = subprocess.run(
        [sys.executable, "-c", "import pinthesky.version as v; print(v.__version__)"],
        cwd=tmp_path / "there",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout == f"{made.version}\n"


def test_which_number_a_build_gets_depends_on_what_the_machine_has():
    one, other = made_up_parcel("1.0.0.dev0"), made_up_parcel("1.0.0.dev0", also={"x": b"y"})
    release = made_up_parcel("1.0.0")
    assert fitting(one, {}) is one
    assert fitting(one, {one.version: one.sha256}) is one
    assert fitting(release, {"1.0.0": "0"}) is release
    first = fitting(other, {one.version: one.sha256})
    assert first.version == "1.0.0.dev0+b0001"
    there = {one.version: one.sha256, first.version: first.sha256}
    assert fitting(other, there).sha256 == first.sha256
    third = made_up_parcel("1.0.0.dev0", also={"x": b"z"})
    assert fitting(third, there).version == "1.0.0.dev0+b0002"
    assert fitting(third, {first.version: first.sha256}).version == "1.0.0.dev0+b0002", "the first is gone by then"


def test_a_wheel_that_is_named_is_taken(tmp_path: Path):
    made = made_up_parcel("2.0.0")
    (tmp_path / "some.whl").write_bytes(made.data)
    taken = parcel(tmp_path / "some.whl")
    assert (taken.name, taken.version) == ("pinthesky-2.0.0-py3-none-any.whl", "2.0.0")
    assert taken.sha256 == hashlib.sha256(made.data).hexdigest()


def test_what_is_no_wheel_of_ours_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("other-1.0.dist-info/METADATA", "Name: other\nVersion: 1.0\n")
    (tmp_path / "text.whl").write_text("text")
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    for name, said in (
        ("other.whl", "no wheel of pinthesky"),
        ("empty.whl", "no wheel of pinthesky"),
        ("text.whl", "cannot be read as a wheel"),
        ("nothing.whl", "No such file"),
    ):
        with pytest.raises(InvalidInput, match=said):
            parcel(tmp_path / name)


def test_a_wheel_that_the_root_helper_would_not_take_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pitsctl.parcel.WHEEL_MAX", 10)
    with pytest.raises(InvalidInput, match="larger than 10 bytes"):
        Parcel.of("a.whl", b"x" * 11)
