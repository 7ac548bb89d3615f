"""The planes' port `Releases`: one suite for manifests in S3 (moto), the hub's folder and the fake of the tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pinthesky.aws.adapters.releases import FRESH_S, S3Releases
from pinthesky.aws.clients import Clients
from pinthesky.hub.releases import Releases as HubsOwn
from pinthesky.model.identifiers import BucketName, KeyPrefix
from pinthesky.planes.ports import Release, Releases
from tests.planes.fakes import FakeReleases
from tests.support.aws_planes import new_bucket

VERSIONS = ["1.10.1", "1.10.0", "1.10.0rc1", "1.9.0"]
"""The newest first."""


class World(NamedTuple):
    releases: Releases
    put: Callable[[str], Any]
    """Makes a version known."""


class Shelf:
    """A bucket with manifests, and a clock."""

    def __init__(self, clients: Clients, bucket: BucketName) -> None:
        self.s3, self.bucket, self.now_s = clients.get("s3"), bucket, 0.0
        self.releases = S3Releases(clients, bucket, KeyPrefix("releases"), monotonic_s=lambda: self.now_s)

    def put(self, version: str) -> None:
        manifest = {
            "version": version,
            "wheelUrl": f"https://releases.test/pinthesky-{version}-py3-none-any.whl",
            "sha256": hashlib.sha256(version.encode()).hexdigest(),
        }
        self.put_raw(version, json.dumps(manifest).encode())

    def put_raw(self, name: str, data: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=f"releases/{name}.json", Body=data)

    def known(self) -> list[str]:
        """The versions, a while later."""
        self.now_s += FRESH_S
        return [each.version for each in self.releases.known()]


@pytest.fixture
def shelf(clients: Clients, moto_port: int) -> Shelf:
    return Shelf(clients, new_bucket(moto_port))


@pytest.fixture(params=["aws", "hub", "fake"])
def world(request, tmp_path: Path) -> World:
    if request.param == "aws":
        shelf = request.getfixturevalue("shelf")
        return World(shelf.releases, shelf.put)
    if request.param == "hub":
        return World(
            HubsOwn(tmp_path, lambda: "https://hub.local:8444"),
            lambda version: (tmp_path / f"pinthesky-{version}-py3-none-any.whl").write_bytes(b"wheel"),
        )
    fake = FakeReleases()
    order = list(reversed(VERSIONS))

    def put(version: str) -> None:
        address = f"https://releases.test/pinthesky-{version}-py3-none-any.whl"
        fake.releases.append(Release(version, address, "ab" * 32))
        fake.releases.sort(key=lambda each: -order.index(each.version))

    return World(fake, put)


def test_without_any_there_are_none(world: World):
    assert list(world.releases.known()) == []


def test_releases_are_known_the_newest_first_with_all_that_an_update_needs(world: World):
    for version in sorted(VERSIONS):
        world.put(version)
    known = world.releases.known()
    assert [each.version for each in known] == VERSIONS
    assert all(each.wheel_url.startswith("https://") and len(each.sha256) == 64 for each in known)


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"no JSON",
        b"[]",
        b'{"version": "2.0.0"}',
        b'{"version": "2.0.0", "wheelUrl": "http://evil.test/x.whl", "sha256": "%s"}' % (b"ab" * 32),
        b'{"version": "2.0.0", "wheelUrl": "https://x.test/x.whl", "sha256": "short"}',
        b"\xff\xfe",
        b" " * 20_000,
    ],
)
def test_a_manifest_that_cannot_be_read_hides_no_other(shelf: Shelf, manifest: bytes):
    shelf.put("1.0.0")
    shelf.put_raw("2.0.0", manifest)
    assert shelf.known() == ["1.0.0"]


def test_a_new_manifest_is_known_some_minutes_later(shelf: Shelf):
    shelf.put("1.0.0")
    assert shelf.known() == ["1.0.0"]
    shelf.put("1.1.0")
    assert [each.version for each in shelf.releases.known()] == ["1.0.0"]
    assert shelf.known() == ["1.1.0", "1.0.0"]
