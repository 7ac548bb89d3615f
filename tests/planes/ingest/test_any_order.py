"""Whatever the order in which news arrives, however often and however late, what is known in the end is the same."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import hypothesis
from hypothesis import strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pinthesky.model.identifiers import MediaKey
from pinthesky.planes.ingest import device_events, media_events
from tests.planes.fakes import START_S
from tests.planes.home import GARDEN, GATE, OWNER, StagedHome, ask_for, make_home
from tests.planes.recordings import clip_key, event_id, pushed, say, say_motion, store_clip, video_id

AT_S = START_S - 1000
THINGS = (GARDEN, GATE)
Clip = tuple[int, int, int]
"""Camera, event and part."""
CLIPS: list[Clip] = [(thing, event, part) for thing in range(2) for event in range(2) for part in range(1, 3)]


def start_of(clip: Clip) -> float:
    """When a clip begins."""
    return AT_S + 100 * clip[1] + 10 * clip[2]


def event_of(clip: Clip):
    """The event that it is a part of."""
    return event_id(10 * clip[0] + clip[1])


class News(RuleBasedStateMachine):
    """Cameras store and speak; stores and brokers tell of it in any order, more than once, up to days late."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.home: StagedHome = make_home(Path(self._folder.name))
        self.home.things.registered.update(dict.fromkeys(THINGS, ""))
        self.stored: set[Clip] = set()
        self.pictured: set[Clip] = set()
        self.heard: set[tuple[int, int]] = set()
        self.told: set[Clip] = set()
        self.deleted: set[Clip] = set()
        self.minutes: dict[tuple[int, int], int] = {}

    def teardown(self) -> None:
        self.tell_all()
        self.check_end()
        self.home.database.close()
        self._folder.cleanup()

    @initialize()
    def subscribe(self) -> None:
        body = {"protocol": "email", "endpoint": "a@example.com", "coolDownSeconds": 0}
        ask_for(self.home, OWNER, "POST", "/subscriptions", body)

    @rule(late_s=strategies.sampled_from([1, 30, 3600, 86_400]))
    def wait(self, late_s: int) -> None:
        if self.home.clock.now_s < START_S + 5 * 86_400:
            self.home.clock.now_s += late_s

    @rule(clip=strategies.sampled_from(CLIPS))
    def store(self, clip: Clip) -> None:
        if clip not in self.stored:
            store_clip(self.home, THINGS[clip[0]], start_of(clip), event_of(clip), part=str(clip[2]))
            self.stored.add(clip)

    @rule(clip=strategies.sampled_from(CLIPS))
    def store_picture(self, clip: Clip) -> None:
        if clip not in self.deleted:
            self.home.media.store(self.picture_of(clip), b"jpeg", "image/jpeg")
            self.pictured.add(clip)

    @rule(clip=strategies.sampled_from(CLIPS))
    def store_tells(self, clip: Clip) -> None:
        self.told |= {clip} & self.stored
        media_events.stored(self.home, self.key_of(clip), self.home.clock())

    @rule(clip=strategies.sampled_from(CLIPS))
    def store_tells_of_picture(self, clip: Clip) -> None:
        media_events.stored(self.home, self.picture_of(clip), self.home.clock())

    @rule(clip=strategies.sampled_from(CLIPS))
    def camera_tells(self, clip: Clip) -> None:
        self.told |= {clip} & self.stored
        upload = {"bucket_name": "b", "bucket_key": str(self.key_of(clip))}
        say(self.home, THINGS[clip[0]], "upload_end", start_time=None, trigger="motion", upload=upload)

    @rule(clip=strategies.sampled_from(CLIPS))
    def motion_is_heard(self, clip: Clip) -> None:
        self.heard.add(clip[:2])
        say_motion(self.home, THINGS[clip[0]], event_of(clip), timestamp=AT_S + 100 * clip[1] + 25)

    @rule(clip=strategies.sampled_from(CLIPS))
    def removal_is_told(self, clip: Clip) -> None:
        media_events.removed(self.home, self.key_of(clip), self.home.clock())

    @rule(clip=strategies.sampled_from(CLIPS))
    def somebody_deletes(self, clip: Clip) -> None:
        if clip in self.told - self.deleted:
            path = f"/videos/{self.video_of(clip)}/cameras/{THINGS[clip[0]]}"
            ask_for(self.home, OWNER, "DELETE", path)
            self.deleted.add(clip)

    @rule(thing=strategies.integers(0, 1), minute=strategies.integers(0, 3), percent=strategies.integers(1, 100))
    def minutes_are_told(self, thing: int, minute: int, percent: int) -> None:
        self.minutes[thing, minute] = max(percent, self.minutes.get((thing, minute), 0))
        told = [[round(AT_S // 60) + minute, percent]]
        assert say(self.home, THINGS[thing], "motion_activity", minutes=told) == device_events.Taken(1, 0)

    @invariant()
    def nothing_is_told_twice(self) -> None:
        told = pushed(self.home, "motion_started", "clip_stored", "clip_deleted")
        if self.home.clock.now_s - START_S < 80_000:
            assert (
                max(Counter((each.type, each.camera, each.video or each.event_id) for each in told).values(), default=1)
                == 1
            )
        assert self.home.notifier.delivered == []

    def tell_all(self) -> None:
        """In the end everything has been told."""
        for clip in CLIPS:
            self.motion_is_heard(clip)
            self.store_tells(clip)
            self.store_tells_of_picture(clip)
            self.removal_is_told(clip)

    def check_end(self) -> None:
        for number, thing in enumerate(THINGS):
            there = {clip for clip in self.stored - self.deleted if clip[0] == number}
            listed = ask_for(self.home, OWNER, "GET", f"/cameras/{thing}/videos")["items"]
            assert {each["video"] for each in listed} == {self.video_of(clip) for clip in there}
            assert len(listed) == len(there)
            assert {each["video"] for each in listed if each["thumbnailUrl"]} == {
                self.video_of(clip) for clip in there & self.pictured
            }
            events = self.home.motion_events.decoded(self.home.motion_events.of_camera(thing, limit=100).records)
            assert [(each.event_id, each.motion_at) for each in events] == [
                (event_of((number, event, 1)), round((AT_S + 100 * event + 25) * 1000)) for event in range(2)
            ]
            first = round(AT_S // 60)
            assert self.home.motion_minutes.between(thing, first, first + 9) == {
                first + minute: percent for (of, minute), percent in self.minutes.items() if of == number
            }
        for clip in self.stored - self.deleted:
            event = self.home.motion_events.get(THINGS[clip[0]], event_of(clip))
            assert event.clip_at is not None
            assert event.clip_at <= round(start_of(clip) * 1000)

    def video_of(self, clip: Clip):
        return video_id(start_of(clip), event_of(clip))

    def key_of(self, clip: Clip) -> MediaKey:
        return clip_key(THINGS[clip[0]], self.video_of(clip))

    def picture_of(self, clip: Clip) -> MediaKey:
        return clip_key(THINGS[clip[0]], f"{self.video_of(clip).stem}.jpg")


TestNewsInAnyOrder = News.TestCase
TestNewsInAnyOrder.settings = hypothesis.settings(max_examples=25, stateful_step_count=30, deadline=None)
