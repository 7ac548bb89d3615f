"""Routes: from a declaration to checked arguments, answers and errors."""

from __future__ import annotations

import json
from typing import Annotated, Any, Optional, cast

import hypothesis
import msgspec
import pytest
from hypothesis import strategies

from pinthesky.errors import Conflict, InvalidInput, InvariantBroken, Unavailable
from pinthesky.model.identifiers import ThingName
from pinthesky.model.people import Email, Person, PersonId, Role
from pinthesky.planes.authorization import Access, Permission
from pinthesky.planes.home import Home
from pinthesky.planes.openapi import document
from pinthesky.planes.routing import BODY_MAX, Call, HttpRequest, Router, Routes

routes = Routes("cameras")


class Listing(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100
    next_token: Optional[str] = None
    since_time: Optional[int] = None


class Camera(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    name: ThingName
    note: Annotated[str, msgspec.Meta(max_length=10)] = ""


class Cameras(msgspec.Struct):
    items: list[Camera]


@routes.get("/cameras", Permission.READ, "Cameras")
def list_cameras(call: Call, query: Listing) -> Cameras:
    assert call.person.sees_everything in (True, False)
    return Cameras([Camera(ThingName("garden"))] * query.limit)


@routes.get("/cameras/stats", Permission.READ, "Numbers of all cameras")
def camera_stats(call: Call) -> dict[str, int]:
    return {"cameras": 3}


@routes.get("/cameras/{thing}", Permission.READ, "One camera")
def get_camera(call: Call, thing: ThingName) -> Camera:
    return Camera(thing)


@routes.post("/cameras/{thing}", Permission.OPERATE, "Change a camera", status=201)
def change_camera(call: Call, thing: ThingName, body: Camera) -> Camera:
    if body.note == "broken":
        raise Unavailable("table hub-records: secret detail")
    if body.note == "taken":
        raise Conflict("there is a camera garden already")
    if body.note == "odd":
        raise InvalidInput("camera.framerate", "must be 1 to 90, got 0")
    return body


@routes.delete("/cameras/{thing}", Permission.OWN, "Remove a camera")
def remove_camera(call: Call, thing: ThingName) -> None:
    return None


@routes.get("/openapi.json", None, "This document")
def describe(call: Call) -> dict[str, str]:
    return {"openapi": "3.1.0"}


ROUTER = Router(routes)
NO_HOME = cast("Home", None)
"""These routes ask nothing of their home."""
GROUPS = {ThingName("garden"): frozenset({"outside"}), ThingName("hall"): frozenset({"inside"})}


def access(role: Role | None, groups: frozenset[str] | None = None) -> Access:
    return Access(
        Person(PersonId("p1"), Email("a@example.com"), role, groups), lambda thing: GROUPS.get(thing, frozenset())
    )


def ask(method: str, path: str, body: bytes = b"", who: Access | None = None, **query: str) -> tuple[int, Any]:
    call = Call(home=NO_HOME, access=who, request_id="r-1", now_s=1_800_000_000.0)
    answer = ROUTER.serve(HttpRequest(method, path, query, body), call)
    return answer.status, json.loads(answer.body) if answer.body else None


OWNER = access(Role.OWNER)


def test_arguments_come_typed_from_path_query_and_body():
    assert ask("GET", "/cameras/garden", who=OWNER) == (200, {"name": "garden"})
    status, listed = ask("GET", "/cameras", who=OWNER, limit="2")
    assert (status, len(listed["items"])) == (200, 2)
    assert ask("POST", "/cameras/garden", b'{"name":"garden","note":"x"}', OWNER) == (
        201,
        {"name": "garden", "note": "x"},
    )
    assert ask("DELETE", "/cameras/garden", who=OWNER) == (204, None)


def test_a_fixed_name_wins_over_a_parameter():
    assert ask("GET", "/cameras/stats", who=OWNER) == (200, {"cameras": 3})


@pytest.mark.parametrize(
    "method, path", [("GET", "/nothing"), ("PATCH", "/cameras"), ("GET", "/cameras/"), ("GET", "/cameras/a/b")]
)
def test_what_no_route_names_is_not_found(method, path):
    status, problem = ask(method, path, who=OWNER)
    assert (status, problem["requestId"]) == (404, "r-1")


@pytest.mark.parametrize(
    "body, field, reason",
    [
        (b'{"name":"a b"}', "name", "must be 1 to 128 letters, digits, ':', '_' or '-', got 'a b'"),
        (b'{"name":"a","note":"12345678901"}', "note", "expected `str` of length <= 10"),
        (b'{"note":"a"}', "name", "object missing required field `name`"),
        (b'{"name":"a","admin":true}', "admin", "object contains unknown field `admin`"),
        (b"[]", "body", "expected `object`, got `array`"),
        (b"{", "body", "is not JSON: Input data was truncated"),
        (b"", "body", "is not JSON: Input data was truncated"),
        (b'{"name":"a","note":"odd"}', "camera.framerate", "must be 1 to 90, got 0"),
    ],
)
def test_a_bad_body_names_its_field_and_the_bound(body, field, reason):
    assert ask("POST", "/cameras/garden", body, OWNER) == (
        400,
        {"message": reason, "requestId": "r-1", "field": field},
    )


@pytest.mark.parametrize(
    "query, field",
    [({"limit": "0"}, "limit"), ({"limit": "ten"}, "limit"), ({"order": "up"}, "order"), ({"a": "b" * 9000}, "query")],
)
def test_a_bad_query_names_its_parameter(query, field):
    status, problem = ask("GET", "/cameras", who=OWNER, **query)
    assert (status, problem["field"]) == (400, field)


def test_a_parameter_is_left_out_and_never_null():
    status, problem = ask("GET", "/cameras", who=OWNER, sinceTime="null")
    assert (status, problem["field"]) == (400, "sinceTime")


@pytest.mark.parametrize("path, query", [("/nothing\ud800", {}), ("/cameras", {"a\ud800": "b"})])
def test_what_has_no_utf8_form_is_bad_input(path, query):
    status, problem = ask("GET", path, who=OWNER, **query)
    assert (status, problem["field"]) == (400, "path")


def test_a_name_that_no_camera_can_have_is_bad_input():
    status, problem = ask("GET", "/cameras/..%2f", who=OWNER)
    assert (status, problem["field"]) == (400, "thing")


def test_errors_have_their_status_and_defects_keep_their_details_to_the_log(caplog):
    assert ask("POST", "/cameras/garden", b'{"name":"a","note":"taken"}', OWNER)[0] == 409
    status, problem = ask("POST", "/cameras/garden", b'{"name":"a","note":"broken"}', OWNER)
    assert status == 500
    assert "secret detail" not in problem["message"]
    assert "secret detail" in caplog.text


def test_a_body_that_is_too_large_is_refused_before_it_is_read():
    assert ask("POST", "/cameras/garden", b"x" * (BODY_MAX + 1), OWNER)[0] == 413


def test_a_body_nested_without_end_is_bad_input():
    assert ask("POST", "/cameras/garden", b'{"name":' + b"[" * 100_000, OWNER)[0] == 400


def test_nobody_gets_anything_but_what_answers_without_signing_in():
    assert ask("GET", "/openapi.json") == (200, {"openapi": "3.1.0"})
    assert ask("GET", "/cameras")[0] == 401


@pytest.mark.parametrize(
    "role, allowed",
    [(Role.OWNER, [200, 201, 204]), (Role.MEMBER, [200, 201, 403]), (Role.VIEWER, [200, 403, 403]), (None, [403] * 3)],
)
def test_a_role_may_what_its_permissions_say(role, allowed):
    who = access(role)
    asked = [
        ask("GET", "/cameras/garden", who=who),
        ask("POST", "/cameras/garden", b'{"name":"a"}', who),
        ask("DELETE", "/cameras/garden", who=who),
    ]
    assert [status for status, _ in asked] == allowed


@pytest.mark.parametrize("path", ["/cameras/hall", "/cameras/never-was"])
def test_a_camera_of_another_group_is_not_there(path):
    status, problem = ask("GET", path, who=access(Role.VIEWER, frozenset({"outside"})))
    assert (status, problem["message"]) == (404, f"there is no camera {path.rpartition('/')[2]}")


def test_a_viewer_of_a_group_sees_its_cameras():
    who = access(Role.VIEWER, frozenset({"outside"}))
    assert ask("GET", "/cameras/garden", who=who)[0] == 200
    assert [who.sees_group("outside"), who.sees_group("inside"), OWNER.sees_group("inside")] == [True, False, True]
    assert not access(None).sees(ThingName("garden"))
    assert not access(None).sees_group("outside")


def test_two_routes_of_one_shape_are_a_defect():
    twice = Routes("twice")

    @twice.get("/cameras/{name}", Permission.READ, "Again")
    def get_again(call: Call, name: ThingName) -> None: ...

    with pytest.raises(InvariantBroken, match="two routes"):
        Router(routes, twice)


@pytest.mark.parametrize(
    "path, function",
    [("/a/{thing}", lambda call: None), ("/a", lambda call, extra: None), ("/a", lambda: None)],
)
def test_a_function_that_does_not_fit_its_path_is_a_defect(path, function):
    wrong = Routes("wrong")
    wrong.get(path, None, "Wrong")(function)
    with pytest.raises(InvariantBroken):
        Router(wrong)


def test_a_parameter_of_a_path_is_an_identifier():
    def loose(call: Call, thing: str) -> None: ...

    wrong = Routes("wrong")
    wrong.get("/a/{thing}", None, "Wrong")(loose)
    with pytest.raises(InvariantBroken, match="thing is no identifier"):
        Router(wrong)


def test_a_route_without_sign_in_cannot_ask_who_it_is():
    with pytest.raises(InvariantBroken):
        _ = Call(home=NO_HOME, access=None, request_id="r", now_s=0.0).person


@hypothesis.given(
    strategies.sampled_from(["GET", "POST", "DELETE"]),
    strategies.text(max_size=20),
    strategies.binary(max_size=60),
    strategies.dictionaries(strategies.sampled_from(["limit", "nextToken", "x"]), strategies.text(max_size=8)),
)
def test_whatever_arrives_gets_an_answer_below_500(method, name, body, query):
    status, _ = ask(method, f"/cameras/{name}", body, OWNER, **query)
    assert status < 500


def test_the_document_describes_every_route():
    made = document(routes)
    assert made["openapi"] == "3.1.0"
    assert {(path, method) for path, methods in made["paths"].items() for method in methods} == {
        (route.path, route.method.lower()) for route in routes
    }
    operation = made["paths"]["/cameras/{thing}"]["post"]
    assert operation["parameters"][0]["schema"]["pattern"] == "^(?:[A-Za-z0-9:_-]{1,128})$"
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Camera"}
    assert set(operation["responses"]) == {"201", "400", "401", "403", "404", "409", "413", "429", "500"}
    assert made["components"]["schemas"]["Camera"]["properties"]["note"]["maxLength"] == 10
    assert "Listing" not in made["components"]["schemas"]
    listing = made["paths"]["/cameras"]["get"]["parameters"]
    assert [(each["name"], each["in"], each["required"]) for each in listing] == [
        ("limit", "query", False),
        ("nextToken", "query", False),
        ("sinceTime", "query", False),
    ]
    assert listing[1]["schema"] == {"type": "string"}
    assert "content" not in made["paths"]["/cameras/{thing}"]["delete"]["responses"]["204"]
    assert made["paths"]["/openapi.json"]["get"]["security"] == []
    json.dumps(made)
