"""Tickets and open WebSockets, as the control plane shows them."""

from __future__ import annotations

import hashlib

import pytest

from pinthesky.errors import NotAuthorized
from tests.planes.console import Console
from tests.planes.home import GARDEN, GUEST, MEMBER, OWNER, VIEWER, ask, ask_for, list_all, problem_of

START = {"name": "record", "context": {"session": {"start": True}}}


def test_a_ticket_is_shown_once_and_kept_as_a_hash(home):
    issued = ask_for(home, VIEWER, "POST", "/tokens")
    assert len(issued["token"]) >= 43
    assert issued["expiresAt"] - issued["createdAt"] == 60_000
    assert issued["id"] == hashlib.sha256(issued["token"].encode()).hexdigest()[:32]
    shown = ask_for(home, VIEWER, "GET", f"/tokens/{issued['id']}")
    assert shown == {name: value for name, value in issued.items() if name != "token"}
    assert issued["token"] not in str(home.table.query("ticket").records)


def test_tickets_of_others_are_for_owners(home):
    mine, other = (ask_for(home, person, "POST", "/tokens")["id"] for person in (VIEWER, MEMBER))
    assert [each["id"] for each in list_all(home, VIEWER, "/tokens")] == [mine]
    assert {each["id"] for each in list_all(home, OWNER, "/tokens", limit=1)} == {mine, other}
    assert problem_of(home, VIEWER, "GET", f"/tokens/{other}")[0] == 404
    assert problem_of(home, VIEWER, "DELETE", f"/tokens/{other}")[0] == 404
    assert ask(home, OWNER, "DELETE", f"/tokens/{other}")[0] == 204
    assert problem_of(home, OWNER, "GET", f"/tokens/{other}")[0] == 404


def test_a_ticket_that_was_removed_opens_nothing(home):
    issued = ask_for(home, VIEWER, "POST", "/tokens")
    ask_for(home, VIEWER, "DELETE", f"/tokens/{issued['id']}")
    assert Console(home).status_of("login", tokenId=issued["token"]) == 403


def test_nobody_is_given_tickets_without_end(home):
    statuses = [ask(home, VIEWER, "POST", "/tokens")[0] for _ in range(61)]
    assert statuses == [201] * 60 + [429]
    assert ask(home, MEMBER, "POST", "/tokens")[0] == 201
    home.clock.now_s += 60
    assert ask(home, VIEWER, "POST", "/tokens")[0] == 201


def test_a_ticket_is_redeemed_by_one_of_two_who_try(home, monkeypatch):
    issued = ask_for(home, VIEWER, "POST", "/tokens")
    read = home.table.get

    def read_and_overtaken(key):
        record = read(key)
        monkeypatch.undo()
        home.tickets.redeem(issued["token"])
        return record

    monkeypatch.setattr(home.table, "get", read_and_overtaken)
    with pytest.raises(NotAuthorized, match="used already"):
        home.tickets.redeem(issued["token"])


def test_open_connections_are_shown_to_whose_they_are_and_to_owners(home):
    mine, other, nobody = Console(home, VIEWER, source_ip="192.0.2.9"), Console(home, MEMBER), Console(home)
    (shown,) = list_all(home, VIEWER, "/connections")
    assert (shown["id"], shown["kind"], shown["person"], shown["managerId"]) == (mine.id, "manager", "vera", mine.id)
    assert (shown["sourceIp"], shown["userAgent"]) == ("192.0.2.9", "Firefox")
    everybody = {each["id"]: each["person"] for each in list_all(home, OWNER, "/connections", limit=1)}
    assert everybody == {mine.id: "vera", other.id: "max", nobody.id: None}
    assert problem_of(home, VIEWER, "GET", f"/connections/{other.id}")[0] == 404
    assert problem_of(home, VIEWER, "DELETE", f"/connections/{other.id}")[0] == 404
    assert ask_for(home, OWNER, "GET", f"/connections/{other.id}")["person"] == "max"


def test_closing_a_connection_ends_it_and_what_it_has_started(fleet):
    console = Console(fleet, GUEST)
    console.say("invoke", camera="garden", event=START, invokeId="i-1")
    path = f"/connections/{console.id}"
    (live,) = list_all(fleet, GUEST, f"{path}/sessions")
    assert live == {"invokeId": "i-1", "camera": "garden", "startedAt": fleet.clock.now_ms, "transport": "relay"}
    assert ask_for(fleet, OWNER, "GET", f"{path}/sessions/i-1") == live
    assert problem_of(fleet, GUEST, "GET", f"{path}/sessions/i-2")[0] == 404
    assert ask(fleet, GUEST, "DELETE", path)[0] == 204
    assert not console.is_open
    assert problem_of(fleet, GUEST, "GET", path)[0] == 404
    thing, command = fleet.commands.sent[-1]
    assert (thing, command["context"]["session"]) == (GARDEN, {"stop": True})
