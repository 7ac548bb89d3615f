"""Every route, action and push by every role, as `authorization_table.toml` says it by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import tomllib

from pinthesky.model.commands import COMMANDS
from pinthesky.model.identifiers import ConnectionId
from pinthesky.model.people import Person
from pinthesky.planes.control_plane.surface import ROUTER
from pinthesky.planes.data_plane import endpoint
from pinthesky.planes.data_plane.actions import ACTIONS
from pinthesky.planes.pushes import push
from pinthesky.planes.records.pushes import Push, PushType
from tests.planes.home import GARDEN, GUEST, HALL, MEMBER, NOBODY, OWNER, STRANGER, VIEWER, StagedHome, ask
from tests.planes.peopled_home import BODIES, OTHER, QUERIES, START, PeopledHome

TABLE = tomllib.loads((Path(__file__).parent / "authorization_table.toml").read_text(encoding="utf-8"))
COLUMNS: dict[str, Person | None] = {
    "owner": OWNER,
    "member": MEMBER,
    "viewer": VIEWER,
    "guest": GUEST,
    "hidden": GUEST,
    "stranger": STRANGER,
    "nobody": NOBODY,
}
_ROUTE = re.compile(r"(?P<method>[A-Z]+) (?P<path>/\S*)(?P<variant> .*)?")


@pytest.fixture(scope="module")
def peopled(tmp_path_factory: pytest.TempPathFactory) -> PeopledHome:
    return PeopledHome(tmp_path_factory.mktemp("peopled"))


@pytest.fixture
def home(peopled: PeopledHome) -> Iterator[StagedHome]:
    copied = peopled.copy()
    yield copied
    copied.database.close()


def cells(line: str) -> dict[str, str]:
    return dict(zip(COLUMNS, line.split(), strict=True))


def request_of(peopled: PeopledHome, row: str, column: str) -> tuple[Person | None, str, str, Any, dict[str, object]]:
    """Who asks for what, with which body and query, in a cell of the table."""
    found = _ROUTE.fullmatch(row)
    assert found is not None
    person = COLUMNS[column]
    somebody_else = found["variant"] == " of somebody else"
    names = dict(peopled.names(person, hidden=column == "hidden", somebody_else=somebody_else))
    plain = row if row in BODIES else f"{found['method']} {found['path']}"
    query = dict(QUERIES.get(plain, {}))
    if "/sessions" in found["path"] and "connection" not in found["path"] and somebody_else and person is not None:
        query["person"] = str(OTHER[person.id].id)
    if found["path"].startswith("/iot/"):
        names["name"] = "cameras"
    return person, found["method"], found["path"].format_map(names), BODIES.get(plain), query


def answered(peopled: PeopledHome, home: StagedHome, row: str, column: str) -> int:
    person, method, path, body, query = request_of(peopled, row, column)
    return ask(home, person, method, path, body, **query)[0]


@pytest.mark.parametrize("row", TABLE["routes"])
def test_a_route_answers_everybody_as_the_table_says(peopled, row):
    expected = {column: cell for column, cell in cells(TABLE["routes"][row]).items() if cell != "-"}
    refused = peopled.copy()
    found = {}
    for column, cell in expected.items():
        # What is refused, or only read, changes nothing for whoever asks next.
        changes = cell.startswith("2") and not row.startswith("GET")
        stage = peopled.copy() if changes else refused
        found[column] = str(answered(peopled, stage, row, column))
        if changes:
            stage.database.close()
    refused.database.close()
    assert found == expected


def test_every_route_stands_in_the_table():
    there = {f"{route.method} {route.path}" for route in ROUTER.routes}
    written = {row for row in TABLE["routes"] if " of " not in row and " by " not in row}
    assert there == written


def test_every_action_and_command_stands_in_the_table():
    there = {name for name in ACTIONS if name != "invoke"} | {f"invoke {name}" for name in COMMANDS}
    assert there == set(TABLE["actions"])


def test_every_push_stands_in_the_table():
    assert set(get_args(PushType)) == set(TABLE["pushes"])


@pytest.mark.parametrize("column", [name for name in COLUMNS if name not in ("stranger", "nobody")])
@pytest.mark.parametrize("row", TABLE["actions"])
def test_an_action_answers_everybody_as_the_table_says(peopled, home, row, column):
    expected = cells(TABLE["actions"][row])[column]
    person = COLUMNS[column]
    assert person is not None
    hidden = column == "hidden"
    if expected == "-":
        assert row == "login"
        return
    payload: dict[str, Any] = {}
    if row in ("status", "listSessions") and hidden:
        payload["connectionId"] = peopled.names(OTHER[person.id])["connection"]
    action, _, command = row.partition(" ")
    if command:
        event = START if command == "record" else {"name": command}
        payload = {"camera": str(HALL if hidden else GARDEN), "event": event}
    assert said(home, peopled.names(person)["connection"], action, payload) == expected


@pytest.mark.parametrize("row", TABLE["actions"])
def test_an_action_is_refused_to_strangers_and_to_nobody(home, row):
    action = row.partition(" ")[0]
    endpoint.opened(home, ConnectionId("new"), endpoint.Opening({}, ["manager"]), now_s=home.clock())
    home.connections.open("new")
    expected = cells(TABLE["actions"][row])
    assert said(home, "new", action, {}) == expected["nobody"]
    if expected["stranger"] != "-":
        assert said(home, "new", action, {"jwtId": f"token of {STRANGER.id}"}) == expected["stranger"]


def said(home: StagedHome, connection: str, action: str, payload: dict[str, Any]) -> str:
    """The status of an answer over an open connection."""
    message = json.dumps({"action": action, "payload": payload})
    endpoint.received(home, ConnectionId(connection), message, now_s=home.clock())
    return str(json.loads(home.connections.posted[ConnectionId(connection)][-1])["response"]["statusCode"])


@pytest.mark.parametrize("row", TABLE["pushes"])
def test_a_push_reaches_everybody_as_the_table_says(peopled, home, row):
    endpoint.opened(home, ConnectionId("new"), endpoint.Opening({}, ["manager"]), now_s=home.clock())
    home.connections.open("new")
    heard = {}
    for thing, columns in ((GARDEN, ("owner", "member", "viewer", "guest", "nobody")), (HALL, ("hidden",))):
        for posted in home.connections.posted.values():
            posted.clear()
        push(home, Push(type=row, camera=thing, time=home.clock.now_ms), home.clock())
        for column in columns:
            person = COLUMNS[column]
            connection = "new" if person is None else peopled.names(person)["connection"]
            heard[column] = "yes" if home.connections.posted[ConnectionId(connection)] else "no"
    # A stranger has no connection that anything could be pushed to.
    assert {**heard, "stranger": "no"} == cells(TABLE["pushes"][row])


@pytest.mark.parametrize("row", [row for row in TABLE["routes"] if row.startswith("GET")])
def test_nothing_that_a_guest_reads_tells_of_what_is_hidden(peopled, home, row):
    person, method, path, body, query = request_of(peopled, row, "guest")
    status, answer = ask(home, person, method, path, body, **query)
    told = json.dumps(answer).lower()
    if row != "GET /openapi.json":
        assert (status, "hall" in told, "inside" in told, str(peopled.of_camera[HALL]["share"]) in told) == (
            int(cells(TABLE["routes"][row])["guest"]),
            False,
            False,
            False,
        )
    assert status < 500
