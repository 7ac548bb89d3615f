"""What each call of a function asks of DynamoDB and the other services, counted: the figures behind the cost table.

The functions run on the home of the planes' tests. Units are counted as DynamoDB's price list does: a write for each
begun KB of the row and once more for the index, twice in a transaction; a read for each begun 4 KB, half of it in the
index, whose reads are the only ones that may be behind.

`python -m tests.support.counted_home` prints the lines of `infra_cdk/usage.toml`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pinthesky.aws.lambda_handlers import Entrances
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.home import Home
from pinthesky.planes.routing import HttpRequest
from pinthesky.planes.table import Change, Condition, Key, Page, Put, Record, Table
from tests.planes.home import OWNER, StagedHome, add_camera, ask_for, make_home
from tests.planes.recordings import clip_key, event_id, store_clip
from tests.support.lambda_calls import Context, claims_for, device_event, http_event, s3_event, socket_event
from tests.support.through_lambda import entrances

CAMERAS = tuple(ThingName(f"camera-{number}") for number in range(5))
DAILY = "schedule.reconcile, once a day"
PORTS = ("shadows", "commands", "jobs", "media", "converter", "connections", "notifier", "things", "people")
ASKED = json.dumps({"action": "invoke", "payload": {"camera": CAMERAS[0], "event": {"name": "health"}}})
JPEG = b"\xff\xd8 a picture \xff\xd9"


@dataclasses.dataclass
class CountedTable:
    """A table that counts the units of what is asked of it."""

    table: Table
    counted: Counter[str]

    def get(self, key: Key) -> Record | None:
        """See `planes.table.Table`."""
        found = self.table.get(key)
        self._read([found] if found else [], 1)
        return found

    def get_many(self, keys: Sequence[Key]) -> dict[Key, Record]:
        """See `planes.table.Table`."""
        found = self.table.get_many(keys)
        self._ask("dynamodb.requests")
        # Each row of a batch is counted by itself.
        self.counted["dynamodb.read_units"] += sum(_kilobytes(found.get(key), 4) for key in dict.fromkeys(keys))
        return found

    def query(self, *given: Any, **more: Any) -> Page:
        """See `planes.table.Table`."""
        page = self.table.query(*given, **more)
        self._read(page.records, 1)
        return page

    def query_index(self, *given: Any, **more: Any) -> Page:
        """See `planes.table.Table`."""
        page = self.table.query_index(*given, **more)
        self._read(page.records, 0.5)
        return page

    def write(self, *changes: Change) -> None:
        """See `planes.table.Table`."""
        times = 2 if len(changes) > 1 or changes[0].condition is not Condition.ANY else 1
        self._ask("dynamodb.requests")
        for change in changes:
            new = change.record if isinstance(change, Put) else None
            before = self.table.get(new.key if new else change.key)  # type: ignore[union-attr] # only Put has no key
            self.counted["dynamodb.write_units"] += times * max(_kilobytes(new, 1), _kilobytes(before, 1))
            self.counted["dynamodb.write_units"] += _of_index(before, new)
        self.table.write(*changes)

    def _read(self, records: Sequence[Record], times: float) -> None:
        self._ask("dynamodb.requests")
        size = sum(_size(record) for record in records)
        self.counted["dynamodb.read_units"] += times * max(1, math.ceil(size / 4096))  # type: ignore[assignment] # halves

    def _ask(self, what: str) -> None:
        self.counted[what] += 1


class _CountedPort:
    """Another port, whose calls are counted by its name and theirs."""

    def __init__(self, name: str, port: Any, counted: Counter[str]) -> None:
        self._name, self._port, self._counted = name, port, counted

    def __getattr__(self, called: str) -> Any:
        found = getattr(self._port, called)
        if not callable(found):
            return found

        def counting(*given: Any, **more: Any) -> Any:
            self._counted[f"{self._name}.{called}"] += 1
            return found(*given, **more)

        return counting


@dataclasses.dataclass
class _Stage:
    """Five cameras, somebody with an open console, and the functions' ways in."""

    home: StagedHome
    ways: Entrances
    counted: Counter[str]

    def asks(self, method: str, path: str, body: object = None, **query: str) -> Callable[[], object]:
        raw = b"" if body is None else json.dumps(body).encode()
        event = http_event(HttpRequest(method, path, query, raw), claims_for(OWNER))
        return lambda: self.ways.http(event, Context())

    def says(self, name: str, **fields: Any) -> Callable[[], object]:
        event = {"name": name, "timestamp": self.home.clock(), "thing_name": CAMERAS[0], **fields}
        return lambda: self.ways.device_event(device_event(CAMERAS[0], event), Context())


def figures() -> dict[str, dict[str, int]]:
    """What each kind of call asks for, as the usage profile says it; a chore's daily turn is spread over its hours."""
    counted = count_invocations()
    daily = counted.pop(DAILY)
    for what, number in daily.items():
        counted["schedule.reconcile"][what] += number / 24  # type: ignore[assignment] # rounded below
    return {name: {what: math.ceil(number) for what, number in _figures(of).items()} for name, of in counted.items()}


def _figures(counted: Counter[str]) -> dict[str, float]:
    others = sum(number for what, number in counted.items() if not what.startswith("dynamodb.") and what != "media.url")
    return {
        "requests": counted["dynamodb.requests"] + others,
        # In AWS who somebody is stands in the table too.
        "reads": counted["dynamodb.read_units"] + counted["people.get"],
        "writes": counted["dynamodb.write_units"],
        "gets": counted["media.describe"] + counted["media.read"],
        "puts": counted["media.objects"] + counted["media.write"],
        "posts": counted["connections.post"],
    }


def count_invocations() -> dict[str, Counter[str]]:
    """What each kind of call asks for, by the kind's name."""
    found: dict[str, Counter[str]] = {}
    with _stage() as stage:
        for name, call in _calls(stage):
            stage.counted.clear()
            call()
            found[name] = Counter(stage.counted)
    return found


@contextmanager
def _stage() -> Iterator[_Stage]:
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder))
        for camera in CAMERAS:
            add_camera(home, camera)
        for number, camera in enumerate(CAMERAS * 40):
            video = store_clip(home, camera, home.clock() - 60 * number - 60, event_id(1000 + number))
            entrances(home, home.clock).media(s3_event(clip_key(camera, video)), Context())
        counted: Counter[str] = Counter()
        ports = {each.name: getattr(home, each.name) for each in dataclasses.fields(Home)}
        ports |= {name: _CountedPort(name, ports[name], counted) for name in PORTS}
        watched = Home(**{**ports, "table": CountedTable(home.table, counted)})
        try:
            yield _Stage(home, entrances(watched, home.clock), counted)
        finally:
            home.database.close()


def _calls(stage: _Stage) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every kind of call, in an order in which each finds what it needs."""
    home, ways, camera = stage.home, stage.ways, CAMERAS[0]
    stage.asks("POST", "/tokens")()  # notes the sign-in
    yield "http.ticket", stage.asks("POST", "/tokens")
    ticket = ask_for(home, OWNER, "POST", "/tokens")["token"]
    headers = {"Sec-WebSocket-Protocol": "manager"}
    query = {"Authorization": ticket}
    opening = socket_event("CONNECT", "socket-1", headers=headers, queryStringParameters=query)
    home.connections.open("socket-1")
    yield "socket.connect", lambda: ways.socket(opening, Context())
    ask_for(home, OWNER, "POST", "/subscriptions", {"protocol": "email", "endpoint": "a@example.com", "filter": {}})
    yield "device_event.motion_start", stage.says("motion_start", event_id=event_id(1), score=0.5)
    key = clip_key(camera, store_clip(home, camera, home.clock(), event_id(1)))
    yield "media.clip", lambda: ways.media(s3_event(key), Context())
    upload = {"bucket_name": "home-media", "bucket_key": str(key)}
    said = {"start_time": home.clock(), "trigger": "motion", "event_id": event_id(1), "upload": upload}
    yield "device_event.upload_end", stage.says("upload_end", **said)
    picture = type(key)(str(key).removesuffix(".mp4") + ".jpg")
    home.media.store(picture, JPEG, "image/jpeg")
    yield "media.thumbnail", lambda: ways.media(s3_event(picture), Context())
    home.clock.now_s += 5
    still = type(key)(f"capture_images/{camera}/{int(home.clock())}.jpg")
    home.media.store(still, JPEG, "image/jpeg")
    yield "media.still", lambda: ways.media(s3_event(still), Context())
    captured = {"upload": {"bucket_name": "home-media", "bucket_key": str(still)}}
    yield "device_event.capture_image_end", stage.says("capture_image_end", **captured)
    yield "device_event.recording_change", stage.says("recording_change", recording=True)
    activity = [[int(home.clock() // 60) - 1, 30]]
    yield "device_event.motion_activity", stage.says("motion_activity", minutes=activity)
    yield "device_event.health_end", stage.says("health_end", version="1.2.3", cpu_used=1.0)
    yield "http.cameras", stage.asks("GET", "/cameras")
    yield "http.videos", stage.asks("GET", "/videos", limit="50")
    yield "http.video_url", stage.asks("GET", f"/videos/{key.rpartition('/')[2]}/cameras/{camera}/url")
    lost = {"clientId": camera, "timestamp": int(home.clock() * 1000), "eventType": "disconnected"}
    lost |= {"disconnectReason": "CONNECTION_LOST", "versionNumber": 7}
    yield "presence.change", lambda: ways.presence(lost, Context())
    yield "socket.message", lambda: ways.socket(socket_event("MESSAGE", "socket-1", ASKED), Context())
    home.media.delete([key])
    yield "media.removed", lambda: ways.media(s3_event(key, "Object Deleted"), Context())
    yield DAILY, lambda: ways.schedule({"chore": "reconcile"}, Context())
    yield "schedule.reconcile", lambda: ways.schedule({"chore": "reconcile"}, Context())
    yield "schedule.silence", lambda: ways.schedule({"chore": "silence"}, Context())
    yield "schedule.sockets", lambda: ways.schedule({"chore": "sockets"}, Context())
    yield "schedule.sweep", lambda: ways.schedule({"chore": "sweep"}, Context())
    yield "socket.disconnect", lambda: ways.socket(socket_event("DISCONNECT", "socket-1"), Context())


def _of_index(before: Record | None, new: Record | None) -> int:
    """Units of the index: one to write, one to remove where the place has changed."""
    old_place = before.index if before else None
    new_place = new.index if new else None
    removed = _kilobytes(before, 1) if old_place is not None and old_place != new_place else 0
    return removed + (_kilobytes(new, 1) if new_place is not None else 0)


def _kilobytes(record: Record | None, unit: int) -> int:
    return max(1, math.ceil(_size(record) / (1024 * unit))) if record else 1


def _size(record: Record) -> int:
    """Bytes of a row as DynamoDB counts them: names and values; numbers take a few bytes."""
    index = len(record.index.partition + record.index.sort) + 12 if record.index else 0
    return len(record.content) + len(record.key.partition + record.key.sort) + index + 40


def main() -> None:
    """Print the figures as the usage profile has them, with one read and one request more."""
    for name, counted in figures().items():
        said = {**counted, "requests": counted["requests"] + 1, "reads": counted["reads"] + 1}
        fields = [f"{what} = {number}" for what, number in said.items() if number or what == "writes"]
        sys.stdout.write(f'"{name}" = {{ {", ".join(fields)} }}\n')


if __name__ == "__main__":
    main()
