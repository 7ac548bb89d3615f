"""The planes' own tests again, with every request on its way through a function in Lambda."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pinthesky.aws.adapters.access_tokens import Identity
from pinthesky.aws.adapters.sign_ins import CognitoSignIns
from pinthesky.aws.lambda_handlers import Entrances
from pinthesky.errors import NotAuthorized
from pinthesky.model.identifiers import ConnectionId
from pinthesky.model.people import Person
from pinthesky.planes.data_plane import endpoint
from pinthesky.planes.home import Home
from pinthesky.planes.routing import HttpAnswer, HttpRequest
from tests.planes import console as browser
from tests.planes import home as stage
from tests.planes.fakes import Clock
from tests.planes.home import EVERYBODY, StagedHome
from tests.support import lambda_permissions
from tests.support.lambda_calls import BUCKET, Context, claims_for, http_answer, http_event, socket_event
from tests.support.user_pool import CLIENT, ISSUER


class GuardedEntrances(Entrances):
    """The same, each behind the actions that the reference gives its handler."""

    def __getattribute__(self, name: str) -> Any:
        """Everything but a handler is as it was."""
        found = super().__getattribute__(name)
        if name not in lambda_permissions.ENTRANCES:
            return found
        plain = Entrances(**{each.name: getattr(self, each.name) for each in dataclasses.fields(Entrances)})
        home = lambda_permissions.guarded(plain.home, name)
        handler: Callable[..., Any] = getattr(dataclasses.replace(plain, home=home), name)
        return handler


def entrances(given: Home, clock: Clock, **more: Any) -> Entrances:
    """The functions' ways into a home of the tests, which may do there what the reference says and no more."""
    return GuardedEntrances(
        home=given,
        identity=Identity(ISSUER, frozenset({CLIENT})),
        sign_ins=CognitoSignIns(given.table, now_s=clock),
        media_bucket=BUCKET,
        now_s=clock,
        **more,
    )


@pytest.fixture(autouse=True)
def through_lambda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Has `ask` go through the function; holds the paths that were asked for."""
    taken: list[str] = []

    def serve(
        home: StagedHome, request: HttpRequest, person: Person | None, *, request_id: str, source_ip: str, now_s: float
    ) -> HttpAnswer:
        if person is not None and person not in EVERYBODY:
            # Somebody whom a test has made up: who asks is looked up here, by the token.
            home.people._people[person.id] = person
        event = http_event(request, claims_for(person))
        event["requestContext"]["http"]["sourceIp"] = source_ip
        taken.append(request.path)
        return http_answer(entrances(home, home.clock).http(event, Context()))

    monkeypatch.setattr(stage, "surface", SimpleNamespace(serve=serve))
    return taken


def take_over(into: dict[str, Any], *modules: ModuleType) -> None:
    """Make tests and fixtures of modules those of another; a test's name then says which module it is of."""
    for module in modules:
        area = module.__name__.rpartition(".")[2].removeprefix("test_")
        for name, value in vars(module).items():
            if name.startswith("test_"):
                into[f"test_{area}__{name.removeprefix('test_')}"] = value
            elif type(value).__name__ == "FixtureFunctionDefinition":
                assert into.setdefault(name, value) is value, f"{name} is a fixture of two modules"


@pytest.fixture
def sockets_through_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the browser's end of the data plane go through the function too."""

    def opened(home: StagedHome, connection: ConnectionId, opening: endpoint.Opening, *, now_s: float) -> str:
        headers = {"Sec-WebSocket-Protocol": ", ".join(opening.subprotocols), "User-Agent": opening.user_agent}
        event = socket_event("CONNECT", connection, headers=headers, queryStringParameters=dict(opening.query) or None)
        event["requestContext"]["identity"]["sourceIp"] = opening.source_ip
        said = _said(home, event)
        if said["statusCode"] != 200:
            raise NotAuthorized(said["body"])
        return str(said["headers"]["Sec-WebSocket-Protocol"])

    def received(home: StagedHome, connection: ConnectionId, message: str | bytes, *, now_s: float) -> None:
        text = message if isinstance(message, str) else message.decode("utf-8", "replace")
        assert _said(home, socket_event("MESSAGE", connection, text)) == {"statusCode": 200}

    def closed(home: StagedHome, connection: ConnectionId) -> None:
        assert _said(home, socket_event("DISCONNECT", connection)) == {"statusCode": 200}

    way = SimpleNamespace(Opening=endpoint.Opening, opened=opened, received=received, closed=closed)
    monkeypatch.setattr(browser, "endpoint", way)


def _said(home: StagedHome, event: dict[str, Any]) -> dict[str, Any]:
    return entrances(home, home.clock).socket(event, Context())
