"""Tokens with which a page of others shows one camera: who makes them, what they open, and until when."""

from __future__ import annotations

from typing import Any

import pytest

from pinthesky.planes.control_plane import surface
from pinthesky.planes.records import stream_tokens
from pinthesky.planes.routing import MOTION_JPEG, HttpRequest
from tests.planes.home import GUEST, MEMBER, OWNER, VIEWER, StagedHome, ask, ask_for, list_all, make_fleet, problem_of

PATH = "/cameras/garden/streamTokens"


@pytest.fixture(autouse=True)
def fleet(home: StagedHome) -> None:
    make_fleet(home)


def opened(home: StagedHome, token: str, thing: str = "garden") -> int:
    """The status with which a stream is answered, to whoever has a token."""
    request = HttpRequest("GET", f"/cameras/{thing}/stream.mjpeg", {"token": token}, b"")
    answer = surface.serve(home, request, None, request_id="r", source_ip="", now_s=home.clock())
    if answer.status == 200:
        assert (answer.body, answer.headers["Content-Type"]) == (b"", MOTION_JPEG)
    return answer.status


def made(home: StagedHome, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = ask_for(home, MEMBER, "POST", PATH, body)
    return answer


def test_a_token_opens_the_stream_of_its_camera_and_of_no_other(home):
    token = made(home, note="the hall's tablet")
    assert token["path"] == f"/cameras/garden/stream.mjpeg?token={token['token']}"
    assert (token["expiresAt"], token["createdBy"], token["note"]) == (None, "max", "the hall's tablet")
    assert opened(home, token["token"]) == 200
    assert opened(home, token["token"], "gate") == 404
    assert opened(home, "A" * 43) == 404
    assert opened(home, "short") == 400
    assert ask(home, None, "GET", "/cameras/garden/stream.mjpeg")[0] == 400


def test_a_token_is_shown_once_and_only_its_hash_is_kept(home):
    token = made(home)
    (listed,) = list_all(home, OWNER, PATH)
    assert listed["id"] == token["id"]
    assert token["token"] not in str(listed)
    (record,) = home.table.query("stream-token#garden").records
    assert token["token"].encode() not in record.content


def test_lists_come_page_by_page(home):
    ids = {made(home)["id"] for _ in range(5)}
    assert {each["id"] for each in list_all(home, MEMBER, PATH, limit=2)} == ids


def test_a_token_that_was_revoked_opens_nothing(home):
    token = made(home)
    assert ask(home, MEMBER, "DELETE", f"{PATH}/{token['id']}") == (204, None)
    assert opened(home, token["token"]) == 404
    assert ask(home, MEMBER, "DELETE", f"{PATH}/{token['id']}")[0] == 404
    assert list_all(home, MEMBER, PATH) == []


def test_a_token_ends_at_its_time(home):
    token = made(home, expiresInSeconds=60)
    home.clock.now_s += 59
    assert opened(home, token["token"]) == 200
    home.clock.now_s += 2
    assert opened(home, token["token"]) == 404


def test_a_token_ends_with_whoever_made_it_and_with_what_they_may_see(home):
    token = made(home)
    ask_for(home, OWNER, "PUT", "/people/max", {"role": "viewer", "groups": ["inside"]})
    assert opened(home, token["token"]) == 404
    ask_for(home, OWNER, "PUT", "/people/max", {"role": "viewer"})
    assert opened(home, token["token"]) == 200
    ask(home, OWNER, "DELETE", "/people/max")
    assert opened(home, token["token"]) == 404


def test_a_token_ends_with_its_camera_and_opens_no_new_one_of_that_name(home):
    token = made(home)
    ask(home, OWNER, "DELETE", "/cameras/garden")
    assert opened(home, token["token"]) == 404
    home.things.registered["garden"] = ""
    ask_for(home, OWNER, "POST", "/cameras", {"thingName": "garden"})
    assert opened(home, token["token"]) == 404


def test_a_camera_that_was_removed_meanwhile_shows_nothing(home):
    token = made(home)
    home.cameras.remove("garden")
    assert opened(home, token["token"]) == 404


def test_privacy_is_privacy_from_when_it_was_asked_for_until_the_camera_says_that_it_is_over(home):
    token = made(home)
    until_s = int(home.clock()) + 600
    ask_for(home, OWNER, "PUT", "/modes", {"mode": "privacy", "camera": "garden", "until": until_s * 1000})
    assert opened(home, token["token"]) == 409
    home.shadows.report("garden", {"mode": {"mode": "privacy", "until": until_s}})
    ask_for(home, OWNER, "PUT", "/modes", {"mode": "armed", "camera": "garden"})
    assert opened(home, token["token"]) == 409
    home.clock.now_s = until_s + 1
    assert opened(home, token["token"]) == 200


def test_a_home_without_streams_says_so(home):
    token = made(home)
    object.__setattr__(home, "has_picture_streams", False)
    assert opened(home, token["token"]) == 404
    status, answer = ask(home, MEMBER, "POST", PATH, {})
    assert status == 404
    assert "a hub does" in answer["message"]


def test_there_is_a_bounded_number_of_tokens(home, monkeypatch):
    monkeypatch.setattr(stream_tokens, "OF_CAMERA_MAX", 1)
    made(home)
    assert ask(home, MEMBER, "POST", PATH, {})[0] == 409


@pytest.mark.parametrize("body, field", [({"expiresInSeconds": 59}, "expiresInSeconds"), ({"note": "x" * 201}, "note")])
def test_what_cannot_be_is_answered_with_its_field(home, body, field):
    assert problem_of(home, MEMBER, "POST", PATH, body) == (400, field)


def test_who_only_looks_lets_nobody_look(home):
    for person in (VIEWER, GUEST):
        assert ask(home, person, "POST", PATH, {})[0] == 403
