"""Where the uploader sends things, and how a new place takes over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pinthesky.device.destination import Destination, DestinationKeeper
from pinthesky.errors import NotAuthorized, Unavailable
from tests.support.upload_world import AWAY, HOME, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.uploader.set_destination(HOME)
    return made


def test_a_new_bucket_takes_over_only_after_a_probe(world: World):
    world.clip(1)
    world.run()
    world.store.deny("away", "")
    world.uploader.set_destination(AWAY)
    world.clip(2)
    world.run(600)
    assert len(world.store.objects("home")) == 2
    status = world.uploader.status()
    assert (status.destination, status.pending_destination) == (HOME, AWAY)
    assert "denied" in str(status.last_error)
    world.store.allow("away", "")
    world.run(1000)
    world.clip(3)
    world.run()
    assert [bucket for bucket, _ in world.store.puts] == ["home", "home", "away"]
    assert world.uploader.status()[3:] == (None, AWAY, None)


def test_a_new_prefix_is_probed_for_clips_and_for_pictures(world: World):
    world.clip(1)
    world.run()
    moved = Destination(bucket="home", video_prefix="new_videos", image_prefix="new_images")
    world.store.deny("home", "new_images/")
    world.uploader.set_destination(moved)
    world.clip(2)
    world.run(60)
    assert all(key.startswith("motion_videos/") for key in world.store.objects("home"))
    world.store.allow("home", "new_images/")
    world.uploader.nudge()
    world.run()
    world.clip(3)
    world.run()
    assert any(key.startswith("new_videos/") for key in world.store.objects("home"))


def test_the_proven_bucket_is_remembered_over_a_restart(world: World):
    world.clip(1)
    world.run()
    world.store.fail_until_told(NotAuthorized("denied"))
    world.uploader.set_destination(AWAY)
    world.run(60)
    world.begin()
    world.uploader.set_destination(AWAY)
    assert world.uploader.status().destination == HOME
    world.store.fail_until_told(None)
    world.run(60)
    assert world.uploader.status().destination == AWAY
    world.begin()
    world.uploader.set_destination(AWAY)
    assert world.uploader.status()[4:] == (AWAY, None)


def test_where_nothing_was_ever_proven_the_new_bucket_is_used_at_once(world: World):
    world.uploader.set_destination(AWAY)
    world.clip(1)
    world.run()
    assert [bucket for bucket, _ in world.store.puts] == ["away"]


def test_a_new_bucket_starts_afresh_after_the_old_one_refused(tmp_path: Path):
    world = World(tmp_path, "away")
    world.uploader.set_destination(HOME)
    world.clip(1)
    world.run(7200)
    world.uploader.set_destination(AWAY)
    assert world.run() == 1
    assert world.waiting == 0


def test_going_back_to_the_proven_bucket_needs_no_probe(world: World):
    world.clip(1)
    world.run()
    world.store.fail_until_told(Unavailable("no network"))
    world.uploader.set_destination(AWAY)
    world.run(60)
    world.uploader.set_destination(HOME)
    assert world.uploader.status()[3:] == (None, HOME, None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"bucket": "A", "video_prefix": "a", "image_prefix": "b"}',
        b'{"bucket": "home", "video_prefix": "../a", "image_prefix": "b"}',
    ],
)
def test_an_unreadable_memory_is_no_memory(tmp_path: Path, content: bytes):
    (tmp_path / "destination.json").write_bytes(content)
    world = World(tmp_path)
    world.uploader.set_destination(HOME)
    assert world.uploader.status().destination == HOME


def test_a_memory_that_cannot_be_written_is_told_once_and_stops_nothing(world: World, caplog: Any):
    (world.folder / ".destination.json.new").mkdir()
    for number in (1, 2):
        world.clip(number)
        world.run()
        world.uploader.set_destination(AWAY if number == 1 else HOME)
        world.run()
    assert world.waiting == 0
    assert caplog.text.count("Cannot remember") == 1


def test_the_same_settings_again_do_not_hurry_the_probe(world: World):
    world.clip(1)
    world.run()
    world.store.deny("away", "")
    world.uploader.set_destination(AWAY)
    world.run()
    attempts = world.store.attempts
    for _ in range(5):
        world.uploader.set_destination(AWAY)
        world.run()
    assert world.store.attempts == attempts
    assert "denied" in str(world.uploader.status().last_error)


def test_a_bucket_that_was_taken_back_is_not_probed_any_more(world: World):
    world.clip(1)
    world.run()
    world.store.deny("away", "")
    world.uploader.set_destination(AWAY)
    world.run()
    world.uploader.set_destination(HOME)
    attempts = world.store.attempts
    world.run(3600)
    assert world.store.attempts == attempts
    assert world.uploader.status().last_error is None


def test_a_remembered_destination_that_is_no_longer_allowed_is_given_up(tmp_path: Path) -> None:
    state_file = tmp_path / "destination.json"
    old = Destination(bucket="old-bucket", video_prefix="v", image_prefix="i")
    first = DestinationKeeper(state_file, lambda: 0.5)
    first.set(old)
    first.prove(old)
    wanted = Destination(bucket="new-bucket", video_prefix="v", image_prefix="i")
    kept = DestinationKeeper(state_file, lambda: 0.5, lambda _: True)
    given_up = DestinationKeeper(state_file, lambda: 0.5, lambda _: False)
    kept.set(wanted)
    given_up.set(wanted)
    assert kept.current == old
    assert given_up.current == wanted
