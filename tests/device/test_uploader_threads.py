"""How the uploader's workers start, wait and end."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from pinthesky.device.fakes import FakeObjectStore
from pinthesky.device.upload_schedule import Lane
from pinthesky.device.uploader import Uploader
from pinthesky.errors import Unavailable
from pinthesky.model.identifiers import ThingName
from tests.support.upload_world import HOME, T0, World, wait_until


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.uploader.set_destination(HOME)
    return made


def test_the_store_is_not_made_before_it_is_needed(world: World):
    made: list[threading.Event] = []

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
