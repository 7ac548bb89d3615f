"""Every route through the hub's HTTP: by everybody, as the table of the planes says by hand; and made-up requests.

What is made up, right and wrong, comes from the OpenAPI document by schemathesis: it breaks nothing, and what is
answered is what the document says: status, type and schema. What the document does not allow is not taken.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import pytest
import requests
import schemathesis
import tomllib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from pinthesky.errors import NotFound
from pinthesky.hub import control_plane_site
from pinthesky.hub.adapters.notifier import HubNotifier
from pinthesky.hub.web_push import WebPush
from pinthesky.planes.alerts import destination_of
from pinthesky.planes.control_plane.surface import ROUTER
from pinthesky.planes.pushes import push
from pinthesky.planes.records.pushes import Push
from pinthesky.planes.records.subscriptions import SubscriptionId
from tests.hub.test_notifier import ALERT
from tests.planes.home import GARDEN, HALL
from tests.planes.peopled_home import START
from tests.support.hostile_clients import RawSocket
from tests.support.planes_at_hub import HubOfPlanes

TABLE = tomllib.loads((Path(__file__).parents[1] / "planes" / "authorization_table.toml").read_text(encoding="utf-8"))
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
SCHEMA = schemathesis.openapi.from_path(REFERENCE)
# Who asks is the business of the table; here everybody is the owner.
SCHEMA.config.generation.update(with_security_parameters=False)
Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = {"long": 400, "short": 40}.get(os.environ.get("SOAK", "long"), 400)
COLUMNS = ("owner", "member", "viewer", "guest", "hidden", "stranger", "nobody")
_ROUTE = re.compile(r"(?P<method>[A-Z]+) (?P<path>/\S*)(?P<variant> .*)?")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubOfPlanes]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STRANGERS_PER_MINUTE", "REQUESTS_PER_MINUTE"):
            patch.setattr(control_plane_site, name, 1_000_000)
        made = HubOfPlanes(tmp_path_factory.mktemp("planes"))
    yield made
    made.close()


def expected_of(row: str) -> dict[str, str]:
    """What everybody is answered at home, where it differs from the table for a reason."""
    cells = dict(zip(COLUMNS, TABLE["routes"][row].split(), strict=True))
    # Who was uninvited has a token that is good for nothing any more, not even where none is needed.
    cells["stranger"] = "401"
    return cells


def asked(stage: HubOfPlanes, row: str, column: str) -> tuple[str, str, str, Any, dict[str, object]]:
    found = _ROUTE.fullmatch(row)
    assert found is not None
    who = "guest" if column == "hidden" else column
    somebody_else = found["variant"] == " of somebody else"
    names = dict(stage.names(who, hidden=column == "hidden", somebody_else=somebody_else))
    plain = row if row == "POST /subscriptions by e-mail" else f"{found['method']} {found['path']}"
    query = stage.query_of(plain)
    if "/sessions" in found["path"] and "connection" not in found["path"] and somebody_else:
        query["person"] = stage.ids["member" if who == "owner" else "owner"]
    if found["path"].startswith("/iot/"):
        names["name"] = "cameras"
    body = stage.body_of(plain)
    if plain == "POST /subscriptions by e-mail":
        body = {"protocol": "https", "endpoint": "https://192.168.1.8/hook"}  # this hub has no mail server
    return who, found["method"], found["path"].format_map(names), body, query


@pytest.mark.parametrize("row", TABLE["routes"])
def test_a_route_answers_everybody_as_the_table_says(stage: HubOfPlanes, row: str):
    expected = {column: cell for column, cell in expected_of(row).items() if cell != "-"}
    found = {}
    for column, cell in expected.items():
        who, method, path, body, query = asked(stage, row, column)
        found[column] = str(stage.ask(who, method, path, body, **query)[0])
        if not row.startswith("GET") and (cell.startswith("2") or found[column].startswith("2")):
            stage.restore()
    assert found == expected


def test_every_route_is_asked_for_through_http():
    assert {f"{route.method} {route.path}" for route in ROUTER.routes} <= set(TABLE["routes"])


def is_made_up(operation: Operation, mode: GenerationMode) -> bool:
    """Whether there is anything in which a request of this operation could be wrong."""
    has_parts = bool(list(operation.iter_parameters())) or bool(list(operation.body))
    return has_parts or mode is GenerationMode.POSITIVE


MADE_UP = [
    pytest.param(operation, mode, id=f"{operation.method} {operation.path} {mode.value}")
    for operation in (each.ok() for each in SCHEMA.get_all_operations() if isinstance(each, Ok))
    for mode in GenerationMode
    if is_made_up(operation, mode)
]


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


def check_made_up_requests(
    stage: HubOfPlanes, session: requests.Session, operation: Operation, *, mode: GenerationMode, examples: int
) -> None:
    names = dict(stage.names("owner"))
    token = stage.people["owner"].tokens["access_token"]

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), is_there=st.booleans())
    def ask(case: schemathesis.Case, is_there: bool) -> None:
        if is_there:
            # Random names are of nothing that there is.
            case.path_parameters.update({name: names[name] for name in case.path_parameters})
        answer = case.call(
            f"{stage.people['owner'].origin}/api",
            session=session,
            headers={"Authorization": f"Bearer {token}"},
            timeout=20,
            stream=False,
        )
        case.validate_response(answer, checks=[*CHECKS, *([] if is_there else [negative_data_rejection])])

    ask()
    if operation.method != "get":
        stage.restore()


@pytest.mark.parametrize("operation, mode", MADE_UP)
def test_made_up_requests_are_answered_as_the_document_says(
    stage: HubOfPlanes, session: requests.Session, operation: Operation, mode: GenerationMode
):
    check_made_up_requests(stage, session, operation, mode=mode, examples=3)


@pytest.mark.soak
@pytest.mark.parametrize("operation, mode", MADE_UP)
def test_very_many_made_up_requests_are(
    stage: HubOfPlanes, session: requests.Session, operation: Operation, mode: GenerationMode
):
    check_made_up_requests(stage, session, operation, mode=mode, examples=EXAMPLES)


def test_a_browser_that_has_unsubscribed_is_subscribed_no_longer(stage: HubOfPlanes, monkeypatch: pytest.MonkeyPatch):
    def gone(*_: object) -> None:
        raise NotFound("the browser has unsubscribed")

    monkeypatch.setattr(WebPush, "send", gone)
    notifier, rule = stage.home.notifier, stage.names("member")["subscription"]
    assert isinstance(notifier, HubNotifier)
    subscription = stage.home.subscriptions.get(SubscriptionId(rule))
    notifier.deliver(ALERT, [destination_of(subscription)])
    notifier.step()
    assert stage.ask("member", "GET", f"/subscriptions/{rule}")[0] == 404
    stage.restore()


def test_the_key_of_web_push_stays_the_same(stage: HubOfPlanes):
    key = stage.ask_for("viewer", "GET", "/push/key")["publicKey"]
    again = WebPush((stage.data / "authority" / "push.key").read_bytes(), contact="mailto:a@example.com")
    assert key == again.public_key
    assert (stage.data / "authority" / "push.key").stat().st_mode & 0o077 == 0


@contextlib.contextmanager
def socket_of(stage: HubOfPlanes, who: str) -> Iterator[RawSocket]:
    query = "" if who == "nobody" else f"?Authorization={quote(stage.ask_for(who, 'POST', '/tokens')['token'])}"
    client = RawSocket(stage.server.port, query)
    assert client.status == 101
    yield client
    client.close()


def said(client: RawSocket, action: str, payload: dict[str, Any]) -> tuple[str, set[tuple[str, str]]]:
    """The status of an answer, and type and camera of the events that came before it."""
    client.frame(json.dumps({"action": action, "payload": payload}).encode())
    events = set()
    while "response" not in (message := client.hear()):
        events.add((message["event"]["type"], message["event"]["camera"]))
    return str(message["response"]["statusCode"]), events


@pytest.mark.parametrize("column", [column for column in COLUMNS if column != "stranger"])
def test_actions_are_answered_over_a_socket_as_the_table_says(stage: HubOfPlanes, column: str):
    who, camera = ("guest", HALL) if column == "hidden" else (column, GARDEN)
    expected = {row: dict(zip(COLUMNS, cells.split(), strict=True))[column] for row, cells in TABLE["actions"].items()}
    if column == "hidden":
        expected = {row: cell for row, cell in expected.items() if row.startswith("invoke")}
    found = {}
    for row in expected:
        action, _, command = row.partition(" ")
        event = START if command == "record" else {"name": command}
        payload: dict[str, Any] = {"camera": str(camera), "event": event} if command else {}
        with socket_of(stage, who) as client:
            found[row] = said(client, action, payload)[0]
    assert found == expected


def test_events_reach_everybody_s_socket_as_the_table_says(stage: HubOfPlanes):
    with contextlib.ExitStack() as stack:
        people = ("owner", "member", "viewer", "guest", "nobody")
        sockets = {who: stack.enter_context(socket_of(stage, who)) for who in people}
        for row in TABLE["pushes"]:
            for camera in (GARDEN, HALL):
                push(stage.home, Push(type=row, camera=camera, time=1), time.time())
        heard = {who: said(client, "status", {})[1] for who, client in sockets.items()}
    for row, cells in TABLE["pushes"].items():
        expected = dict(zip(COLUMNS, cells.split(), strict=True))
        found = {who: "yes" if (row, "garden") in heard[who] else "no" for who in people}
        found["hidden"] = "yes" if (row, "hall") in heard["guest"] else "no"
        assert {**found, "stranger": "no"} == expected, row
    stage.restore()
