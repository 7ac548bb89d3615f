from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinthesky.errors import Conflict
from pinthesky.hub.database import Database
from pinthesky.hub.shadow_document import PAYLOAD_MAX, TooLarge
from pinthesky.hub.thing_changes import ThingChanges


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "hub.sqlite")
    database.migrate("test", ["CREATE TABLE notes (note TEXT UNIQUE) STRICT"])
    yield database
    database.close()


def notes(database: Database) -> list[str]:
    with database.reading() as connection:
        return [row["note"] for row in connection.execute("SELECT note FROM notes ORDER BY rowid")]


def test_what_is_told_is_committed_already(database: Database):
    seen: list[list[str]] = []
    changes = ThingChanges(database, lambda _topic, _payload: seen.append(notes(database)))
    with changes.begin() as change:
        change.connection.execute("INSERT INTO notes VALUES ('one')")
        change.tell("topic", {})
        assert seen == []
    assert seen == [["one"]]


def test_nothing_is_told_of_what_failed(database: Database):
    told: list[str] = []
    changes = ThingChanges(database, lambda topic, _payload: told.append(topic))

    def fail() -> None:
        with changes.begin() as change:
            change.connection.execute("INSERT INTO notes VALUES ('one')")
            change.tell("topic", {})
            change.connection.execute("INSERT INTO notes VALUES ('one')")

    with pytest.raises(Conflict):
        fail()
    assert (told, notes(database)) == ([], [])


def test_an_attempt_that_fails_takes_back_its_own(database: Database):
    told: list[str] = []
    changes = ThingChanges(database, lambda topic, _payload: told.append(topic))
    with changes.begin() as change:
        for note in ("one", "two", "three"):
            try:
                with change.attempt():
                    change.connection.execute("INSERT INTO notes VALUES (?)", (note,))
                    change.tell(note, {})
                    change.tell(note, {"a": "x" * PAYLOAD_MAX if note == "two" else ""})
            except TooLarge:
                change.tell("refused", {})
    assert (told, notes(database)) == (["one", "one", "refused", "three", "three"], ["one", "three"])


def test_messages_come_in_the_order_of_commits(database: Database):
    told: list[str] = []
    changes = ThingChanges(database, lambda topic, _payload: told.append(topic))

    def write(name: str) -> None:
        for number in range(20):
            with changes.begin() as change:
                note = f"{name}{number}"
                change.connection.execute("INSERT INTO notes VALUES (?)", (note,))
                change.tell(note, {})

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert told == notes(database)
    assert len(told) == 60


def test_a_message_that_no_broker_takes_is_refused(database: Database):
    changes = ThingChanges(database, lambda _topic, _payload: None)
    with pytest.raises(TooLarge), changes.begin() as change:
        change.tell("topic", {"a": "x" * PAYLOAD_MAX})
