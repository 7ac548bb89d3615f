from __future__ import annotations

import logging
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.destination import Destination
from pinthesky.device.fakes import FakeClock, FakeObjectStore
from pinthesky.device.upload_schedule import Lane
from pinthesky.device.uploader import Uploader, own_name
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable
from pinthesky.model.identifiers import FileName, ThingName
from pinthesky.model.recording import LATEST_STILL, Item, Moment

HOME = Destination(bucket="home", video_prefix="motion_videos", image_prefix="capture_images")
AWAY = Destination(bucket="away", video_prefix="motion_videos", image_prefix="capture_images")
BOOT = "00000000-0000-4000-8000-000000000000"
T0 = 1_800_000_000


class World:
    """An uploader with a real spool on the disk, a store in memory, and a clock that the test moves."""

    def __init__(self, folder: Path, *buckets: str) -> None:
        self.folder = folder
        self.clock = FakeClock(float(T0))
        self.store = FakeObjectStore(*(buckets or ("home", "away")))
        self.stored: List[Tuple[str, str]] = []
        self.clock_is_right = True
        self.spools: List[ClipSpool] = []
        self.sleeps: List[float] = []
        self.begin()

    def begin(self) -> None:
        """Start, or start again after whatever happened."""
        for spool in self.spools:
            spool.close()
        self.spool = ClipSpool(self.folder / "spool", max_bytes=10**9, min_free_bytes=0)
        self.spools.append(self.spool)
        self.spool.open()
        self.uploader = Uploader(
            self.spool,
            lambda _stopping: self.store,
            thing_name=ThingName("garden"),
            clock=self.clock,
            state_file=self.folder / "destination.json",
            resolve_time=self.resolve_time,
            on_stored=lambda item, bucket, key: self.stored.append((bucket, key)),
            jitter=random.Random(1).random,
        )

    def resolve_time(self, item: Item) -> Optional[Item]:
        if not self.clock_is_right:
            return None
        start = msgspec.structs.replace(item.start, wall_s=T0 + item.start.monotonic_s)
        return msgspec.structs.replace(item, start=start)

    def clip(self, number: int, *, wall: bool = True, kind: Any = "clip", **changes: Any) -> str:
        """Put an item into the spool that began `number` seconds after T0. Returns its name there."""
        item = Item(
            kind=kind,
            event_id=changes.pop("event_id", f"{number:032x}"),
            start=Moment(boot_id=BOOT, monotonic_s=number, wall_s=float(T0 + number) if wall else None),
            suffix=".mp4" if kind == "clip" else ".jpg",
            size=0,
            sha256="0" * 64,
            **changes,
        )
        return self.spool.add_bytes(f"{kind} {number}".encode(), item).name

    def still(self, number: int, file_name: Optional[str] = None, **changes: Any) -> str:
        return self.clip(number, kind="still", file_name=file_name, **changes)

    def run(self, seconds: float = 0.0) -> int:
        """Let both workers work for so long, as their threads would. Returns the attempts they made."""
        before = self.store.attempts
        deadline = self.clock.monotonic() + seconds
        while True:
            waits = [self.uploader.step(lane) for lane in Lane]
            if any(wait == 0 for wait in waits):
                continue
            left = deadline - self.clock.monotonic()
            if left <= 0:
                return self.store.attempts - before
            self.clock.advance(min([left] + [wait for wait in waits if wait is not None]))

    @property
    def order(self) -> List[int]:
        """Numbers of the items stored, in the order of their arrival."""
        return [int(key.split("/")[2].split("-")[0]) - T0 for _, key in self.store.puts]

    @property
    def waiting(self) -> int:
        return len(self.spool.items())


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


def test_a_fault_of_ours_in_one_item_does_not_end_the_worker(world: World, caplog: Any):
    def fail_strangely(key: str) -> None:
        if f"{T0 + 2}-" in key:
            raise ZeroDivisionError

    world.store.before_put = fail_strangely
    world.clip(2)
    world.clip(1)
    world.uploader.start()
    wait_until(lambda: "nobody foresaw" in caplog.text)
    world.uploader.wake()
    wait_until(lambda: world.order == [1])
    assert world.waiting == 1
    assert world.uploader.stop(10) == []


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


def test_of_latest_stills_that_waited_the_newest_stays_the_latest(world: World):
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


# Destinations


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


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"bucket": "A", "video_prefix": "a", "image_prefix": "b"}',
                                     b'{"bucket": "home", "video_prefix": "../a", "image_prefix": "b"}', b"\xff"])  # fmt: skip
def test_an_unreadable_memory_is_no_memory(tmp_path: Path, content: bytes):
    (tmp_path / "destination.json").write_bytes(content)
    world = World(tmp_path)
    world.uploader.set_destination(HOME)
    assert world.uploader.status().destination == HOME


def test_a_memory_that_cannot_be_written_is_told_once_and_stops_nothing(world: World, caplog: Any):
    (world.folder / "destination.json.new").mkdir()
    for number in (1, 2):
        world.clip(number)
        world.run()
        world.uploader.set_destination(AWAY if number == 1 else HOME)
        world.run()
    assert world.waiting == 0
    assert caplog.text.count("Cannot remember") == 1


# Starting and stopping


def test_the_store_is_not_made_before_it_is_needed(world: World):
    made: List[threading.Event] = []

    def factory(stopping: threading.Event) -> FakeObjectStore:
        made.append(stopping)
        return world.store

    uploader = Uploader(
        world.spool, factory, thing_name=ThingName("garden"), clock=world.clock, on_stored=lambda *_: None,
        state_file=world.folder / "other.json", resolve_time=world.resolve_time,
    )  # fmt: skip
    uploader.set_destination(HOME)
    assert [uploader.step(lane) for lane in Lane] == [None, None]
    assert made == []
    world.clip(1)
    uploader.step(Lane.CLIPS)
    assert len(made) == 1
    uploader.stop(0)
    assert made[0].is_set()


def test_a_new_item_wakes_the_worker(world: World):
    world.uploader.start()
    world.clip(1)
    wait_until(lambda: world.waiting == 0)
    assert world.uploader.stop(10) == []


def test_a_worker_that_hangs_in_a_request_is_reported(world: World):
    hanging, release = threading.Event(), threading.Event()

    def hang(_key: str) -> None:
        hanging.set()
        release.wait(30)

    world.store.before_put = hang
    world.clip(1)
    world.uploader.start()
    assert hanging.wait(10)
    try:
        assert world.uploader.stop(0.05) == ["upload-clips"]
    finally:
        release.set()
    assert world.uploader.stop(10) == []


def test_giving_up_at_the_stop_is_no_trouble_of_the_store(world: World):
    world.clip(1)

    def stopped(_key: str) -> None:
        world.uploader.stop(0)
        raise Unavailable("given up because the daemon stops")

    world.store.before_put = stopped
    world.uploader.step(Lane.CLIPS)
    assert world.uploader.status().available
    assert world.waiting == 1


# Whatever happens


class KilledError(BaseException):
    """The process is gone."""


FAULTS: Dict[str, Callable[[], PinTheSkyError]] = {
    "unavailable": lambda: Unavailable("slow down"),
    "denied": lambda: NotAuthorized("denied"),
    "no bucket": lambda: NotFound("no bucket"),
    "refused": lambda: InvalidInput("object", "refused"),
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("clip"), st.booleans()),
        st.tuples(st.just("still"), st.sampled_from([None, "door.jpg", LATEST_STILL])),
        st.tuples(st.just("run"), st.sampled_from([0.0, 1.0, 30.0, 600.0])),
        st.tuples(st.just("fault"), st.sampled_from(sorted(FAULTS))),
        st.tuples(st.just("lose answers"), st.integers(1, 2)),
        st.tuples(st.just("kill before removal"), st.none()),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("clock"), st.booleans()),
        st.tuples(st.just("destination"), st.sampled_from([HOME, AWAY, None])),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_happens_each_item_is_in_the_spool_or_in_the_store(steps: List[Tuple[str, Any]]):
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.uploader.set_destination(HOME)
        wanted, made = HOME, set()
        for number, (step, value) in enumerate(steps):
            if step == "clip":
                world.clip(number, wall=value)
                made.add(b"clip %d" % number)
            elif step == "still":
                world.still(number, value)
                made.add(b"still %d" % number)
            elif step == "fault":
                world.store.fail_next(FAULTS[value]())
            elif step == "lose answers":
                world.store.lose_answers(value)
            elif step == "clock":
                world.clock_is_right = value
            elif step == "destination":
                wanted = value or msgspec.structs.replace(wanted, enabled=False)
                world.uploader.set_destination(wanted)
            elif step == "kill before removal":
                mark = world.spool.mark_stored
                world.spool.mark_stored = _kill  # type: ignore[method-assign] # the moment that matters most
                try:
                    world.run()
                except KilledError:
                    world.begin()
                    world.uploader.set_destination(wanted)
                else:
                    world.spool.mark_stored = mark  # type: ignore[method-assign] # as above
            elif step == "restart":
                world.begin()
                world.uploader.set_destination(wanted)
            else:
                world.run(value)
            check_nothing_lost(world, made)
        world.clock_is_right = True
        world.store.fail_until_told(None)
        world.store.lose_answers(0)
        world.uploader.set_destination(HOME)
        world.run(24 * 3600)
        assert world.waiting == 0
        check_nothing_lost(world, made)
        world.spool.close()


def _kill(_name: str) -> None:
    raise KilledError


def check_nothing_lost(world: World, made: Any) -> None:
    waiting = {spooled.path.read_bytes() for spooled in world.spool.items()}
    # A latest still may have been replaced by a later one since.
    missing = made - waiting - set(world.store.history)
    assert not missing, f"neither in the spool nor ever in the store: {missing}"
    kept = set(world.store.objects("home").values()) | set(world.store.objects("away").values()) | waiting
    assert not {content for content in made if content.startswith(b"clip")} - kept
    for bucket in ("home", "away"):
        clips = [content for content in world.store.objects(bucket).values() if content.startswith(b"clip")]
        assert len(clips) == len(set(clips)), "stored twice"


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.005)
