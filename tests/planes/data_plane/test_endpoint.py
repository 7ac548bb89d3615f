"""The data plane: who is let in, what may be asked for, what is answered, and what ends."""

from __future__ import annotations

import json
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import strategies

from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.model.commands import COMMANDS
from pinthesky.model.identifiers import ConnectionId
from pinthesky.model.people import Role
from pinthesky.planes.data_plane import endpoint, limits
from pinthesky.planes.data_plane.actions import ACTIONS, COMMAND_PERMISSIONS, Asking
from pinthesky.planes.pushes import push
from pinthesky.planes.records.pushes import Push
from tests.planes.console import Console, is_refused
from tests.planes.fakes import out_of_reach
from tests.planes.home import GARDEN, GUEST, HALL, MEMBER, OWNER, STRANGER, VIEWER, StagedHome, ask, ask_for

START = {"name": "record", "context": {"session": {"start": True}}}
STOP = {"name": "record", "context": {"session": {"stop": True}}}


def test_a_ticket_opens_a_connection_once(home):
    ticket = ask_for(home, MEMBER, "POST", "/tokens")["token"]
    console = Console(home, Authorization=ticket)
    assert (console.subprotocol, console.status_of("status")) == ("manager", 200)
    assert "used already" in is_refused(home, Authorization=ticket)


def test_a_ticket_is_worth_nothing_after_a_minute(home):
    ticket = ask_for(home, MEMBER, "POST", "/tokens")["token"]
    home.clock.now_s += 60
    assert "its minute is over" in is_refused(home, Authorization=ticket)


@pytest.mark.parametrize("ticket", ["", "x" * 129, "never issued", "\ud800"])
def test_what_was_never_issued_opens_nothing(home, ticket):
    assert "used already" in is_refused(home, Authorization=ticket)


def test_an_access_token_in_the_address_is_refused(home):
    assert "ends in logs" in is_refused(home, Authorization="eyJh.eyJz.c2ln")


def test_a_connection_without_a_known_sub_protocol_is_refused(home):
    assert "manager or session" in is_refused(home, OWNER, kind="chat")


def test_a_ticket_of_somebody_who_was_removed_opens_nothing(home):
    ticket = ask_for(home, MEMBER, "POST", "/tokens")["token"]
    home.people.remove(MEMBER.id)
    assert "not invited" in is_refused(home, Authorization=ticket)


def test_without_login_nothing_but_a_login_is_answered(home):
    console = Console(home)
    assert [console.status_of(action) for action in ("status", "invoke", "listSessions")] == [401] * 3
    ticket = ask_for(home, VIEWER, "POST", "/tokens")["token"]
    answer = console.say("login", tokenId=ticket)
    assert (answer["statusCode"], answer["requestId"], answer["action"]) == (200, "q-1", "login")
    assert (answer["body"]["personId"], answer["body"]["role"]) == ("vera", "viewer")
    assert answer["body"]["connectionId"] == answer["body"]["managerId"] == console.id
    assert console.status_of("status") == 200


def test_an_access_token_logs_in_too_and_both_have_to_be_of_one_person(home):
    ticket = ask_for(home, VIEWER, "POST", "/tokens")["token"]
    assert Console(home).status_of("login", jwtId="token of olga") == 200
    assert Console(home).status_of("login", jwtId="token of olga", tokenId=ticket) == 403
    assert Console(home, VIEWER).status_of("login", jwtId="token of olga") == 403


@pytest.mark.parametrize(
    "payload, status",
    [
        ({}, 403),
        ({"jwtId": "forged"}, 403),
        ({"jwtId": "token of nobody"}, 403),
        ({"jwtId": f"token of {STRANGER.id}"}, 403),
        ({"tokenId": "forged"}, 403),
        ({"tokenId": ""}, 400),
        ({"password": "x"}, 400),
    ],
)
def test_a_login_that_proves_nothing_is_refused(home, payload, status):
    assert Console(home).status_of("login", **payload) == status


def test_a_connection_is_closed_when_too_many_logins_have_failed(home):
    console = Console(home)
    answers = [console.status_of("login", jwtId="forged") for _ in range(limits.SIGN_IN_TRIES_MAX - 1)]
    assert (answers, console.is_open) == ([403] * (limits.SIGN_IN_TRIES_MAX - 1), True)
    console.say("login", jwtId="forged")
    assert not console.is_open


def test_a_connection_that_ends_during_a_login_that_fails_is_closed_once(home, monkeypatch):
    console = Console(home)
    verify = home.access_tokens.person_of

    def leaving(token):
        console.leave()
        return verify(token)

    monkeypatch.setattr(home.access_tokens, "person_of", leaving)
    assert console.say("login", jwtId="forged") is None
    assert home.connections.closed == [console.id]


def test_a_connection_over_which_nobody_logs_in_is_closed_after_a_minute(home):
    waiting, known = Console(home), Console(home, VIEWER)
    home.clock.now_s += limits.SIGN_IN_S - 1
    assert endpoint.close_overdue(home, home.clock()) == 0
    home.clock.now_s += 1
    assert endpoint.close_overdue(home, home.clock()) == 1
    assert (waiting.is_open, known.is_open) == (False, True)


def test_a_connection_lives_two_hours_if_it_is_not_silent(home):
    console = Console(home, VIEWER)
    silent = Console(home, VIEWER)
    for _ in range(limits.LIFETIME_S // 600 - 1):
        home.clock.now_s += 600
        assert console.status_of("status") == 200
        endpoint.close_overdue(home, home.clock())
    assert (console.is_open, silent.is_open) == (True, False)
    home.clock.now_s += 600
    endpoint.close_overdue(home, home.clock())
    assert not console.is_open


def test_a_message_over_a_connection_that_is_too_old_closes_it(home):
    console = Console(home, VIEWER)
    home.clock.now_s += limits.LIFETIME_S
    assert (console.status_of("status"), console.is_open) == (None, False)


def test_a_connection_that_is_not_known_is_closed(home):
    home.connections.open("unknown")
    endpoint.received(home, ConnectionId("unknown"), b"{}", now_s=home.clock())
    assert home.connections.closed == ["unknown"]


@pytest.mark.parametrize(
    "message, said",
    [
        ("", "message: is not JSON"),
        ("[]", "message: expected `object`"),
        ('{"payload":{}}', "message: object missing required field `action`"),
        ('{"action":"dance"}', "action: must be one of login, status, invoke, listSessions"),
        ('{"action":"status","payload":[]}', "payload: expected `object`"),
        ('{"action":"status","payload":{"connectionId":"a b"}}', "connection.id: must be 1 to 128"),
        ('{"action":"listSessions","payload":{"limit":0}}', "limit: expected `int` >= 1"),
        ('{"action":"status","requestId":' + json.dumps("x" * 129) + "}", "requestId: expected `str`"),
        ('{"action":"status","payload":' + "[" * 100_000, "message: is not JSON"),
    ],
)
def test_what_is_no_request_is_answered_with_the_field_and_the_bound(home, message, said):
    answer = Console(home, VIEWER).say_raw(message)
    assert (answer["statusCode"], answer["error"]["code"]) == (400, "invalid_input")
    assert answer["error"]["message"].startswith(said)


def test_a_payload_may_be_left_out_and_bytes_are_read_as_text_is(home):
    console = Console(home, VIEWER)
    assert console.say_raw(b'{"action":"status"}')["statusCode"] == 200
    assert console.say_raw('{"action":"status","payload":null}')["statusCode"] == 200


def test_a_message_that_is_too_large_is_refused(home):
    console = Console(home, VIEWER)
    for message in (b" " * (limits.MESSAGE_MAX + 1), "é" * (limits.MESSAGE_MAX // 2 + 1)):
        answer = console.say_raw(message)
        assert (answer["statusCode"], answer["error"]["code"]) == (413, "too_large")


def test_who_says_too_much_is_answered_with_429_and_then_disconnected(home, monkeypatch):
    monkeypatch.setattr(endpoint, "MESSAGES_MAX", 5)
    monkeypatch.setattr(endpoint, "MESSAGES_BEFORE_CLOSING", 8)
    console = Console(home, VIEWER)
    assert [console.status_of("status") for _ in range(8)] == [200] * 5 + [429] * 3
    assert (console.status_of("status"), console.is_open) == (None, False)


def test_the_count_of_messages_begins_anew(home, monkeypatch):
    monkeypatch.setattr(endpoint, "MESSAGES_MAX", 1)
    console = Console(home, VIEWER)
    assert [console.status_of("status") for _ in range(2)] == [200, 429]
    home.clock.now_s += limits.WINDOW_S
    assert console.status_of("status") == 200


def test_status_tells_of_a_connection(home):
    console = Console(home, VIEWER)
    home.clock.now_s += 5
    body = console.say("status")["body"]
    assert body["lastActiveAt"] - body["connectedAt"] == 5000
    assert body["expiresAt"] - body["connectedAt"] == limits.LIFETIME_S * 1000
    assert (body["connectionId"], body["kind"]) == (console.id, "manager")


def test_another_persons_connection_is_not_there(home):
    console, mine, other = Console(home, VIEWER), Console(home, VIEWER), Console(home, OWNER)
    assert console.status_of("status", connectionId=mine.id) == 200
    for action in ("status", "listSessions"):
        assert console.status_of(action, connectionId=other.id) == 404
        assert console.status_of(action, connectionId="gone") == 404


def test_a_person_has_a_bounded_number_of_connections(home):
    for _ in range(limits.OF_PERSON_MAX):
        Console(home, VIEWER)
    assert "connections open already" in is_refused(home, VIEWER)
    assert Console(home).status_of("login", jwtId="token of vera") == 429
    assert is_refused(home, MEMBER) == ""


# Cameras


def test_a_command_reaches_its_camera_with_the_servers_own_connection(fleet):
    console = Console(fleet, VIEWER)
    context = {"capture_id": "c-1", "evil": 1, "connection": {"id": "stolen", "management_endpoint": "https://evil"}}
    event = {"name": "capture_image", "context": context}
    answer = console.say("invoke", camera="garden", event=event, invokeId="i-1")
    assert answer["body"] == {"invokeId": "i-1", "connectionId": console.id}
    ((thing, command),) = fleet.commands.sent
    connection = {"id": console.id, "manager_id": console.id, "invoke_id": "i-1"}
    connection["management_endpoint"] = fleet.connections.endpoint
    assert thing == GARDEN
    assert command["name"] == "capture_image"
    assert {name: value for name, value in command["context"].items() if value is not None} == {
        "capture_id": "c-1",
        "connection": connection,
    }
    assert fleet.connections.answerers[console.id] == {GARDEN}


def test_an_invoke_without_an_id_is_given_one(fleet):
    console = Console(fleet, VIEWER)
    first, second = (console.say("invoke", camera="garden", event=START)["body"]["invokeId"] for _ in range(2))
    assert first != second


def test_the_session_may_stand_beside_the_context(fleet):
    console = Console(fleet, VIEWER)
    event = {"name": "record", "session": {"start": True, "stop": False}}
    assert console.status_of("invoke", camera="garden", event=event) == 200
    assert fleet.commands.sent[0][1]["context"]["session"] == {"start": True, "stop": False}


@pytest.mark.parametrize(
    "event, field",
    [
        ({"name": "combine_end"}, "event.name"),
        ({"name": "record"}, "session"),
        ({"name": "record", "session": {"start": True}, "context": {"transport": "webrtc"}}, "offer"),
        ({"name": "capture_image", "context": {"file_name": "../x"}}, "file_name"),
        ({"name": 5}, "event.name"),
        ({}, "event"),
    ],
)
def test_what_is_no_command_reaches_no_camera(fleet, event, field):
    answer = Console(fleet, OWNER).say("invoke", camera="garden", event=event)
    assert (answer["statusCode"], answer["error"]["message"].partition(":")[0]) == (400, field)
    assert fleet.commands.sent == []


def test_a_camera_that_is_not_there_or_not_to_be_seen_is_404(fleet):
    assert Console(fleet, OWNER).status_of("invoke", camera="roof", event=START) == 404
    assert Console(fleet, GUEST).status_of("invoke", camera="hall", event=START) == 404
    assert Console(fleet, GUEST).status_of("invoke", camera="garden", event=START) == 200


def test_an_action_without_login_cannot_ask_who_it_is(home):
    socket = home.sockets.get(Console(home).id)
    with pytest.raises(InvariantBroken):
        _ = Asking(home, socket, None, 0.0).person


def test_every_command_has_its_permission():
    assert set(COMMAND_PERMISSIONS) == set(COMMANDS)
    assert set(ACTIONS) == {"login", "status", "invoke", "listSessions"}


def test_live_views_are_listed_until_they_are_stopped(fleet):
    console = Console(fleet, VIEWER)
    for name, camera in (("a", "garden"), ("b", "hall"), ("c", "gate")):
        console.say("invoke", camera=camera, event=START, invokeId=name)
    console.say("invoke", camera="gate", event=STOP, invokeId="c")
    listed = console.say("listSessions", limit=1)["body"]
    rest = console.say("listSessions", limit=1, nextToken=listed["nextToken"])["body"]
    assert [(each["invokeId"], each["camera"]) for each in listed["items"] + rest["items"]] == [
        ("a", "garden"),
        ("b", "hall"),
    ]
    assert rest["nextToken"] is None
    assert console.status_of("listSessions", nextToken="forged") == 400


def test_a_keyframe_of_a_running_view_starts_nothing(fleet):
    console = Console(fleet, VIEWER)
    assert console.status_of("invoke", camera="garden", event={"name": "record", "context": {"key": True}}) == 200
    assert console.say("listSessions")["body"]["items"] == []


def test_a_connection_runs_a_bounded_number_of_live_views(fleet):
    console = Console(fleet, VIEWER)
    for number in range(limits.SESSIONS_MAX):
        console.say("invoke", camera="garden", event=START, invokeId=f"i-{number}")
    assert console.status_of("invoke", camera="garden", event=START, invokeId="one-more") == 409
    assert console.status_of("invoke", camera="garden", event=START, invokeId="i-0") == 200


def test_a_camera_that_cannot_be_reached_is_a_500_without_details(fleet, monkeypatch, caplog):
    console = Console(fleet, VIEWER)
    monkeypatch.setattr(type(fleet.commands), "send", out_of_reach)
    answer = console.say("invoke", camera="garden", event=START)
    assert (answer["statusCode"], answer["error"]["code"]) == (500, "unavailable")
    assert "secret detail" not in answer["error"]["message"]
    assert "secret detail" in caplog.text


# Managers and sessions


def session_of(manager: Console, person=VIEWER) -> Console:
    return Console(manager.home, person, kind="session", ManagerId=manager.id)


def test_a_session_belongs_to_a_manager_of_the_same_person(fleet):
    manager, others = Console(fleet, VIEWER), Console(fleet, OWNER)
    session = session_of(manager)
    body = session.say("status")["body"]
    assert (body["kind"], body["managerId"]) == ("session", manager.id)
    assert "no connection" in is_refused(fleet, VIEWER, kind="session", ManagerId=others.id)
    assert "no connection" in is_refused(fleet, VIEWER, kind="session", ManagerId=session.id)
    assert "ManagerId" in is_refused(fleet, VIEWER, kind="session", ManagerId="a b")


def test_a_session_that_logs_in_names_its_manager(fleet):
    manager = Console(fleet, VIEWER)
    session = Console(fleet, kind="session")
    assert session.status_of("login", jwtId="token of vera") == 400
    assert session.status_of("login", jwtId="token of vera", managerId="gone") == 404
    assert session.say("login", jwtId="token of vera", managerId=manager.id)["body"]["managerId"] == manager.id
    assert session.status_of("login") == 200


def test_a_manager_may_have_a_camera_answer_its_session(fleet):
    manager = Console(fleet, VIEWER)
    session = session_of(manager)
    answer = manager.say("invoke", camera="garden", event=START, invokeId="i", connectionId=session.id)
    assert answer["body"]["connectionId"] == session.id
    connection = fleet.commands.sent[0][1]["context"]["connection"]
    assert (connection["id"], connection["manager_id"]) == (session.id, manager.id)
    assert manager.status_of("invoke", camera="garden", event=START, connectionId=Console(fleet, OWNER).id) == 404


def stops(home: StagedHome) -> list[tuple[str, str]]:
    return [
        (str(thing), command["context"]["connection"]["invoke_id"])
        for thing, command in home.commands.sent
        if command["context"].get("session", {}).get("stop")
    ]


def test_when_a_manager_leaves_its_sessions_end_and_what_they_started_stops(fleet):
    manager = Console(fleet, VIEWER)
    session, other = session_of(manager), Console(fleet, VIEWER)
    manager.say("invoke", camera="garden", event=START, invokeId="a")
    session.say("invoke", camera="hall", event=START, invokeId="b")
    other.say("invoke", camera="gate", event=START, invokeId="c")
    manager.leave()
    assert (session.is_open, other.is_open) == (False, True)
    assert sorted(stops(fleet)) == [("garden", "a"), ("hall", "b")]
    manager.leave()
    assert len(stops(fleet)) == 2


def test_when_a_session_leaves_its_manager_stays(fleet):
    manager = Console(fleet, VIEWER)
    session = session_of(manager)
    session.say("invoke", camera="hall", event=START, invokeId="b")
    session.leave()
    assert (manager.is_open, stops(fleet)) == (True, [("hall", "b")])


def test_a_camera_that_cannot_be_told_to_stop_holds_up_nobody(fleet, monkeypatch, caplog):
    manager = Console(fleet, VIEWER)
    session = session_of(manager)
    manager.say("invoke", camera="garden", event=START, invokeId="a")
    monkeypatch.setattr(type(fleet.commands), "send", out_of_reach)
    manager.leave()
    assert not session.is_open
    assert "garden was not told to stop" in caplog.text


def test_an_end_that_cannot_be_noted_is_logged(fleet, monkeypatch, caplog):
    console = Console(fleet, VIEWER)
    monkeypatch.setattr(type(fleet.table), "get", out_of_reach)
    endpoint.closed(fleet, console.id)
    assert "was not noted" in caplog.text


def test_a_session_whose_manager_ends_meanwhile_is_refused(fleet, monkeypatch):
    manager = Console(fleet, VIEWER)
    session = Console(fleet, kind="session")
    found = fleet.people.get

    def leaving(person):
        manager.leave()
        return found(person)

    monkeypatch.setattr(fleet.people, "get", leaving)
    assert session.status_of("login", jwtId="token of vera", managerId=manager.id) == 404


# What people are now


def test_a_removed_person_falls_silent_and_is_closed(fleet):
    console = Console(fleet, MEMBER)
    ask_for(fleet, OWNER, "DELETE", f"/people/{MEMBER.id}")
    assert not console.is_open


def test_whoever_is_no_longer_invited_is_closed_at_the_next_message_or_look(fleet):
    speaking, silent, staying = Console(fleet, MEMBER), Console(fleet, MEMBER), Console(fleet, VIEWER)
    fleet.people._people.pop(MEMBER.id)
    assert (speaking.status_of("status"), speaking.is_open) == (None, False)
    assert endpoint.close_overdue(fleet, fleet.clock()) == 1
    assert (silent.is_open, staying.is_open) == (False, True)


def test_who_has_lost_the_role_is_closed(fleet):
    console = Console(fleet, MEMBER)
    fleet.people._people[MEMBER.id] = replace(MEMBER, role=None)
    assert (console.status_of("status"), console.is_open) == (None, False)


def test_another_role_counts_from_the_next_message_on(fleet):
    console = Console(fleet, MEMBER)
    health = {"name": "health"}
    assert console.status_of("invoke", camera="hall", event=health) == 200
    fleet.people.change(MEMBER.id, Role.VIEWER, frozenset({"outside"}))
    assert console.status_of("invoke", camera="garden", event=health) == 403
    assert console.status_of("invoke", camera="hall", event=START) == 404


def test_live_views_of_a_camera_that_may_not_be_seen_any_more_are_not_listed(fleet):
    console = Console(fleet, VIEWER)
    console.say("invoke", camera="hall", event=START, invokeId="a")
    limited = fleet.people.change(VIEWER.id, Role.VIEWER, frozenset({"outside"}))
    assert console.say("listSessions")["body"]["items"] == []
    assert ask_for(fleet, limited, "GET", f"/connections/{console.id}/sessions")["items"] == []
    assert ask(fleet, limited, "GET", f"/connections/{console.id}/sessions/a")[0] == 404


def test_a_live_view_of_a_camera_that_moved_out_of_sight_is_stopped(fleet):
    console = Console(fleet, GUEST)
    for name, camera in (("a", "garden"), ("b", "gate")):
        console.say("invoke", camera=camera, event=START, invokeId=name)
    assert endpoint.close_overdue(fleet, fleet.clock()) == 0
    assert stops(fleet) == []
    ask_for(fleet, OWNER, "DELETE", "/cameras/garden/groups/outside")
    assert endpoint.close_overdue(fleet, fleet.clock()) == 0
    assert (stops(fleet), console.is_open) == ([("garden", "a")], True)


# What was missed


def tell(home: StagedHome, thing, event_id="e") -> str:
    told = push(
        home, Push(type="motion_started", camera=thing, time=home.clock.now_ms, event_id=event_id), home.clock()
    )
    return str(told.id)


def test_a_login_answers_what_was_missed(fleet):
    first = tell(fleet, GARDEN)
    fleet.clock.now_s += 60
    second = tell(fleet, GARDEN)
    fleet.clock.now_s += 60
    third = tell(fleet, HALL)
    body = Console(fleet, VIEWER).say("login", after=second)["body"]
    assert [each["id"] for each in body["events"]] == [second, third]
    assert (first in str(body), body["more"]) == (False, False)


def test_what_a_person_may_not_see_was_not_missed(fleet):
    first = tell(fleet, GARDEN)
    tell(fleet, HALL)
    body = Console(fleet, GUEST).say("login", after=first)["body"]
    assert {each["camera"] for each in body["events"]} == {"garden"}


def test_an_answer_with_what_was_missed_is_never_longer_than_a_message(fleet):
    first = tell(fleet, GARDEN)
    for _ in range(limits.MISSED_MAX + 20):
        tell(fleet, GARDEN, "e" * 2000)
    console = Console(fleet, VIEWER)
    body = console.say("login", after=first)["body"]
    assert body["more"]
    assert 1 < len(body["events"]) < limits.MISSED_MAX
    assert len(fleet.connections.posted[console.id][-1]) < limits.MESSAGE_MAX


def test_a_session_hears_of_no_events(fleet):
    manager = Console(fleet, VIEWER)
    session = session_of(manager)
    first = tell(fleet, GARDEN)
    assert session.say("login", after=first)["body"]["events"] == []
    assert (len(manager.events), session.events) == (1, [])


@pytest.mark.parametrize("after", ["", "yesterday", "1" * 64])
def test_an_id_that_no_event_has_is_bad_input(home, after):
    assert Console(home, VIEWER).status_of("login", after=after) == 400


# Slow and gone


def test_who_does_not_take_answers_is_closed(fleet):
    console = Console(fleet, VIEWER)
    fleet.connections.slow.add(console.id)
    endpoint.received(fleet, console.id, b'{"action":"status"}', now_s=fleet.clock())
    assert not console.is_open


def test_who_is_gone_when_the_answer_comes_is_forgotten(fleet):
    console = Console(fleet, VIEWER)
    console.say("invoke", camera="garden", event=START, invokeId="a")
    fleet.connections.close(console.id)
    endpoint.received(fleet, console.id, b'{"action":"status"}', now_s=fleet.clock())
    assert stops(fleet) == [("garden", "a")]
    assert ask(fleet, OWNER, "GET", f"/connections/{console.id}")[0] == 404


def test_a_message_when_no_records_can_be_reached_ends_in_an_error_of_ours(fleet, monkeypatch):
    console = Console(fleet, VIEWER)
    monkeypatch.setattr(type(fleet.table), "get", out_of_reach)
    with pytest.raises(Unavailable):
        endpoint.received(fleet, console.id, b"{}", now_s=fleet.clock())


TEXT = strategies.text(max_size=12) | strategies.sampled_from(["garden", "record", "\ud800", "..", "x" * 600])
JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | TEXT,
    lambda inner: (
        strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], max_examples=80, deadline=None
)
@hypothesis.given(
    strategies.sampled_from([*ACTIONS, "dance"]),
    strategies.dictionaries(
        strategies.sampled_from(["camera", "event", "invokeId", "connectionId", "limit", "tokenId", "after", "x"]), JSON
    ),
)
def test_whatever_is_said_is_answered_below_500(fleet, action, payload):
    fleet.clock.now_s += 1
    console = Console(fleet, OWNER)
    status = console.status_of(action, **payload)
    assert status is not None
    assert status < 500
    console.leave()
