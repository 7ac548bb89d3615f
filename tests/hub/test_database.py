"""The database: what is committed stays, what fails is taken back, and others' changes are seen."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from pinthesky.errors import Conflict, InvariantBroken, Unavailable
from pinthesky.hub import database as database_module
from pinthesky.hub.database import Database

TABLE = "CREATE TABLE birds (name TEXT PRIMARY KEY) STRICT"


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path / "hub.sqlite")
    made.migrate("birds", [TABLE])
    yield made
    made.close()


def add(database: Database, name: str) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO birds VALUES (?)", (name,))


def names(database: Database) -> list[str]:
    with database.reading() as connection:
        return [row["name"] for row in connection.execute("SELECT name FROM birds ORDER BY name")]


def test_what_is_committed_is_there_for_the_next_one(database, tmp_path):
    add(database, "wren")
    again = Database(tmp_path / "hub.sqlite")
    assert names(again) == ["wren"]
    again.close()


def test_the_file_is_for_its_owner_alone(database, tmp_path):
    add(database, "wren")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_transaction_that_raises_is_taken_back(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("INSERT INTO birds VALUES ('wren')")
        _ = 1 // 0
    assert names(database) == []


def test_a_broken_constraint_is_a_conflict(database):
    add(database, "wren")
    with pytest.raises(Conflict):
        add(database, "wren")


def test_a_reader_sees_one_state_while_others_commit(database):
    add(database, "wren")
    with database.reading() as connection:
        before = connection.execute("SELECT count(*) FROM birds").fetchone()[0]
        writer = threading.Thread(target=add, args=(database, "robin"))
        writer.start()
        writer.join()
        assert connection.execute("SELECT count(*) FROM birds").fetchone()[0] == before
    assert names(database) == ["robin", "wren"]


def test_transactions_do_not_nest(database):
    with database.transaction(), pytest.raises(InvariantBroken), database.reading():
        pass
    add(database, "wren")
    assert names(database) == ["wren"]


def test_many_threads_leave_few_connections(database):
    threads = [threading.Thread(target=add, args=(database, f"bird {number}")) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(database)) == 30
    assert len(database._idle) <= database_module.IDLE_MAX


def test_changes_are_seen_whoever_made_them(database, tmp_path):
    first = database.changes()
    assert database.changes() == first
    add(database, "wren")
    second = database.changes()
    assert second != first
    other = Database(tmp_path / "hub.sqlite")
    add(other, "robin")
    other.close()
    assert database.changes() != second


def test_reading_changes_nothing(database):
    before = database.changes()
    names(database)
    assert database.changes() == before


def _add_and_die(path: Path) -> None:
    with Database(path).transaction() as connection:
        connection.execute("INSERT INTO birds VALUES ('lost')")
        os.kill(os.getpid(), 9)


def test_what_was_not_committed_when_the_process_was_killed_is_not_there(database, tmp_path):
    add(database, "wren")
    child = multiprocessing.get_context("spawn").Process(target=_add_and_die, args=(tmp_path / "hub.sqlite",))
    child.start()
    child.join(20.0)
    assert child.exitcode == -9
    assert names(database) == ["wren"]


def test_a_migration_runs_only_its_new_steps(database):
    database.migrate("birds", [TABLE, "ALTER TABLE birds ADD COLUMN wings INTEGER"])
    database.migrate("birds", [TABLE, "ALTER TABLE birds ADD COLUMN wings INTEGER"])
    with database.reading() as connection:
        assert connection.execute("SELECT count(wings) FROM birds").fetchone()[0] == 0


def test_a_migration_that_fails_leaves_nothing(database):
    with pytest.raises(Unavailable):
        database.migrate("fish", ["CREATE TABLE fish (name TEXT) STRICT", "nonsense"])
    database.migrate("fish", ["CREATE TABLE fish (name TEXT) STRICT"])
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM fish").fetchone()[0] == 0


def test_a_database_of_a_newer_program_is_refused(database):
    with pytest.raises(InvariantBroken, match="newer version"):
        database.migrate("birds", [])


def test_a_writer_waits_for_another_and_then_gives_up(database, tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    impatient = Database(tmp_path / "hub.sqlite")
    with database.transaction(), pytest.raises(Unavailable, match="locked"):
        _in_a_thread(lambda: add(impatient, "wren"))
    add(impatient, "wren")
    impatient.close()


def _in_a_thread(call) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except Unavailable as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path):
    (tmp_path / "hub.sqlite").write_bytes(b"these are not the bytes you are looking for" * 100)
    with pytest.raises(InvariantBroken, match=r"hub\.sqlite"):
        Database(tmp_path / "hub.sqlite")


def test_a_folder_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(Unavailable, match="No such file"):
        Database(tmp_path / "nowhere" / "hub.sqlite")


def test_a_closed_database_is_unavailable(database):
    with database.reading():
        database.close()
    with pytest.raises(Unavailable, match="closed"):
        names(database)
    with pytest.raises(Unavailable, match="closed"):
        database.changes()


def test_commits_wait_for_the_disk(database):
    with database.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert sqlite3.threadsafety
