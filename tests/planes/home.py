"""The stage of the planes' tests: a home over the real table in SQLite, fakes of the other ports, and people.

`ask` is how a test speaks to the control plane: as a person would, through the router.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinthesky.hub.database import Database
from pinthesky.hub.records import SqliteTable
from pinthesky.model.identifiers import ThingName
from pinthesky.model.people import Email, Person, PersonId, Role
from pinthesky.planes.control_plane import surface
from pinthesky.planes.home import Home
from pinthesky.planes.routing import HttpRequest
from tests.planes.fakes import (
    Clock,
    FakeAccessTokens,
    FakeCommands,
    FakeConnections,
    FakeConverter,
    FakeJobService,
    FakeMedia,
    FakeNotifier,
    FakePeople,
    FakeReleases,
    FakeShadows,
    FakeSignIns,
    FakeThings,
)

GARDEN, GATE, HALL = ThingName("garden"), ThingName("gate"), ThingName("hall")
"""Cameras of `make_fleet`: garden and gate are outside, hall is inside."""

OWNER = Person(PersonId("olga"), Email("olga@example.com"), Role.OWNER)
MEMBER = Person(PersonId("max"), Email("max@example.com"), Role.MEMBER)
VIEWER = Person(PersonId("vera"), Email("vera@example.com"), Role.VIEWER)
GUEST = Person(PersonId("gus"), Email("gus@example.com"), Role.VIEWER, frozenset({"outside"}))
"""A viewer of the group `outside`."""
STRANGER = Person(PersonId("sam"), Email("sam@example.com"), None)
"""Known to the identity provider, invited by nobody."""
NOBODY = None
"""Who has not signed in."""
EVERYBODY = (OWNER, MEMBER, VIEWER, GUEST, STRANGER)


class UnsyncedDatabase(Database):
    """The hub's, without waiting for the disk: ten times as quick, and no test of the planes cuts the power."""

    def _open(self) -> sqlite3.Connection:
        connection = super()._open()
        connection.execute("PRAGMA synchronous = OFF")
        return connection


@dataclass(frozen=True, kw_only=True)
class StagedHome(Home):
    """A home whose ports are fakes that a test may look at. `clock.now_s` may be set."""

    clock: Clock
    database: Database = field(repr=False)
    shadows: FakeShadows
    commands: FakeCommands
    jobs: FakeJobService
    media: FakeMedia
    converter: FakeConverter
    connections: FakeConnections
    notifier: FakeNotifier
    things: FakeThings
    people: FakePeople
    sign_ins: FakeSignIns
    releases: FakeReleases


def make_home(tmp_path: Path) -> StagedHome:
    """An empty home in `tmp_path`, with EVERYBODY in it. Close its `database` at the end (the fixture `home` does)."""
    clock = Clock()
    database = UnsyncedDatabase(tmp_path / "hub.sqlite")
    media = FakeMedia(clock)
    return StagedHome(
        clock=clock,
        database=database,
        table=SqliteTable(database, now_s=clock),
        shadows=FakeShadows(clock),
        commands=FakeCommands(),
        jobs=FakeJobService(clock),
        media=media,
        converter=FakeConverter(media),
        connections=FakeConnections(),
        notifier=FakeNotifier(),
        things=FakeThings(),
        people=FakePeople(EVERYBODY),
        sign_ins=FakeSignIns(clock),
        access_tokens=FakeAccessTokens(),
        releases=FakeReleases(),
        secret=b"a secret of the tests",
        console="https://home.test",
        has_picture_streams=True,
    )


def add_camera(home: StagedHome, thing: ThingName, *groups: str) -> None:
    """Register a thing, adopt it as a camera and put it into groups, which are made where they are not there."""
    home.things.registered.setdefault(thing, "")
    ask_for(home, OWNER, "POST", "/cameras", {"thingName": thing, "displayName": thing.title()})
    for group in groups:
        if ask(home, OWNER, "GET", f"/groups/{group}")[0] == 404:
            ask_for(home, OWNER, "POST", "/groups", {"name": group})
        ask_for(home, OWNER, "POST", f"/groups/{group}/cameras", {"cameras": [thing]})


def make_fleet(home: StagedHome) -> None:
    """Three cameras: garden and gate in the group `outside`, hall in `inside`."""
    add_camera(home, GARDEN, "outside")
    add_camera(home, GATE, "outside")
    add_camera(home, HALL, "inside")


def ask(
    home: StagedHome, person: Person | None, method: str, path: str, /, body: object = None, **query: object
) -> tuple[int, Any]:
    """The status and the JSON of an answer. `body` is any JSON value, or bytes that are sent as they are."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    request = HttpRequest(method, path, {name: str(value) for name, value in query.items()}, raw)
    answer = surface.serve(home, request, person, request_id="r-1", source_ip="192.0.2.7", now_s=home.clock())
    return answer.status, json.loads(answer.body) if answer.body else None


def ask_for(
    home: StagedHome, person: Person | None, method: str, path: str, /, body: object = None, **query: object
) -> Any:
    """The JSON of an answer that has to be a success."""
    status, answer = ask(home, person, method, path, body, **query)
    assert 200 <= status < 300, (method, path, status, answer)
    return answer


def problem_of(
    home: StagedHome, person: Person | None, method: str, path: str, /, body: object = None, **query: object
) -> tuple[int, str | None]:
    """Status and field of an answer that has to be an error."""
    status, answer = ask(home, person, method, path, body, **query)
    assert status >= 400, (method, path, status, answer)
    return status, answer.get("field")


def list_all(
    home: StagedHome, person: Person | None, path: str, /, *, limit: int = 2, **query: object
) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    items: list[dict[str, Any]] = []
    while True:
        page = ask_for(home, person, "GET", path, None, limit=limit, **query)
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["nextToken"] is None:
            return items
        query["nextToken"] = page["nextToken"]
