from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, Optional

import pytest

from pinthesky.device.destination import Destination
from pinthesky.device.uploader import own_name
from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.model.identifiers import FileName
from pinthesky.model.recording import LATEST_STILL, Item, Moment
from tests.support.upload_world import BOOT, HOME, T0, World, wait_until


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.uploader.set_destination(HOME)
    return made


# The usual


def test_a_clip_is_stored_under_its_key_and_leaves_the_spool(world: World):
    world.clip(7)
    world.run()
    key = f"motion_videos/garden/{T0 + 7}-{7:032x}.motion.mp4"
    assert world.store.objects("home") == {key: b"clip 7"}
    assert world.store.buckets["home"][key].content_type == "video/mp4"
    assert world.store.buckets["home"][key].metadata["event_id"] == f"{7:032x}"
    assert world.waiting == 0
    assert world.stored == [("home", key)]


def test_a_still_goes_under_the_image_prefix_with_the_name_that_was_asked_for(world: World):
    world.still(1, "door.jpg")
    world.run()
    assert list(world.store.objects("home")) == ["capture_images/garden/door.jpg"]


def test_the_newest_goes_first(world: World):
    for number in (3, 1, 5, 2, 4):
        world.clip(number)
    world.run()
    assert world.order == [5, 4, 3, 2, 1]


def test_a_picture_does_not_wait_for_a_clip(world: World):
    uploading = threading.Event()
    finish = threading.Event()

    def slow_clip(key: str) -> None:
        if key.endswith(".mp4"):
            uploading.set()
            finish.wait(10)

    world.store.before_put = slow_clip
    world.clip(1)
    world.uploader.start()
    assert uploading.wait(10)
    world.still(2, "now.jpg")
    try:
        wait_until(lambda: "capture_images/garden/now.jpg" in world.store.objects("home"))
        assert world.waiting == 1
    finally:
        finish.set()
    wait_until(lambda: world.waiting == 0)
    assert world.uploader.stop(10) == []


@pytest.mark.parametrize("destination", [
    Destination(bucket=None, video_prefix="a", image_prefix="b"),
    Destination(bucket="home", video_prefix="a", image_prefix="b", enabled=False),
])  # fmt: skip
def test_with_storage_switched_off_everything_stays(world: World, destination: Destination):
    world.uploader.set_destination(destination)
    world.clip(1)
    assert world.run(3600) == 0
    assert world.waiting == 1
    world.uploader.set_destination(HOME)
    world.run()
    assert world.waiting == 0


def test_before_any_destination_is_set_nothing_is_tried(tmp_path: Path):
    world = World(tmp_path)
    world.clip(1)
    assert world.run(3600) == 0


# Failing


def test_a_failed_upload_deletes_nothing_and_is_tried_again(world: World):
    world.clip(1)
    world.store.fail_next(Unavailable("no network"))
    world.run()
    assert world.waiting == 1
    world.run(2)
    assert world.waiting == 0
    assert world.order == [1]


def test_after_a_lost_answer_the_clip_counts_as_stored_once(world: World):
    world.clip(1)
    world.store.lose_answers(1)
    world.run(5)
    assert world.waiting == 0
    assert len(world.store.objects("home")) == 1
    assert len(world.stored) == 1


def test_one_item_that_always_fails_holds_nobody_up(world: World):
    bad = world.clip(99)
    for number in range(20):
        world.clip(number)

    def break_one(key: str) -> None:
        if f"{T0 + 99}-" in key:
            raise Unavailable("reset by peer")

    world.store.before_put = break_one
    world.run(60)
    assert world.order == list(range(19, -1, -1))
    assert [spooled.name for spooled in world.spool.items()] == [bad]


def test_an_object_that_the_store_refuses_waits_for_itself(world: World):
    world.clip(2)
    world.clip(1)
    world.store.fail_next(InvalidInput("storing", "EntityTooLarge"))
    world.run(5)
    assert world.order == [1]
    assert world.waiting == 1
    assert world.uploader.status().refused == 1
    world.run(700)
    assert world.waiting == 0


def test_a_file_that_the_disk_has_spoiled_stays_and_holds_nobody_up(world: World):
    world.clip(1)
    name = world.clip(2)
    next(s for s in world.spool.items() if s.name == name).path.write_bytes(b"rotten")
    world.run(5)
    assert world.order == [1]
    assert world.waiting == 1


@pytest.mark.parametrize("trouble", ["policy", "no such bucket"])
def test_what_policy_refuses_slows_down_to_a_quarter_of_an_hour_and_is_kept(world: World, trouble: str, caplog: Any):
    for number in range(3):
        world.clip(number)
    kept = world.store.buckets.pop("home")
    if trouble == "policy":
        world.store.buckets["home"] = kept
        world.store.deny("home", "motion_videos/")
    attempts = world.run(24 * 3600)
    assert 90 <= attempts <= 250
    assert world.waiting == 3
    assert not world.uploader.status().available
    assert [record.levelname for record in caplog.records if record.name.endswith("uploader")] == ["WARNING"]
    world.store.buckets["home"] = kept
    world.store.allow("home", "motion_videos/")
    world.run(1000)
    assert world.waiting == 0
    assert world.uploader.status().available


def test_a_policy_against_one_prefix_does_not_hold_up_the_other(world: World):
    world.store.deny("home", "capture_images/")
    world.still(1, "a.jpg")
    world.clip(1)
    world.clip(2, kind="thumbnail")
    world.run(60)
    assert sorted(key.split("/")[0] for key in world.store.objects("home")) == ["motion_videos", "motion_videos"]


def test_trouble_and_its_end_are_logged_once_each(world: World, caplog: Any):
    caplog.set_level(logging.INFO, "pinthesky.device.uploader")
    for number in range(3):
        world.clip(number)
    world.store.fail_until_told(Unavailable("no network"))
    world.run(600)
    world.store.fail_until_told(None)
    world.run(100)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages[1] == "Uploading clips works again"


def test_the_end_of_trouble_is_logged_for_both_lanes_whichever_gets_through_first(world: World, caplog: Any):
    caplog.set_level(logging.INFO, "pinthesky.device.uploader")
    world.clip(1)
    world.still(2)
    world.store.fail_until_told(Unavailable("no network"))
    world.run(600)
    world.store.fail_until_told(None)
    world.run(100)
    assert sorted(caplog.messages[-2:]) == ["Uploading clips works again", "Uploading pictures works again"]
    assert len(caplog.messages) == 4


@pytest.mark.no_cover
def test_a_day_without_network_costs_few_attempts_and_loses_nothing(world: World):
    world.store.fail_until_told(Unavailable("no network"))
    attempts = 0
    for number in range(24):
        world.clip(number * 3600)
        world.still(number * 3600 + 1)
        attempts += world.run(3600)
    assert attempts <= 2 * (24 * 60 * 2 + 10)  # two lanes, at least half a minute between two attempts in each
    assert world.waiting == 48
    status = world.uploader.status()
    assert (status.available, status.waiting, status.last_error) == (False, 48, "no network")
    world.store.fail_until_told(None)
    world.run(61)
    assert world.waiting == 0
    clips = [number for number in world.order if number % 3600 == 0]
    # The first through is whichever was being probed with; from then on the newest go first.
    assert clips[1:] == sorted(clips[1:], reverse=True)
    assert sorted(world.order) == sorted([n * 3600 for n in range(24)] + [n * 3600 + 1 for n in range(24)])
    assert world.uploader.status().last_error is None


def test_a_nudge_tries_at_once(world: World):
    world.clip(1)
    world.store.fail_until_told(Unavailable("no network"))
    world.run(600)
    world.store.fail_until_told(None)
    world.uploader.nudge()
    assert world.run() == 1
    assert world.waiting == 0


def test_success_in_one_lane_brings_the_other_back_at_once(world: World):
    world.clip(1)
    world.store.fail_until_told(Unavailable("no network"))
    world.run(600)
    world.store.fail_until_told(None)
    world.still(2)
    world.run()
    assert world.waiting == 0


def test_an_item_that_the_spool_dropped_on_its_way_is_no_trouble(world: World):
    name = world.clip(1)

    def drop(_key: str) -> None:
        world.spool.mark_stored(name)  # what the spool's bound does: it is gone

    world.store.before_put = drop
    world.run(10)
    assert world.uploader.status().available
    assert world.uploader.status().waiting == 0


# Time


def test_what_has_no_time_waits_for_it_and_keeps_it(world: World):
    world.clock_is_right = False
    world.clip(5, wall=False)
    assert world.run(300) == 0
    world.clock_is_right = True
    world.store.lose_answers(1)
    world.run(10.5)
    sidecar = world.spool.items()[0].item if world.waiting else None
    assert sidecar is None or sidecar.start.wall_s == T0 + 5
    world.run(5)
    assert world.order == [5]
    assert world.waiting == 0


def test_the_time_is_in_the_sidecar_before_the_first_attempt(world: World):
    world.clip(5, wall=False)
    world.store.fail_until_told(Unavailable("no network"))
    world.run()
    assert world.spool.items()[0].item.start.wall_s == T0 + 5
    world.begin()
    assert world.spool.items()[0].item.start.wall_s == T0 + 5


def test_what_has_a_time_does_not_wait_for_what_has_none(world: World):
    world.clock_is_right = False
    world.clip(9, wall=False)
    world.clip(1)
    world.run()
    assert world.order == [1]


# Names


def test_a_still_never_replaces_another_of_the_same_name(world: World):
    world.still(1, "door.jpg")
    world.run()
    world.still(2, "door.jpg")
    world.run()
    assert world.store.objects("home") == {
        "capture_images/garden/door.jpg": b"still 1",
        f"capture_images/garden/door-{2:032x}.jpg": b"still 2",
    }
    assert world.stored[1] == ("home", f"capture_images/garden/door-{2:032x}.jpg")


def test_the_latest_still_is_replaced(world: World):
    for number in (1, 2):
        world.still(number, LATEST_STILL)
        world.run()
    assert world.store.objects("home") == {f"capture_images/garden/{LATEST_STILL}": b"still 2"}


def test_of_latest_stills_that_waited_the_older_get_names_of_their_own(world: World):
    for number in (1, 2):
        world.still(number, LATEST_STILL)
    world.run()
    assert world.store.objects("home") == {
        f"capture_images/garden/{LATEST_STILL}": b"still 2",
        f"capture_images/garden/thumbnail_latest-{1:032x}.jpg": b"still 1",
    }


def test_of_latest_stills_that_waited_in_an_outage_the_newest_stays_the_latest(world: World):
    for number in (1, 2, 3):
        world.still(number, LATEST_STILL)
    world.store.fail_next(Unavailable("no network"), Unavailable("no network"))
    world.run(60)
    objects = world.store.objects("home")
    assert objects[f"capture_images/garden/{LATEST_STILL}"] == b"still 3"
    assert sorted(objects.values()) == [b"still 1", b"still 2", b"still 3"]


def test_an_older_latest_still_of_a_time_not_known_yet_is_no_rival(world: World):
    world.still(1, LATEST_STILL)
    world.clock_is_right = False
    world.still(2, LATEST_STILL, wall=False)
    world.run()
    world.clock_is_right = True
    world.run(11)
    assert world.store.objects("home")[f"capture_images/garden/{LATEST_STILL}"] == b"still 2"


@pytest.mark.parametrize("asked", ["door.jpg", "a" * 128, "a" * 124 + ".jpg", "a.b.c", "a." + "b" * 126, None])
def test_an_own_name_is_a_file_name_that_holds_the_event_id(asked: Optional[str]):
    item = Item(
        kind="still", event_id="ab" * 16, start=Moment(boot_id=BOOT, monotonic_s=0), suffix=".jpg", size=0,
        sha256="0" * 64, file_name=asked,
    )  # fmt: skip
    named = own_name(item)
    assert "ab" * 16 in str(FileName(named.file_name))
