"""News of the media folder reaches its listeners, in order, whatever happens to them or to the hub."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinthesky.errors import Unavailable
from pinthesky.hub.media_announcer import MediaAnnouncer
from pinthesky.hub.media_record import Address, MediaRecord
from tests.support.aws_servers import wait_until
from tests.support.hub_media import MediaBench, clip_address

CLIP, OTHER = clip_address(number=1), clip_address(number=2)


class Ear:
    """Hears, and can be told to fail a few times."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.failures: list[Exception] = []

    def stored(self, record: MediaRecord) -> None:
        if self.failures:
            raise self.failures.pop()
        self.heard.append(f"+{record.address.name}")

    def removed(self, record: MediaRecord) -> None:
        self.heard.append(f"-{record.address.name}")


@pytest.fixture
def bench(tmp_path: Path) -> MediaBench:
    return MediaBench(tmp_path)


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def announcer(bench: MediaBench, ear: Ear) -> Iterator[MediaAnnouncer]:
    announcer = MediaAnnouncer(bench.index, retry_first_s=0.01)
    announcer.on_stored(ear.stored)
    announcer.on_removed(ear.removed)
    bench.folder.on_change = announcer.look
    yield announcer
    assert announcer.stop()


def test_what_happens_is_told_in_order(bench: MediaBench, ear: Ear, announcer: MediaAnnouncer):
    announcer.start()
    bench.store(CLIP)
    bench.store(OTHER)
    bench.folder.delete(CLIP.key)
    wait_until(lambda: len(ear.heard) == 3)
    assert ear.heard == [f"+{CLIP.name}", f"+{OTHER.name}", f"-{CLIP.name}"]
    wait_until(lambda: not bench.index.news())


def test_what_an_earlier_life_left_untold_is_told(bench: MediaBench, ear: Ear, announcer: MediaAnnouncer):
    bench.store(CLIP)
    announcer.start()
    wait_until(lambda: bool(ear.heard))
    assert ear.heard == [f"+{CLIP.name}"]


@pytest.mark.parametrize("error", [Unavailable("not now"), ValueError("a defect")])
def test_a_listener_that_fails_is_told_again(
    bench: MediaBench, ear: Ear, announcer: MediaAnnouncer, error: Exception, caplog: pytest.LogCaptureFixture
):
    ear.failures = [error, error]
    bench.store(CLIP)
    bench.store(OTHER)
    announcer.start()
    wait_until(lambda: len(ear.heard) == 2)
    assert ear.heard == [f"+{CLIP.name}", f"+{OTHER.name}"]
    assert sum("waits" in line for line in caplog.messages) == 2


def test_probes_tags_and_stars_are_no_news(bench: MediaBench, ear: Ear, announcer: MediaAnnouncer):
    bench.store(Address("motion_videos", "garden", ".probe"), b"")
    bench.store(CLIP)
    bench.folder.star(CLIP.key, starred=True)
    announcer.start()
    wait_until(lambda: not bench.index.news())
    assert ear.heard == [f"+{CLIP.name}"]


def test_stopping_leaves_the_rest_for_the_next_start(bench: MediaBench, ear: Ear):
    reached, released = threading.Event(), threading.Event()

    def slow(_record: MediaRecord) -> None:
        reached.set()
        released.wait(10)

    announcer = MediaAnnouncer(bench.index)
    announcer.on_stored(slow)
    bench.store(CLIP)
    bench.store(OTHER)
    announcer.start()
    assert reached.wait(10)
    assert not announcer.stop(0.01)
    released.set()
    assert announcer.stop()
    assert [news.record.key for news in bench.index.news()] == [OTHER.key]


def test_an_announcer_that_never_began_can_be_stopped(bench: MediaBench):
    assert MediaAnnouncer(bench.index).stop()
