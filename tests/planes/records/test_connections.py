"""The records of the connections, where two things happen at once."""

from __future__ import annotations

import pytest

from pinthesky.errors import Conflict, NotFound
from pinthesky.model.identifiers import ConnectionId
from pinthesky.model.people import PersonId
from pinthesky.planes.records.connections import Socket
from tests.planes.home import VIEWER, StagedHome

MANAGER, SESSION = ConnectionId("manager"), ConnectionId("session")


def add(home: StagedHome, connection: ConnectionId, **fields) -> Socket:
    now_ms = home.clock.now_ms
    socket = Socket(id=connection, kind="manager", connected_at=now_ms, last_active_at=now_ms, **fields)
    home.sockets.add(socket)
    return socket


def test_all_connections_are_found_however_many_there_are(home):
    for number in range(101):
        add(home, ConnectionId(f"c-{number}"), person=VIEWER.id if number % 2 else None)
    assert len(list(home.sockets.everyone())) == 101
    assert len(list(home.sockets.managers())) == len(home.sockets.of_person(VIEWER.id)) == 50


def test_nobody_logs_in_over_a_connection_that_is_gone(home):
    with pytest.raises(NotFound):
        home.sockets.log_in(MANAGER, VIEWER.id, None)
    with pytest.raises(NotFound):
        home.sockets.note_message(MANAGER, 0)


def test_of_two_logins_at_once_one_counts(home, monkeypatch):
    add(home, MANAGER, person=VIEWER.id)
    add(home, SESSION)
    get = home.table.get

    def overtaken(key):
        record = get(key)
        monkeypatch.undo()
        home.sockets.log_in(SESSION, VIEWER.id, MANAGER)
        return record

    monkeypatch.setattr(home.table, "get", overtaken)
    with pytest.raises(Conflict):
        home.sockets.log_in(SESSION, PersonId("other"), MANAGER)
    assert home.sockets.get(SESSION).person == VIEWER.id
    assert home.sockets.sessions_of(MANAGER) == [SESSION]


def test_a_session_needs_its_manager(home):
    with pytest.raises(NotFound, match="no connection manager"):
        add(home, SESSION, person=VIEWER.id, manager=MANAGER)
    assert list(home.sockets.everyone()) == []


def test_a_session_leaves_nothing_behind(home):
    add(home, MANAGER, person=VIEWER.id)
    add(home, SESSION, person=VIEWER.id, manager=MANAGER)
    home.sockets.remove(SESSION)
    assert home.sockets.sessions_of(MANAGER) == []
    assert home.sockets.remove(SESSION) is None


def test_a_connection_whose_end_nobody_heard_of_is_forgotten_by_itself(home):
    socket = add(home, MANAGER)
    home.clock.now_s = socket.expires_at / 1000 + 601
    assert list(home.sockets.everyone()) == []
