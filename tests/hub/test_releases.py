"""Releases that the owner has put into the hub's folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from pinthesky.hub.releases import Releases


def put(folder: Path, version: str, data: bytes = b"wheel") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"pinthesky-{version}-py3-none-any.whl"
    path.write_bytes(data)
    return path


def test_the_newest_comes_first_by_its_version_not_by_its_letters(tmp_path):
    folder = tmp_path / "releases"
    releases = Releases(folder, lambda: "https://hub.local:8444")
    assert releases.known() == []
    versions = ["1.9.0", "1.10.0", "1.10.0rc1", "1.10.0.dev0", "2.0.0", "1.10.1"]
    for version in versions:
        put(folder, version)
    (folder / "evil-1.0-py3-none-any.whl").write_bytes(b"")
    (folder / "pinthesky-1.0.tar.gz").write_bytes(b"")
    assert [one.version for one in releases.known()] == [
        "2.0.0",
        "1.10.1",
        "1.10.0",
        "1.10.0rc1",
        "1.10.0.dev0",
        "1.9.0",
    ]
    newest = releases.known()[0]
    assert newest.wheel_url == "https://hub.local:8444/releases/pinthesky-2.0.0-py3-none-any.whl"


def test_the_hash_is_that_of_the_file_as_it_is_now(tmp_path):
    releases = Releases(tmp_path, lambda: "https://hub")
    path = put(tmp_path, "1.0.0", b"first")
    assert releases.known()[0].sha256 == hashlib.sha256(b"first").hexdigest()
    path.write_bytes(b"second, longer")
    assert releases.known()[0].sha256 == hashlib.sha256(b"second, longer").hexdigest()


def test_a_wheel_is_served_and_nothing_else(tmp_path):
    put(tmp_path, "1.0.0", b"bytes of a wheel")
    (tmp_path / "secret").write_text("no")
    browser = TestClient(Starlette(routes=Releases(tmp_path, lambda: "").routes()))
    assert browser.get("/releases/pinthesky-1.0.0-py3-none-any.whl").content == b"bytes of a wheel"
    for name in ("secret", "pinthesky-2.0.0-py3-none-any.whl", "..%2Fsecret", "."):
        assert browser.get(f"/releases/{name}").status_code == 404


def test_how_the_hub_is_reached_is_found_out_once_for_a_whole_list(tmp_path):
    asked: list[int] = []

    def origin() -> str:
        asked.append(1)
        return "https://hub"

    releases = Releases(tmp_path, origin)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        put(tmp_path, version)
    assert len(releases.known()) == 3
    assert asked == [1]
