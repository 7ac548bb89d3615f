"""The hub's part for things, in this process, on a real broker."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pinthesky.hub.database import Database
from pinthesky.hub.jobs import Jobs
from pinthesky.hub.mqtt import HubMqtt
from pinthesky.hub.shadows import Shadows
from pinthesky.hub.thing_changes import ThingChanges
from pinthesky.hub.things import TOPIC_FILTERS, Things
from tests.support.broker import Broker


class HubBroker(Broker):
    """A broker that keeps its sessions, with a unix listener for the hub, below `socket`'s folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, persistent=True)
        self.socket = self.folder / "hub.sock"
        self._settings = [
            "per_listener_settings true",
            "max_queued_messages 1000",
            *self._settings,
            f"listener 0 {self.socket}",
            "allow_anonymous true",
        ]


class FakeTime:
    """A clock that stands still until it is moved. Seconds since the epoch."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class ThingsHub:
    """Database, shadows, jobs, worker and connection: what the hub has for things. Every thing is a known one."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self.crashes: list[tuple[str, BaseException]] = []
        self.database = Database(folder / "hub.sqlite")
        self.mqtt = HubMqtt(socket)
        self.changes = ThingChanges(self.database, self.mqtt.publish)
        self.shadows = Shadows(self.database, self.changes)
        self.jobs = Jobs(self.database, self.changes)
        self.things = Things(
            self.changes,
            shadows=self.shadows,
            jobs=self.jobs,
            is_active=lambda _thing: True,
            publish=self.mqtt.publish,
            on_crash=lambda name, error: self.crashes.append((name, error)),
        )
        for topic_filter in TOPIC_FILTERS:
            self.mqtt.subscribe_kept(topic_filter, self.things.receive)

    def __enter__(self) -> Self:
        self.things.start()
        self.mqtt.start()
        assert self.mqtt.wait_connected(10.0), "the hub cannot connect with its broker"
        return self

    def __exit__(self, *_: object) -> None:
        self.things.stop()
        assert self.things.join(10.0)
        self.mqtt.stop()
        self.database.close()
        assert not self.crashes
