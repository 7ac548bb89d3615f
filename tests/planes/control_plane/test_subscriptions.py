"""Subscriptions: who is told of what, and who may say so."""

from __future__ import annotations

import pytest

from tests.planes.fakes import START_S, out_of_reach
from tests.planes.home import GUEST, MEMBER, OWNER, STRANGER, VIEWER, ask, ask_for, list_all, problem_of

MAIL = {"protocol": "email", "endpoint": "a@example.com"}
BROWSER = {"protocol": "webpush", "endpoint": '{"endpoint":"https://push.example/1"}'}


def test_an_owner_has_alerts_mailed_and_changes_what_of(home):
    made = ask_for(
        home, OWNER, "POST", "/subscriptions", {**MAIL, "filter": {"AlertType": ["motion"], "Hour": [22, 23]}}
    )
    assert made == {
        "id": made["id"],
        "person": "olga",
        **MAIL,
        "filter": {"AlertType": ["motion"], "Hour": [22, 23]},
        "coolDownSeconds": 300,
        "description": "",
        "createdAt": round(START_S) * 1000,
    }
    assert home.notifier.enlisted[made["id"]].endpoint == "a@example.com"
    path = f"/subscriptions/{made['id']}"
    changed = ask_for(home, OWNER, "PUT", path, {"filter": {"Camera": ["garden"]}, "coolDownSeconds": 0})
    assert (changed["filter"], changed["coolDownSeconds"], changed["endpoint"]) == (
        {"Camera": ["garden"]},
        0,
        "a@example.com",
    )
    assert ask_for(home, OWNER, "GET", path) == changed
    assert ask(home, OWNER, "DELETE", path) == (204, None)
    assert home.notifier.enlisted == {}
    assert ask(home, OWNER, "GET", path)[0] == 404


def test_destinations_are_for_owners_and_ones_own_browser_for_everybody(home):
    for person in (MEMBER, VIEWER, GUEST):
        assert ask(home, person, "POST", "/subscriptions", MAIL)[0] == 403
        assert ask(home, person, "POST", "/subscriptions", BROWSER)[0] == 201
    assert ask(home, STRANGER, "POST", "/subscriptions", BROWSER)[0] == 403
    assert ask(home, None, "POST", "/subscriptions", BROWSER)[0] == 401


def test_people_see_their_own_subscriptions_and_owners_all(home):
    mail = ask_for(home, OWNER, "POST", "/subscriptions", MAIL)
    browser = ask_for(home, VIEWER, "POST", "/subscriptions", BROWSER)
    assert {each["id"] for each in list_all(home, OWNER, "/subscriptions", limit=1)} == {mail["id"], browser["id"]}
    assert list_all(home, VIEWER, "/subscriptions", limit=1) == [browser]
    assert list_all(home, GUEST, "/subscriptions") == []
    for method, body in (("GET", None), ("PUT", {}), ("DELETE", None)):
        assert ask(home, VIEWER, method, f"/subscriptions/{mail['id']}", body)[0] == 404
    assert ask_for(home, VIEWER, "PUT", f"/subscriptions/{browser['id']}", {"description": "phone"})["description"] == (
        "phone"
    )
    assert ask(home, OWNER, "DELETE", f"/subscriptions/{browser['id']}")[0] == 204


@pytest.mark.parametrize(
    "body, field",
    [
        ({**MAIL, "protocol": "pigeon"}, "protocol"),
        ({**MAIL, "protocol": "sms"}, "protocol"),
        ({**MAIL, "endpoint": ""}, "endpoint"),
        ({**MAIL, "endpoint": "x" * 2049}, "endpoint"),
        ({**MAIL, "coolDownSeconds": -1}, "coolDownSeconds"),
        ({**MAIL, "filter": {"Hour": [24]}}, "filter.Hour[0]"),
        ({**MAIL, "filter": {"DayOfWeek": ["monday"]}}, "filter.DayOfWeek[0]"),
        ({**MAIL, "filter": {"Camera": ["a/b"]}}, "filter.Camera[0]"),
        ({**MAIL, "filter": {"Colour": ["red"]}}, "filter.Colour"),
    ],
)
def test_what_cannot_be_subscribed_is_answered_with_its_field(home, body, field):
    assert problem_of(home, OWNER, "POST", "/subscriptions", body) == (400, field)
    assert home.notifier.enlisted == {}


def test_there_is_a_bounded_number_of_subscriptions_and_none_is_left_half_made(home, monkeypatch):
    from pinthesky.planes.records import subscriptions

    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS_MAX", 1)
    first = ask_for(home, OWNER, "POST", "/subscriptions", MAIL)
    assert ask(home, OWNER, "POST", "/subscriptions", MAIL)[0] == 409
    assert list(home.notifier.enlisted) == [first["id"]]


def test_a_person_subscribes_a_bounded_number_of_browsers_and_leaves_room_for_others(home, monkeypatch):
    from pinthesky.planes.records import subscriptions

    monkeypatch.setattr(subscriptions, "OF_PERSON_MAX", 1)
    assert ask(home, VIEWER, "POST", "/subscriptions", BROWSER)[0] == 201
    assert ask(home, VIEWER, "POST", "/subscriptions", BROWSER)[0] == 409
    assert ask(home, GUEST, "POST", "/subscriptions", BROWSER)[0] == 201


def test_a_browser_is_given_the_key_with_which_it_subscribes_and_told_where_there_is_none(home):
    assert ask_for(home, VIEWER, "GET", "/push/key") == {"publicKey": home.notifier.push_key}
    home.notifier.push_key = None
    status, answer = ask(home, VIEWER, "GET", "/push/key")
    assert status == 404
    assert "browsers" in answer["message"]


def test_a_notifier_that_cannot_be_reached_leaves_nothing_behind(home, monkeypatch):
    monkeypatch.setattr(home.notifier, "enlist", out_of_reach)
    assert ask(home, OWNER, "POST", "/subscriptions", MAIL)[0] == 500
    assert list_all(home, OWNER, "/subscriptions") == []
