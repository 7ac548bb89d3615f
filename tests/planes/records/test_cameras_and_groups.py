"""The repositories of cameras and groups, where two writers meet and where lists are long."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pinthesky.errors import Conflict, InvariantBroken, Unavailable
from pinthesky.model.identifiers import GroupName, ThingName
from pinthesky.planes import visible_cameras
from pinthesky.planes.records.cameras import key_of
from pinthesky.planes.table import Put, Record
from tests.planes.home import GARDEN, GUEST, OWNER, StagedHome, ask_for

OUTSIDE = GroupName("outside")


def test_a_camera_that_is_heard_of_by_two_at_once_is_adopted_once(home: StagedHome, monkeypatch):
    write = home.table.write

    def overtaken(*changes):
        monkeypatch.undo()
        home.cameras.adopt(GARDEN, 1)
        return write(*changes)

    monkeypatch.setattr(home.table, "write", overtaken)
    assert home.cameras.adopt(GARDEN, 2).created_at == 1
    assert home.cameras.adopt(GARDEN, 3).created_at == 1


def test_changes_by_two_at_once_are_both_made(fleet: StagedHome, monkeypatch):
    write = fleet.table.write

    def overtaken(*changes):
        monkeypatch.undo()
        fleet.cameras.change(GARDEN, lambda camera: replace(camera, online=True))
        return write(*changes)

    monkeypatch.setattr(fleet.table, "write", overtaken)
    changed = fleet.cameras.change(GARDEN, lambda camera: replace(camera, recording=True))
    assert (changed.online, changed.recording) == (True, True)
    assert fleet.cameras.get(GARDEN) == changed


def test_a_change_that_changes_nothing_is_not_written(fleet: StagedHome, monkeypatch):
    def never(*_):
        raise AssertionError("nothing is to be written")

    monkeypatch.setattr(fleet.table, "write", never)
    assert fleet.cameras.change(GARDEN, lambda camera: camera) == fleet.cameras.get(GARDEN)


def test_a_change_that_is_always_overtaken_gives_up(fleet: StagedHome, monkeypatch):
    def overtaken(*_):
        raise Conflict("version")

    monkeypatch.setattr(fleet.table, "write", overtaken)
    with pytest.raises(Unavailable):
        fleet.cameras.change(GARDEN, lambda camera: replace(camera, recording=True))


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"thingName":"a b","displayName":"x","createdAt":1}', b'"\xff"'])
def test_a_damaged_row_is_noticed(fleet: StagedHome, content):
    fleet.table.write(Put(Record(key_of(GARDEN), content)))
    with pytest.raises(InvariantBroken, match="camera garden is no Camera"):
        fleet.cameras.get(GARDEN)


def test_a_camera_that_cannot_join_for_another_reason_is_told_so(fleet: StagedHome, monkeypatch):
    def overtaken(*_):
        raise Conflict("another")

    monkeypatch.setattr(fleet.table, "write", overtaken)
    with pytest.raises(Conflict, match="another"):
        fleet.groups.join(GARDEN, OUTSIDE)


def test_more_cameras_than_a_page_holds_are_all_seen(home: StagedHome):
    ask_for(home, OWNER, "POST", "/groups", {"name": "outside"})
    things = [ThingName(f"thing-{number:03}") for number in range(101)]
    for thing in things:
        home.cameras.adopt(thing, home.clock.now_ms)
        home.groups.join(thing, OUTSIDE)
    for person in (OWNER, GUEST):
        assert [camera.thing_name for camera in visible_cameras.every(home, home.access(person))] == things
    home.groups.remove(OUTSIDE)
    assert home.groups.all_cameras_of([OUTSIDE]) == []
    assert visible_cameras.every(home, home.access(GUEST)) == []
