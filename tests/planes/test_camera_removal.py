"""Removing a camera: all of it, once, and nothing of the camera that has its name next."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pinthesky.model.identifiers import EventId, MediaKey
from pinthesky.planes import camera_removal, retention
from pinthesky.planes.records.clips import Clip, VideoId
from tests.planes.fakes import out_of_reach
from tests.planes.home import GARDEN, GATE, GUEST, OWNER, StagedHome, add_camera, ask, ask_for, list_all, problem_of


class Recorded(NamedTuple):
    clip: Clip
    still: MediaKey


def record(home: StagedHome, thing=GARDEN) -> Recorded:
    """A clip, a still and a health report, of now."""
    video = VideoId(f"{int(home.clock())}-{EventId.new()}.motion.mp4")
    key = home.media.store(f"motion_videos/{thing}/{video}")
    now_ms = home.clock.now_ms
    clip = Clip(thing_name=thing, video=video, media_key=key, started_at=now_ms, stored_at=now_ms, size=5)
    assert home.clips.add(clip)
    home.health.report(thing, {"version": "1.0"}, now_ms)
    return Recorded(clip, home.media.store(f"capture_images/{thing}/{now_ms}.jpg"))


def test_a_camera_goes_with_everything_but_its_clips(fleet: StagedHome):
    recorded = record(fleet)
    ask_for(fleet, OWNER, "POST", "/cameras/garden/configuration", {"framerate": 5})
    assert ask(fleet, OWNER, "DELETE", "/cameras/garden") == (204, None)
    assert problem_of(fleet, OWNER, "GET", "/cameras/garden")[0] == 404
    assert problem_of(fleet, OWNER, "DELETE", "/cameras/garden")[0] == 404
    assert not fleet.things.exists(GARDEN)
    assert fleet.shadows.get(GARDEN) is None
    assert [camera["thingName"] for camera in list_all(fleet, GUEST, "/groups/outside/cameras")] == [GATE]
    assert fleet.health.latest([GARDEN]) == []
    assert fleet.clips.find(GARDEN, recorded.clip.video) == recorded.clip
    assert {recorded.clip.media_key, recorded.still} <= set(fleet.media.stored)
    assert camera_removal.resume(fleet) == 0


def test_its_clips_and_stills_go_where_that_is_wanted(fleet: StagedHome):
    recorded, other = record(fleet), record(fleet, GATE)
    assert ask(fleet, OWNER, "DELETE", "/cameras/garden", clips="delete") == (204, None)
    assert fleet.clips.find(GARDEN, recorded.clip.video) is None
    assert list(fleet.clips.marked()) == [recorded.clip]
    assert recorded.still not in fleet.media.stored
    assert fleet.clips.find(GATE, other.clip.video) == other.clip
    assert other.still in fleet.media.stored


def test_a_camera_that_never_recorded_goes_like_any_other(fleet: StagedHome):
    fleet.clock.now_s -= 60
    ask_for(fleet, OWNER, "DELETE", "/cameras/garden", clips="delete")
    assert camera_removal.resume(fleet) == 0


def test_the_sweep_goes_on_with_what_is_not_done(fleet: StagedHome, monkeypatch):
    recorded = record(fleet)
    with monkeypatch.context() as patch:
        patch.setattr(fleet.shadows, "delete", out_of_reach)
        assert problem_of(fleet, OWNER, "DELETE", "/cameras/garden", clips="delete")[0] == 500
    retention.sweep(fleet, fleet.clock())
    assert fleet.shadows.get(GARDEN) is None
    assert recorded.clip.media_key not in fleet.media.stored


def test_clips_are_kept_or_deleted_and_nothing_else(fleet: StagedHome):
    assert problem_of(fleet, OWNER, "DELETE", "/cameras/garden", clips="hide") == (400, "clips")
    assert ask_for(fleet, OWNER, "GET", "/cameras/garden")


def test_what_one_call_cannot_bear_is_removed_later(fleet: StagedHome, monkeypatch):
    monkeypatch.setattr(camera_removal, "AT_ONCE", 2)
    for _ in range(5):
        record(fleet)
        fleet.clock.now_s += 1
    ask_for(fleet, OWNER, "DELETE", "/cameras/garden", clips="delete")
    assert len(list(fleet.clips.marked())) == 2
    assert len([key for key in fleet.media.stored if key.startswith("capture_images/garden/")]) == 3
    assert [camera_removal.resume(fleet) for _ in range(3)] == [1, 0, 0]
    assert len(list(fleet.clips.marked())) == 5
    assert not [key for key in fleet.media.stored if key.startswith("capture_images/garden/")]


@pytest.mark.parametrize("port, method", [("things", "remove"), ("shadows", "delete"), ("media", "delete")])
def test_a_removal_that_is_interrupted_goes_on(fleet: StagedHome, monkeypatch, port, method):
    record(fleet)
    with monkeypatch.context() as patch:
        patch.setattr(getattr(fleet, port), method, out_of_reach)
        assert problem_of(fleet, OWNER, "DELETE", "/cameras/garden", clips="delete")[0] == 500
        assert problem_of(fleet, OWNER, "GET", "/cameras/garden")[0] == 404
        assert camera_removal.resume(fleet) == 1
    assert camera_removal.resume(fleet) == 0
    assert not fleet.things.exists(GARDEN)
    assert fleet.shadows.get(GARDEN) is None
    assert fleet.groups.names_of(GARDEN) == frozenset()
    assert list(fleet.clips.records_of(GARDEN)) == []


def test_a_new_camera_of_the_same_name_keeps_what_is_its_own(fleet: StagedHome, monkeypatch):
    record(fleet)
    with monkeypatch.context() as patch:
        patch.setattr(fleet.media, "delete", out_of_reach)
        assert problem_of(fleet, OWNER, "DELETE", "/cameras/garden", clips="delete")[0] == 500
    fleet.clock.now_s += 60
    add_camera(fleet, GARDEN, "outside")
    recorded = record(fleet)
    assert camera_removal.resume(fleet) == 0
    assert fleet.things.exists(GARDEN)
    assert fleet.groups.names_of(GARDEN) == {"outside"}
    assert [row.timestamp for row in fleet.health.latest([GARDEN])] == [fleet.clock.now_ms]
    assert len(fleet.health.page(GARDEN, limit=10).rows) == 1
    assert fleet.clips.find(GARDEN, recorded.clip.video) == recorded.clip
    assert [key for key in fleet.media.stored if key.startswith("capture_images/garden/")] == [recorded.still]


def test_a_new_camera_of_the_same_name_takes_settings(fleet: StagedHome):
    ask_for(fleet, OWNER, "POST", "/cameras/garden/configuration", {"framerate": 5})
    ask_for(fleet, OWNER, "DELETE", "/cameras/garden")
    add_camera(fleet, GARDEN)
    assert ask_for(fleet, OWNER, "GET", "/cameras/garden/configuration")["version"] == 0
    desired = ask_for(fleet, OWNER, "POST", "/cameras/garden/configuration", {"framerate": 6}, expectedVersion=0)
    assert desired["desired"] == {"camera": {"framerate": 6}}


def test_what_a_camera_says_while_it_is_removed_does_not_bring_it_back(fleet: StagedHome, monkeypatch):
    remove = fleet.things.remove

    def heard_of_before(thing):
        fleet.cameras.adopt(thing, fleet.clock.now_ms)
        remove(thing)

    monkeypatch.setattr(fleet.things, "remove", heard_of_before)
    ask_for(fleet, OWNER, "DELETE", "/cameras/garden")
    assert problem_of(fleet, OWNER, "GET", "/cameras/garden")[0] == 404
