"""Versions, their order, their folders and their links."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.admin.versions import Versions
from pinthesky.errors import InvalidInput, InvariantBroken
from pinthesky.model.versions import check_version, order_of
from pinthesky.version import __version__

IN_ORDER = [
    "0.9",
    "1.0.0.dev0",
    "1.0.0.dev1",
    "1.0a1.dev1",
    "1.0.0a1",
    "1.0.0b2",
    "1.0.0rc1",
    "1.0.0",
    "1.0.0+local.1",
    "1.0.0.post1.dev1",
    "1.0.0.post1",
    "1.0.1",
    "1.2",
    "1.10",
    "2",
]


def test_versions_are_ordered_as_packages_are():
    assert sorted(set(IN_ORDER), key=order_of) == IN_ORDER
    assert order_of("1.0") == order_of("1.0.0")
    assert order_of(__version__) < order_of("9999")


@pytest.mark.parametrize("text", ["", "current", "1.0/../x", "..", "1.0\n", "v1", "1." * 40 + "1", "1.0 ", "-1"])
def test_what_is_no_version_names_no_folder(tmp_path: Path, text: str):
    for use in (check_version, order_of, Versions(tmp_path).folder_of):
        with pytest.raises(InvalidInput):
            use(text)


@given(st.text(max_size=40))
def test_a_version_is_always_the_bare_name_of_a_folder(text: str):
    try:
        name = check_version(text)
    except InvalidInput:
        return
    assert Path("/opt/pinthesky", name).resolve().parent == Path("/opt/pinthesky")


def test_a_link_that_leads_elsewhere_is_a_broken_invariant(tmp_path: Path):
    (tmp_path / "current").symlink_to("/etc")
    (tmp_path / "steady").mkdir()
    for link in ("current", "steady"):
        with pytest.raises(InvariantBroken):
            Versions(tmp_path).pointed_at(link)


def test_what_an_installation_left_half_made_goes_and_what_is_whole_or_linked_stays(tmp_path: Path):
    versions = Versions(tmp_path)
    for name in ("1.0", "1.1", "1.2", "jobs"):
        (tmp_path / name).mkdir()
    versions.complete("1.0", "a" * 64)
    versions.point("current", "1.1")
    versions.point("current", "1.1")
    versions.remove_unfinished()
    assert (versions.present(), versions.wheel_of("1.0"), versions.wheel_of("1.1")) == (["1.0", "1.1"], "a" * 64, None)
    assert (tmp_path / "jobs").is_dir()
    versions.remove("7.7")
    assert versions.pointed_at("steady") is None
