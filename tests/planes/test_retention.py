"""Retention: what is past its time goes, and rows and objects are brought together again."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pinthesky.model.identifiers import MediaKey, ThingName
from pinthesky.planes import retention
from pinthesky.planes.ingest import media_events
from pinthesky.planes.table import Delete
from tests.planes.fakes import START_S, out_of_reach
from tests.planes.home import GARDEN, GATE, HALL, OWNER, StagedHome, ask, ask_for, list_all, make_fleet, make_home
from tests.planes.recordings import add_clip, add_thumbnail, clip_key, event_id, pushed, store_clip, video_id

DAY_S = 86_400
HOUR_S = 3600


def sweep(home: StagedHome, after_s: float = 0.0) -> retention.Repairs:
    home.clock.now_s += after_s
    return retention.sweep(home, home.clock())


def reconcile(home: StagedHome, after_s: float = HOUR_S) -> retention.Repairs:
    home.clock.now_s += after_s
    return retention.reconcile(home, home.clock())


def videos(home: StagedHome) -> list[str]:
    return [each["video"] for each in list_all(home, OWNER, "/videos", limit=100)]


def with_retention(home: StagedHome, **days: int | None) -> StagedHome:
    """The same home with another setting."""
    return dataclasses.replace(home, retention=dataclasses.replace(home.retention, **days))


def test_media_go_within_a_day_after_their_row(fleet):
    video = add_clip(fleet, GARDEN, START_S - 60, event_id(1))
    add_thumbnail(fleet, GARDEN, video)
    assert sweep(fleet, 30 * DAY_S - 1).removed_objects == 0
    assert len(fleet.media.stored) == 2
    assert sweep(fleet, 1).removed_objects == 2
    assert fleet.media.stored == {}
    assert videos(fleet) == []


def test_starred_clips_and_their_pictures_stay_for_ever(fleet):
    video = add_clip(fleet, GARDEN, START_S - 60, event_id(1))
    add_thumbnail(fleet, GARDEN, video)
    add_clip(fleet, GARDEN, START_S - 30, event_id(2))
    ask_for(fleet, OWNER, "PUT", f"/videos/{video}/cameras/garden", {"starred": True})
    assert sweep(fleet, 400 * DAY_S).removed_objects == 1
    assert reconcile(fleet).removed_objects == 0
    assert videos(fleet) == [video]
    assert len(fleet.media.stored) == 2
    ask_for(fleet, OWNER, "PUT", f"/videos/{video}/cameras/garden", {"starred": False})
    assert sweep(fleet, DAY_S - 1).removed_objects == 0
    assert sweep(fleet, 1).removed_objects == 2


def test_what_the_store_knows_to_be_starred_gets_its_lost_row_back_however_old_it_is(fleet):
    video = add_clip(fleet, GARDEN, START_S - 60, event_id(1))
    ask_for(fleet, OWNER, "PUT", f"/videos/{video}/cameras/garden", {"starred": True})
    (record,) = fleet.clips.records_of(GARDEN)
    fleet.table.write(Delete(record.key))
    assert sweep(fleet, 400 * DAY_S).removed_objects == 0
    assert reconcile(fleet).added_rows == 1
    assert [each["video"] for each in list_all(fleet, OWNER, "/videos", starred="true")] == [video]


def test_a_picture_that_comes_after_the_star_is_kept_with_its_clip(fleet):
    video = add_clip(fleet, GARDEN, START_S - 60, event_id(1))
    ask_for(fleet, OWNER, "PUT", f"/videos/{video}/cameras/garden", {"starred": True})
    picture = add_thumbnail(fleet, GARDEN, video)
    assert picture in fleet.media.kept


def test_a_clip_that_came_late_is_kept_from_its_coming(fleet):
    video = add_clip(fleet, GARDEN, START_S - 20 * DAY_S, event_id(1))
    sweep(fleet, 29 * DAY_S)
    assert videos(fleet) == [video]


def test_stills_go_by_their_own_setting_and_the_latest_stays(fleet):
    home = with_retention(fleet, stills_days=7)
    for name in ("thumbnail_latest.jpg", "asked.jpg"):
        home.media.store(f"capture_images/garden/{name}", b"jpeg", "image/jpeg")
    assert sweep(home, 7 * DAY_S - 1).removed_objects == 0
    assert sweep(home, 1).removed_objects == 1
    assert list(home.media.stored) == [MediaKey("capture_images/garden/thumbnail_latest.jpg")]


def test_where_nothing_is_set_nothing_goes(fleet):
    home = with_retention(fleet, clips_days=None, stills_days=None)
    video = add_clip(home, GARDEN, START_S - 60, event_id(1))
    home.media.store("capture_images/garden/asked.jpg", b"jpeg", "image/jpeg")
    assert sweep(home, 4000 * DAY_S).removed_objects == 0
    assert reconcile(home).removed_objects == 0
    assert videos(home) == [video]
    assert ask_for(home, OWNER, "GET", f"/videos/{video}/cameras/garden")["expiresAt"] is None


def test_pictures_without_a_clip_and_those_in_the_older_place_go_too(fleet):
    stem = video_id(START_S - 60, event_id(1)).stem
    fleet.media.store(f"motion_videos/garden/{stem}.jpg", b"jpeg", "image/jpeg")
    fleet.media.store(f"motion_videos_converted_images/garden/{stem}.jpg", b"jpeg", "image/jpeg")
    fleet.media.store("motion_videos/garden/holiday.mp4")
    assert sweep(fleet, 30 * DAY_S + 60).removed_objects == 2
    assert list(fleet.media.stored) == [MediaKey("motion_videos/garden/holiday.mp4")]


def test_clips_of_a_camera_that_is_no_more_go_at_their_time_too(fleet):
    add_clip(fleet, GARDEN, START_S - 60, event_id(1))
    assert ask(fleet, OWNER, "DELETE", "/cameras/garden")[0] == 204
    assert videos(fleet) != []
    assert sweep(fleet, 30 * DAY_S).removed_objects == 1
    assert list(fleet.clips.cameras()) == [GARDEN]
    reconcile(fleet)
    assert list(fleet.clips.cameras()) == []


def test_an_object_without_a_row_gets_one(fleet):
    video = store_clip(fleet, GARDEN, START_S - 60, event_id(1))
    stream = clip_key(GARDEN, f"{video_id(START_S - 90).stem}.h264")
    fleet.media.store(stream, b"h264", "video/h264")
    assert reconcile(fleet, 60).added_rows == 0
    assert reconcile(fleet).added_rows == 2
    assert videos(fleet) == [video, video_id(START_S - 90)]
    assert reconcile(fleet) == retention.Repairs()


def test_a_row_without_an_object_goes_and_takes_nothing_else_along(fleet):
    gone = add_clip(fleet, GARDEN, START_S - 60, event_id(1))
    add_thumbnail(fleet, GARDEN, gone)
    stays = add_clip(fleet, GARDEN, START_S - 50, event_id(2))
    fleet.media.delete([clip_key(GARDEN, gone)])
    assert reconcile(fleet).removed_rows == 1
    assert videos(fleet) == [stays]
    assert list(fleet.media.stored) == [clip_key(GARDEN, stays)]
    assert [each.video for each in pushed(fleet, "clip_deleted")] == [gone]


def test_a_clip_that_was_stored_while_the_store_was_listed_keeps_its_row(fleet, monkeypatch):
    video = add_clip(fleet, GARDEN, START_S - 60, event_id(1))
    listed = fleet.media.objects("motion_videos/hall/", limit=1, token=None)
    monkeypatch.setattr(fleet.media, "objects", lambda *_arguments, **_named: listed)
    assert reconcile(fleet).removed_rows == 0
    assert videos(fleet) == [video]


def test_a_row_learns_of_its_picture_and_forgets_one_that_is_gone(fleet):
    with_lost, with_unheard, with_older, without = (
        add_clip(fleet, GARDEN, START_S - 60 + number, event_id(number)) for number in range(4)
    )
    lost = add_thumbnail(fleet, GARDEN, with_lost)
    fleet.media.delete([lost])
    unheard = fleet.media.store(clip_key(GARDEN, f"{with_unheard.stem}.jpg"), b"jpeg", "image/jpeg")
    older = fleet.media.store(f"motion_videos_converted_images/garden/{with_older.stem}.jpg", b"jpeg", "image/jpeg")
    media_events.stored(fleet, older, fleet.clock())
    assert reconcile(fleet) == retention.Repairs(mended_pictures=2)
    keys = [fleet.clips.get(GARDEN, video).thumbnail_key for video in (with_lost, with_unheard, with_older, without)]
    assert keys == ["", unheard, older, ""]
    assert reconcile(fleet) == retention.Repairs()


def test_a_camera_whose_latest_picture_is_gone_shows_none(fleet):
    key = fleet.media.store("capture_images/garden/asked.jpg", b"jpeg", "image/jpeg")
    media_events.stored(fleet, key, fleet.clock())
    reconcile(fleet)
    assert fleet.cameras.get(GARDEN).still_key == key
    fleet.media.delete([key])
    reconcile(fleet)
    assert fleet.cameras.get(GARDEN).still_key == ""


def test_many_objects_and_rows_are_brought_together(fleet):
    expected = []
    for number in range(250):
        at_s = START_S - 1000 + number
        if number % 3 == 0:
            expected.append(str(store_clip(fleet, GARDEN, at_s, event_id(number))))
        elif number % 3 == 1:
            video = add_clip(fleet, GARDEN, at_s, event_id(number))
            fleet.media.delete([clip_key(GARDEN, video)])
        else:
            expected.append(str(add_clip(fleet, GARDEN, at_s, event_id(number))))
    repairs = reconcile(fleet)
    assert (repairs.added_rows, repairs.removed_rows) == (84, 83)
    assert videos(fleet) == expected[::-1]


def test_another_setting_holds_for_what_is_stored_already(fleet):
    video = add_clip(fleet, GARDEN, START_S - 60, event_id(1))
    ask_for(fleet, OWNER, "POST", "/tags", {"name": "pets"})
    ask_for(fleet, OWNER, "POST", f"/videos/{video}/cameras/garden/tags", {"tags": ["pets"]})
    longer = with_retention(fleet, clips_days=60)
    assert reconcile(longer).renewed_rows == 1
    longer.clock.now_s = START_S + 50 * DAY_S
    assert [each["video"] for each in list_all(longer, OWNER, "/tags/pets/videos")] == [video]
    shorter = with_retention(fleet, clips_days=40)
    assert reconcile(shorter).renewed_rows == 1
    assert videos(shorter) == []
    assert sweep(shorter).removed_objects == 1


def test_an_object_of_a_clock_that_ran_ahead_goes_by_the_day_on_which_it_came(fleet):
    add_clip(fleet, GARDEN, START_S + 300 * DAY_S, event_id(1))
    assert sweep(fleet, 31 * DAY_S).removed_objects == 0
    assert reconcile(fleet).removed_objects == 1


def test_reconciling_goes_on_where_time_was_over(fleet):
    for thing in (GARDEN, GATE, HALL):
        store_clip(fleet, thing, START_S - 60, event_id(1))
    fleet.clock.now_s += HOUR_S
    turns = iter([False, True])
    first = retention.reconcile(fleet, fleet.clock(), is_over=lambda: next(turns))
    assert (first.reached, first.added_rows) == (GARDEN, 1)
    rest = retention.reconcile(fleet, fleet.clock(), after=first.reached)
    assert (rest.reached, rest.added_rows) == (None, 2)


@pytest.mark.parametrize("do", [retention.sweep, retention.reconcile])
def test_a_camera_that_cannot_be_looked_at_does_not_keep_the_others_waiting(fleet, monkeypatch, do):
    for thing in (GARDEN, HALL):
        add_clip(fleet, thing, START_S - 60, event_id(1))
    fleet.clock.now_s += 31 * DAY_S
    objects = fleet.media.objects

    def partly(prefix, **named):
        return out_of_reach() if "/garden/" in prefix else objects(prefix, **named)

    monkeypatch.setattr(fleet.media, "objects", partly)
    repairs = do(fleet, fleet.clock())
    assert repairs.failed == [GARDEN]
    assert [key.split("/")[1] for key in fleet.media.stored] == ["garden"]


def test_a_registered_thing_that_nobody_has_heard_of_is_looked_at_too(home):
    shed = ThingName("shed")
    home.things.registered[shed] = ""
    store_clip(home, shed, START_S - 60, event_id(1))
    assert reconcile(home).added_rows == 1
    assert home.cameras.get(shed).thing_name == shed


class Disorder(RuleBasedStateMachine):
    """Rows and objects are lost at random; a reconciliation makes them agree, and a second one finds nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.home = make_home(Path(self._folder.name))
        self.number = 0

    @initialize()
    def begin(self) -> None:
        make_fleet(self.home)

    def teardown(self) -> None:
        reconcile(self.home)
        objects = {key for key in self.home.media.stored if key.endswith(".mp4")}
        listed = list_all(self.home, OWNER, "/videos", limit=100)
        assert {clip_key(ThingName(each["thingName"]), each["video"]) for each in listed} == objects
        assert reconcile(self.home, 1) == retention.Repairs()
        self.home.database.close()
        self._folder.cleanup()

    @rule(thing=strategies.sampled_from([GARDEN, HALL]), heard=strategies.booleans(), age_d=strategies.integers(0, 40))
    def a_clip_comes(self, thing, heard: bool, age_d: int) -> None:
        self.number += 1
        at_s = self.home.clock() - age_d * DAY_S
        video = store_clip(self.home, thing, at_s, event_id(self.number))
        if heard:
            media_events.stored(self.home, clip_key(thing, video), self.home.clock())

    @rule(data=strategies.data())
    def an_object_is_lost(self, data) -> None:
        if self.home.media.stored:
            key = data.draw(strategies.sampled_from(sorted(self.home.media.stored)))
            self.home.media.delete([key])

    @rule(data=strategies.data())
    def a_row_is_lost(self, data) -> None:
        records = [record for thing in (GARDEN, HALL) for record in self.home.clips.records_of(thing)]
        if records:
            self.home.table.write(Delete(data.draw(strategies.sampled_from(records)).key))

    @rule(data=strategies.data(), starred=strategies.booleans())
    def somebody_stars(self, data, starred: bool) -> None:
        listed = ask_for(self.home, OWNER, "GET", "/videos")["items"]
        if listed:
            each = data.draw(strategies.sampled_from(listed))
            path = f"/videos/{each['video']}/cameras/{each['thingName']}"
            assert ask(self.home, OWNER, "PUT", path, {"starred": starred})[0] in (200, 404)

    @rule(days=strategies.sampled_from([0.01, 1, 15, 31]))
    def time_passes(self, days: float) -> None:
        self.home.clock.now_s += days * DAY_S

    @rule()
    def somebody_sweeps(self) -> None:
        before = set(videos(self.home))
        sweep(self.home)
        assert set(videos(self.home)) == before


TestDisorder = Disorder.TestCase
TestDisorder.settings = hypothesis.settings(max_examples=25, stateful_step_count=20, deadline=None)
