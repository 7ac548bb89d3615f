"""The people of the hub: who was invited, and as what."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable

from pinthesky.errors import Conflict, NotFound
from pinthesky.hub.database import Database
from pinthesky.model.people import Email, Person, PersonId, Role

PEOPLE_MAX = 200
_SCHEMA = (
    """CREATE TABLE people (
        id TEXT PRIMARY KEY,
        email TEXT UNIQUE,
        role TEXT NOT NULL,
        groups TEXT,
        added_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)


class People:
    """Everybody who may sign in. There is always an owner: the first signs in with what the hub prints."""

    def __init__(self, database: Database, *, now_s: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now_s = now_s
        database.migrate("people", _SCHEMA)

    def first_owner(self) -> Person:
        """The owner whose hub this is; made when it is asked for the first time."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT * FROM people WHERE role = 'owner' ORDER BY added_at, id LIMIT 1"
            ).fetchone()
            return self._add(connection, email=None, role=Role.OWNER, groups=None) if row is None else _person(row)

    def invite(self, email: Email, role: Role, groups: frozenset[str] | None = None) -> Person:
        """Invite somebody. Raises Conflict where the address is invited already, or too many people are."""
        with self._database.transaction() as connection:
            if connection.execute("SELECT 1 FROM people WHERE email = ?", (str(email),)).fetchone():
                raise Conflict(f"{email} is invited already")
            (count,) = connection.execute("SELECT count(*) FROM people").fetchone()
            if count >= PEOPLE_MAX:
                raise Conflict(f"there are {PEOPLE_MAX} people already")
            return self._add(connection, email=email, role=role, groups=groups)

    def get(self, person: PersonId) -> Person:
        """One of them. Raises NotFound."""
        with self._database.reading() as connection:
            return _found(connection, person)

    def by_email(self, email: Email) -> Person | None:
        """Who was invited under an address."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM people WHERE email = ?", (str(email),)).fetchone()
        return None if row is None else _person(row)

    def everybody(self) -> list[Person]:
        """All of them, in the order of their invitation."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM people ORDER BY added_at, id").fetchall()
        return [_person(row) for row in rows]

    def change(self, person: PersonId, role: Role, groups: frozenset[str] | None = None) -> Person:
        """Give somebody another role. Raises NotFound, Conflict (there would be no owner any more)."""
        with self._database.transaction() as connection:
            before = _found(connection, person)
            if role is not Role.OWNER:
                _keep_an_owner(connection, before)
            connection.execute(
                "UPDATE people SET role = ?, groups = ? WHERE id = ?", (role.value, _packed(groups), str(person))
            )
        return Person(before.id, before.email, role, groups)

    def remove(self, person: PersonId) -> None:
        """Uninvite somebody. Raises NotFound, Conflict (there would be no owner any more)."""
        with self._database.transaction() as connection:
            _keep_an_owner(connection, _found(connection, person))
            connection.execute("DELETE FROM people WHERE id = ?", (str(person),))

    def _add(
        self, connection: sqlite3.Connection, *, email: Email | None, role: Role, groups: frozenset[str] | None
    ) -> Person:
        person = Person(PersonId.new(), email, role, groups)
        address = None if email is None else str(email)
        row = (str(person.id), address, role.value, _packed(groups), int(self._now_s()))
        connection.execute("INSERT INTO people VALUES (?, ?, ?, ?, ?)", row)
        return person


def _keep_an_owner(connection: sqlite3.Connection, person: Person) -> None:
    (owners,) = connection.execute("SELECT count(*) FROM people WHERE role = 'owner'").fetchone()
    if person.role is Role.OWNER and owners == 1:
        raise Conflict("a hub needs an owner: make somebody else one first")


def _found(connection: sqlite3.Connection, person: PersonId) -> Person:
    row = connection.execute("SELECT * FROM people WHERE id = ?", (str(person),)).fetchone()
    if row is None:
        raise NotFound(f"there is nobody called {person}")
    return _person(row)


def _packed(groups: frozenset[str] | None) -> str | None:
    return None if groups is None else json.dumps(sorted(groups))


def _person(row: sqlite3.Row) -> Person:
    groups = None if row["groups"] is None else frozenset(json.loads(row["groups"]))
    email = None if row["email"] is None else Email(row["email"])
    return Person(PersonId(row["id"]), email, Role(row["role"]), groups)
