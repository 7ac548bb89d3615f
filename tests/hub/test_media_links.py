"""Links to clips: good for some minutes, for one object, with ranges, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pinthesky.hub.adapters.media import HubMedia
from pinthesky.hub.database import Database
from pinthesky.hub.media_folder import MediaFolder
from pinthesky.hub.media_index import MediaIndex
from pinthesky.hub.media_links import LIFETIME_MAX_S, MediaLinks
from pinthesky.hub.objects import PREFIXES
from pinthesky.model.identifiers import MediaKey

KEY = MediaKey("motion_videos/garden/1700000000-" + "a" * 32 + ".motion.mp4")
OTHER = MediaKey("motion_videos/garden/1700000001-" + "b" * 32 + ".motion.mp4")
DATA = bytes(range(256)) * 40


class World(NamedTuple):
    media: HubMedia
    links: MediaLinks
    browser: TestClient
    clock: list[float]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = [1_800_000_000.0]
    database = Database(tmp_path / "hub.sqlite")
    folder = MediaFolder(tmp_path / "media", MediaIndex(database))
    links = MediaLinks(folder, b"s" * 32, now_s=lambda: clock[0])
    media = HubMedia(folder, links, prefixes=PREFIXES, limit_bytes=None)
    for key in (KEY, OTHER):
        media.write(key, DATA, content_type="video/mp4", metadata={"trigger": "motion"})
    yield World(media, links, TestClient(Starlette(routes=links.routes())), clock)
    database.close()


def test_a_link_serves_its_object_whole_and_in_ranges(world):
    link = world.media.url(KEY, lifetime_s=300)
    whole = world.browser.get(link)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, DATA, "video/mp4")
    assert whole.headers["content-security-policy"] == "sandbox"
    part = world.browser.get(link, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, DATA[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(DATA)}"
    assert world.browser.get(link, headers={"Range": "bytes=-5"}).content == DATA[-5:]
    assert world.browser.get(link, headers={"Range": f"bytes={len(DATA)}-"}).status_code == 416
    again = world.browser.get(link, headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = world.browser.head(link)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(DATA)), b"")


def test_a_link_saves_under_the_name_it_was_made_with_and_no_other(world):
    link = world.media.url(KEY, lifetime_s=300, download_as="garden 2026.mp4")
    assert world.browser.get(link).headers["content-disposition"] == 'attachment; filename="garden 2026.mp4"'
    assert world.browser.get(link.replace("garden+2026", "evil")).status_code == 403
    assert "name=" not in world.media.url(KEY, lifetime_s=300, download_as='x"\r\nSet-Cookie: a')


def test_a_link_ends_with_its_time_and_lives_no_longer_than_a_week(world):
    link, long = world.media.url(KEY, lifetime_s=300), world.media.url(KEY, lifetime_s=10**9)
    world.clock[0] += 299
    assert world.browser.get(link).status_code == 200
    world.clock[0] += 1
    assert world.browser.get(link).status_code == 403
    assert world.browser.get(long).status_code == 200
    world.clock[0] += LIFETIME_MAX_S
    assert world.browser.get(long).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        lambda link: link.partition("?")[0],
        lambda link: link.replace(KEY, OTHER),
        lambda link: link.replace("until=18", "until=19"),
        lambda link: link.replace("until=", "until=x"),
        lambda link: link[:-1] + ("0" if link[-1] != "0" else "1"),
        lambda link: link.replace("seal=", "seal=%C3%A4"),
        lambda link: link.replace("motion_videos/garden", "motion_videos//garden"),
        lambda link: link.replace("/media/", "/media/" + "x" * 500),
    ],
)
def test_a_link_that_was_changed_gets_nothing(world, change):
    answer = world.browser.get(change(world.media.url(KEY, lifetime_s=300)))
    assert answer.status_code == 403
    assert b"\x00\x01\x02" not in answer.content


def test_what_is_gone_is_said_to_be_gone(world):
    link = world.media.url(KEY, lifetime_s=300)
    world.media.delete([KEY])
    assert world.browser.get(link).status_code == 404
