"""People: who may use a home and as what, and where they are signed in."""

from __future__ import annotations

import pytest

from tests.planes.console import Console
from tests.planes.home import GUEST, MEMBER, OWNER, STRANGER, VIEWER, ask, ask_for, list_all, problem_of


def test_an_owner_sees_everybody_who_was_invited_page_by_page(fleet):
    people = list_all(fleet, OWNER, "/people", limit=3)
    assert [(each["id"], each["role"], each["groups"]) for each in people] == [
        ("gus", "viewer", ["outside"]),
        ("max", "member", None),
        ("olga", "owner", None),
        ("vera", "viewer", None),
    ]
    assert people[0]["email"] == "gus@example.com"


def test_somebody_is_invited_once(fleet):
    invited = ask_for(fleet, OWNER, "POST", "/people", {"email": "New@Example.com", "role": "member"})
    assert (invited["email"], invited["role"], invited["groups"]) == ("new@example.com", "member", None)
    assert problem_of(fleet, OWNER, "POST", "/people", {"email": "new@example.com", "role": "viewer"})[0] == 409


@pytest.mark.parametrize(
    "body, field",
    [
        ({"email": "nobody", "role": "member"}, "email"),
        ({"email": "a@" + "b" * 50 + ".c" * 102, "role": "member"}, "email"),
        ({"email": "a@example.com", "role": "king"}, "role"),
        ({"email": "a@example.com", "role": "viewer", "groups": []}, "groups"),
        ({"email": "a@example.com", "role": "viewer", "groups": ["attic"]}, "groups"),
        ({"email": "a@example.com", "role": "member", "groups": ["outside"]}, "groups"),
        ({"email": "a@example.com", "role": "member", "admin": True}, "admin"),
    ],
)
def test_an_invitation_that_cannot_be_is_refused_with_its_field(fleet, body, field):
    assert problem_of(fleet, OWNER, "POST", "/people", body) == (400, field)


def test_a_viewer_may_be_limited_to_groups(fleet):
    body = {"email": "a@example.com", "role": "viewer", "groups": ["outside", "inside"]}
    assert ask_for(fleet, OWNER, "POST", "/people", body)["groups"] == ["inside", "outside"]


def test_a_role_can_be_changed_but_there_is_always_an_owner(fleet):
    console = Console(fleet, VIEWER)
    changed = ask_for(fleet, OWNER, "PUT", "/people/vera", {"role": "viewer", "groups": ["inside"]})
    assert (changed["groups"], console.is_open) == (["inside"], False)
    assert problem_of(fleet, OWNER, "PUT", "/people/olga", {"role": "member"})[0] == 409
    assert problem_of(fleet, OWNER, "DELETE", "/people/olga")[0] == 409
    assert problem_of(fleet, OWNER, "PUT", "/people/ghost", {"role": "member"})[0] == 404


def test_who_is_removed_is_gone_and_disconnected(fleet):
    console = Console(fleet, VIEWER)
    assert ask(fleet, OWNER, "DELETE", "/people/vera") == (204, None)
    assert not console.is_open
    assert "vera" not in str(ask_for(fleet, OWNER, "GET", "/people"))
    assert problem_of(fleet, OWNER, "DELETE", "/people/vera")[0] == 404


@pytest.mark.parametrize(
    "person, permissions",
    [
        (OWNER, ["read", "watch", "operate", "own"]),
        (MEMBER, ["read", "watch", "operate"]),
        (GUEST, ["read", "watch"]),
    ],
)
def test_everybody_can_ask_who_they_are(fleet, person, permissions):
    me = ask_for(fleet, person, "GET", "/people/me")
    assert (me["id"], me["permissions"]) == (person.id, permissions)
    assert me["groups"] == (None if person.groups is None else sorted(person.groups))
    assert ask(fleet, STRANGER, "GET", "/people/me")[0] == 403


def test_people_see_where_they_are_signed_in_and_sign_out_there(home):
    for name in ("phone", "laptop", "tablet"):
        home.sign_ins.sign_in(VIEWER.id, name)
    home.sign_ins.sign_in(OWNER.id, "desk")
    console = Console(home, VIEWER)
    sessions = list_all(home, VIEWER, "/sessions")
    assert [each["id"] for each in sessions] == ["laptop", "phone", "tablet"]
    assert (sessions[0]["userAgent"], sessions[0]["sourceIp"], sessions[0]["since"]) == (
        "Firefox",
        "192.0.2.7",
        home.clock.now_ms,
    )
    ask_for(home, VIEWER, "DELETE", "/sessions/phone")
    assert not console.is_open
    assert [each["id"] for each in list_all(home, VIEWER, "/sessions")] == ["laptop", "tablet"]
    assert problem_of(home, VIEWER, "DELETE", "/sessions/desk")[0] == 404


def test_an_owner_signs_others_out_and_others_do_not(home):
    home.sign_ins.sign_in(VIEWER.id, "phone")
    assert problem_of(home, MEMBER, "GET", "/sessions", person="vera")[0] == 403
    assert problem_of(home, MEMBER, "DELETE", "/sessions/phone", person="vera")[0] == 403
    assert [each["id"] for each in ask_for(home, OWNER, "GET", "/sessions", person="vera")["items"]] == ["phone"]
    assert ask_for(home, VIEWER, "GET", "/sessions", person="vera")["items"] != []
    ask_for(home, OWNER, "DELETE", "/sessions/phone", person="vera")
    assert ask_for(home, VIEWER, "GET", "/sessions")["items"] == []
    assert problem_of(home, OWNER, "GET", "/sessions", person="ghost")[0] == 404


def test_a_token_of_one_list_opens_no_other(home):
    home.sign_ins.sign_in(VIEWER.id, "a")
    home.sign_ins.sign_in(VIEWER.id, "b")
    token = ask_for(home, OWNER, "GET", "/sessions", person="vera", limit=1)["nextToken"]
    assert problem_of(home, OWNER, "GET", "/sessions", nextToken=token) == (400, "nextToken")
    assert problem_of(home, OWNER, "GET", "/people", nextToken=token) == (400, "nextToken")
