"""The control plane over HTTP: who asks, how much, how often, and what becomes of what fails."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pinthesky.errors import NotAuthorized
from pinthesky.hub import control_plane_site
from pinthesky.hub.control_plane_site import ControlPlaneSite
from pinthesky.hub.picture_streams import PictureStreams
from pinthesky.model.people import Person, PersonId, Role
from pinthesky.planes.routing import BODY_MAX, HttpAnswer, HttpRequest

ANNA = Person(PersonId("anna"), None, Role.OWNER)


class Planes:
    """Answers with what it was asked, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[tuple[HttpRequest, Person | None]] = []
        self.broken = False

    def serve(self, request: HttpRequest, person: Person | None, *, request_id: str, source_ip: str) -> HttpAnswer:
        if self.broken:
            raise RuntimeError("secret detail")
        self.asked.append((request, person))
        body = json.dumps({"requestId": request_id, "from": source_ip}).encode()
        return HttpAnswer(200, body, {"Content-Type": "application/json"})


def person_of(token: str) -> Person:
    if token != "good":
        raise NotAuthorized("this access token has expired")
    return ANNA


@pytest.fixture
def planes() -> Planes:
    return Planes()


def site_of(planes: Planes) -> ControlPlaneSite:
    return ControlPlaneSite(planes.serve, person_of, PictureStreams(lambda *_: None))


@pytest.fixture
def browser(planes: Planes) -> TestClient:
    return TestClient(Starlette(routes=site_of(planes).routes()))


GOOD = {"Authorization": "Bearer good"}


def test_a_request_reaches_the_planes_as_it_was_meant(planes, browser):
    answer = browser.put("/api/cameras/a%2Fb?limit=3&x=%C3%A4", content=b'{"a":1}', headers=GOOD)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    ((request, person),) = planes.asked
    assert (request.method, request.path, dict(request.query)) == ("PUT", "/cameras/a/b", {"limit": "3", "x": "ä"})
    assert (request.body, person) == (b'{"a":1}', ANNA)


def test_who_shows_nothing_is_nobody_and_who_shows_something_wrong_is_refused(planes, browser):
    assert browser.get("/api/share/x").status_code == 200
    assert planes.asked[0][1] is None
    for header in ("Bearer bad", "Basic good", "good", ""):
        answer = browser.get("/api/cameras", headers={"Authorization": header})
        assert (answer.status_code, answer.json()["message"]) == (401, "this access token has expired")
        assert "invalid_token" in answer.headers["www-authenticate"]
    assert len(planes.asked) == 1


def test_a_body_that_is_too_large_is_not_read_to_its_end(planes, browser):
    browser.post("/api/groups", content=b"x" * (3 * BODY_MAX), headers=GOOD)
    assert len(planes.asked[0][0].body) == BODY_MAX + 1


def test_strangers_are_slowed_down_and_people_are_not_slowed_by_them(planes, monkeypatch):
    monkeypatch.setattr(control_plane_site, "STRANGERS_PER_MINUTE", 3)
    browser = TestClient(Starlette(routes=site_of(planes).routes()))
    bad = {"Authorization": "Bearer bad"}
    answers = [browser.get("/api/registrations/x", headers=headers) for headers in ({}, bad, {}, {}, bad)]
    assert [answer.status_code for answer in answers] == [200, 401, 200, 429, 429]
    assert answers[-1].headers["retry-after"] == "5"
    assert browser.get("/api/cameras", headers=GOOD).status_code == 200


def test_a_person_who_asks_without_end_is_slowed_down(planes, monkeypatch):
    monkeypatch.setattr(control_plane_site, "REQUESTS_PER_MINUTE", 3)
    browser = TestClient(Starlette(routes=site_of(planes).routes()))
    assert [browser.get("/api/x", headers=GOOD).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_what_breaks_inside_is_an_answer_that_tells_nothing(planes, browser, caplog):
    planes.broken = True
    answer = browser.get("/api/cameras", headers=GOOD)
    told: dict[str, Any] = answer.json()
    assert (answer.status_code, set(told)) == (500, {"message", "requestId"})
    assert "secret" not in answer.text
    assert told["requestId"] in caplog.text


def test_other_methods_are_refused(browser):
    assert browser.request("PATCH", "/api/cameras", headers=GOOD).status_code == 405
