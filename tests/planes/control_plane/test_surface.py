"""All areas of the control plane, put together."""

from __future__ import annotations

import importlib
import json
import pkgutil

from pinthesky.planes import control_plane
from pinthesky.planes.control_plane import surface
from pinthesky.planes.routing import HttpRequest, Routes
from tests.planes.home import NOBODY, VIEWER, ask, problem_of


def test_every_area_is_on_the_surface():
    names = [each.name for each in pkgutil.iter_modules(control_plane.__path__)]
    modules = [importlib.import_module(f"{control_plane.__name__}.{name}") for name in names]
    areas = [module.routes for module in modules if isinstance(getattr(module, "routes", None), Routes)]
    there = {(route.method, route.path) for route in surface.ROUTER.routes}
    assert {(route.method, route.path) for area in areas for route in area} == there


def test_the_document_is_served_to_everybody(home):
    status, document = ask(home, NOBODY, "GET", "/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    assert document == surface.document()


def test_who_asks_too_often_is_told_when_to_come_again(home):
    request = HttpRequest("POST", "/tokens", {})
    while True:
        answer = surface.serve(home, request, VIEWER, request_id="r", source_ip="", now_s=home.clock())
        if answer.status != 201:
            break
    assert (answer.status, answer.headers["Retry-After"]) == (429, "60")


def test_a_code_of_oauth_stands_beside_the_message(home):
    status, problem = ask(home, NOBODY, "POST", "/registrations/token", {"device_code": "never given"})
    assert (status, problem["error"], "message" in problem, "requestId" in problem) == (
        400,
        "invalid_grant",
        True,
        True,
    )


def test_a_person_who_was_not_invited_is_refused_and_nobody_is_asked_to_sign_in(home):
    assert problem_of(home, NOBODY, "GET", "/cameras")[0] == 401


def test_a_stream_of_pictures_is_described_as_what_it_is():
    answers = surface.document()["paths"]["/cameras/{thing}/stream.mjpeg"]["get"]["responses"]
    assert set(answers["200"]["content"]) == {"multipart/x-mixed-replace"}
    assert "MotionJpeg" not in surface.document()["components"]["schemas"]


def test_patterns_are_those_of_json_schema():
    assert r"\Z" not in json.dumps(surface.document())
