"""A console that was away hears what it has missed: no gap, and twice only under the same id."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinthesky.hub import control_plane_site, planes_at_home
from pinthesky.hub.presence import ThingPresence
from pinthesky.planes.pushes import push
from pinthesky.planes.records.pushes import Push
from tests.planes.home import GARDEN
from tests.support.catching_up import CatchingUp, every_event
from tests.support.daemon_process import eventually
from tests.support.hub_console import Console
from tests.support.hub_process import Camera, HubProcess, add_camera
from tests.support.planes_at_hub import HubOfPlanes

KILLS = {"long": 25, "short": 3}.get(os.environ.get("SOAK", "long"), 25)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubOfPlanes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control_plane_site, "REQUESTS_PER_MINUTE", 1_000_000)
        made = HubOfPlanes(tmp_path_factory.mktemp("resume"))
    yield made
    made.close()


STEPS = st.lists(st.sampled_from(["come", "leave", 1, 3, 130]), min_size=3, max_size=8)
"""Comings and goings, and how many events there are in between; 130 are more than the answer to a login holds."""


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=STEPS.filter(lambda plan: plan.count(130) < 2))
def test_whatever_happens_between_nothing_is_missed(stage: HubOfPlanes, plan: list[Any]):
    console = CatchingUp()

    def ask(method: str, path: str, **query: str) -> Any:
        return stage.ask_for("owner", method, path, None, **query)

    told: set[str] = set()
    is_there = False
    try:
        console.come(ask, stage.server.port)
        is_there = True
        for step in plan:
            if step == "leave" and is_there:
                console.leave()
                is_there = False
            elif step == "come" and not is_there:
                console.come(ask, stage.server.port)
                is_there = True
            elif isinstance(step, int):
                for _ in range(step):
                    news = Push(type="camera_online", camera=GARDEN, time=1)
                    told.add(str(push(stage.home, news, time.time()).id))
        console.leave()
        console.come(ask, stage.server.port)
        console.wait_for(told)
        assert told <= every_event(ask)
    finally:
        console.leave()


def test_what_has_waited_is_told_under_the_time_at_which_it_is_taken_in(stage: HubOfPlanes, monkeypatch):
    """A console that comes back asks by time: what was told late under an early one would be missed."""

    def ask(method: str, path: str, **query: str) -> Any:
        return stage.ask_for("owner", method, path, None, **query)

    before = every_event(ask)
    presence = ThingPresence(connected=True, since_s=time.time(), reason="")
    stage.hub.planes._presence_changed(GARDEN, presence)
    later_s = time.time() + 60
    monkeypatch.setattr(planes_at_home, "time", SimpleNamespace(time=lambda: later_s))
    stage.hub.planes.worker.step()
    (told,) = every_event(ask) - before
    assert int(told[:13]) == int(later_s * 1000)


class Fleet:
    """A hub as a process, a camera that says something through its broker, and a console."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.hub = HubProcess(folder)
        self.camera: Camera = add_camera(self.hub.data, "garden", folder / "garden")
        self.console: Console | None = None
        self.watching = CatchingUp()
        self.said: list[str] = []

    def start(self) -> None:
        """The hub comes back; the console as well, with the session that it had."""
        self.hub.start()
        self.hub.wait_ready()
        if self.console is None:
            self.console = Console(self.hub.data, self.hub.console_port)
        eventually(self._comes, "the console is let in")

    def _comes(self) -> bool:
        with contextlib.suppress(OSError, AssertionError):
            self.watching.come(self.ask, self.hub.console_port, root=self.camera.root)
            return True
        return False

    def ask(self, method: str, path: str, **query: str) -> Any:
        assert self.console is not None
        answer = self.console.ask(method, path, **query)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def say(self, count: int) -> None:
        """Motions, one message each; the broker has taken them."""
        client = self.hub.client(self.camera)
        client.connect()
        try:
            for _ in range(count):
                event = uuid.UUID(int=self.random.getrandbits(128)).hex
                document = {"name": "motion_start", "thing_name": "garden", "timestamp": time.time()}
                client.publish(
                    "pinthesky/events/garden/output", json.dumps({**document, "event_id": event, "score": 2.0}).encode()
                )
                self.said.append(event)
        finally:
            client.close()


def check_kills(folder: Path, *, kills: int, seed: int) -> None:
    fleet = Fleet(folder, seed)
    fleet.start()
    try:
        for _ in range(kills):
            fleet.say(fleet.random.randint(1, 8))
            if fleet.random.random() < 0.5:
                fleet.watching.leave()  # the console has gone first, and misses more
            fleet.hub.kill()
            fleet.watching.leave()
            fleet.start()
        fleet.say(1)
        eventually(
            lambda: fleet.said[-1] in {each.get("eventId") for each in latest(fleet)}, "the last one is heard of"
        )
        kept = every_event(fleet.ask)
        fleet.watching.wait_for(kept)
        assert len(kept) >= kills
    finally:
        fleet.watching.leave()
        if fleet.console is not None:
            fleet.console.close()
        if fleet.hub.is_running:
            assert fleet.hub.stop() == 0


def latest(fleet: Fleet) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = fleet.ask("GET", "/events", limit="100")["items"]
    return items


def test_a_hub_that_is_killed_leaves_no_gap(tmp_path: Path):
    check_kills(tmp_path, kills=2, seed=7)


@pytest.mark.soak
def test_a_hub_that_is_killed_again_and_again_leaves_no_gap(tmp_path: Path):
    check_kills(tmp_path, kills=KILLS, seed=random.randrange(10**6))
