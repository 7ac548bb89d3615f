"""The planes' port `People` in AWS: who may sign in is in a Cognito user pool, who may do what in the table.

An access token says who somebody is and, as of its making, in which of the pool's groups. What counts is the row: it is
read at each request, so another role holds from the next one on. The groups `owner`, `member` and `viewer` of the pool
are kept in step for whoever looks there, and make the first owner: somebody of the group `owner` without a row is one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pinthesky.aws.clients import Clients, errors
from pinthesky.errors import Conflict, NotFound, Unavailable
from pinthesky.model.people import Email, Person, PersonId, Role
from pinthesky.planes.table import Change, Check, Condition, Delete, Key, Put, Record, Table

PEOPLE_MAX = 1000
PARTITION = "person"
TRIES = 5
STRANGERS_MAX = 1000
STRANGER_S = 60.0
"""How long somebody whom nobody invited is not looked up in the pool again: its quotas are for everybody."""
_NO_USER = ("UserNotFoundException",)


class PersonRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """What somebody is. `removed`: is nobody any more, and the pool has still to forget it."""

    email: str | None
    role: Role
    groups: list[str] | None = None
    removed: bool = False


class CognitoPeople:
    """The adapter of `planes.ports.People`."""

    def __init__(
        self, clients: Clients, pool: str, table: Table, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`pool` is the id of a user pool in which people sign in with their e-mail address."""
        self._clients = clients
        self._pool = pool
        self._table = table
        self._monotonic_s = monotonic_s
        self._strangers: dict[PersonId, float] = {}

    def everybody(self) -> Sequence[Person]:
        """See `planes.ports.People`. An owner whom the pool's group makes is there once he has been seen."""
        return [_person(record, row) for record, row in self._rows() if not row.removed]

    def get(self, person: PersonId) -> Person:
        """See `planes.ports.People`."""
        record = self._table.get(_key(person))
        if record is None:
            return self._of_stranger(person)
        row = _row(record)
        if row.removed:
            raise NotFound(f"there is nobody called {person}")
        return _person(record, row)

    def invite(self, email: Email, role: Role, groups: frozenset[str] | None) -> Person:
        """See `planes.ports.People`. Cognito sends the mail, with a password for the first time."""
        rows = list(self._rows())
        if any(row.email == email and not row.removed for _, row in rows):
            raise Conflict(f"{email} is invited already")
        if len(rows) >= PEOPLE_MAX:
            raise Conflict(f"there are {PEOPLE_MAX} people already")
        person = self._user_of(email)
        row = PersonRow(email=str(email), role=role, groups=_listed(groups))
        self._mirror(person, role)
        self._table.write(Put(Record(_key(person), msgspec.json.encode(row))))
        return Person(person, email, role, groups)

    def change(self, person: PersonId, role: Role, groups: frozenset[str] | None) -> Person:
        """See `planes.ports.People`."""
        self.get(person)  # who was made an owner in the pool has a row from now on
        after = self._write(person, lambda row: replace(row, role=role, groups=_listed(groups)))
        self._mirror(person, role)
        return Person(person, None if after.email is None else Email(after.email), role, groups)

    def remove(self, person: PersonId) -> None:
        """See `planes.ports.People`. Tokens that the pool has given are refused from now on."""
        self._write(person, lambda row: replace(row, removed=True), again=True)
        with suppress(NotFound), errors(f"removing {person}", missing=_NO_USER):
            name = self._user_name(person)
            self._client.admin_user_global_sign_out(UserPoolId=self._pool, Username=name)
            self._client.admin_delete_user(UserPoolId=self._pool, Username=name)
        self._table.write(Delete(_key(person)))

    def _of_stranger(self, person: PersonId) -> Person:
        """Somebody without a row. Raises NotFound."""
        now_s = self._monotonic_s()
        if self._strangers.get(person, now_s) > now_s:
            raise NotFound(f"{person} is invited by nobody")
        try:
            return self._of_group(person)
        except NotFound:
            if len(self._strangers) >= STRANGERS_MAX:
                self._strangers.clear()
            self._strangers[person] = now_s + STRANGER_S
            raise

    def _of_group(self, person: PersonId) -> Person:
        """Somebody without a row, as the pool's groups have it. Raises NotFound: invited by nobody."""
        try:
            with errors(f"looking for {person}", missing=_NO_USER):
                name = self._user_name(person)
                answer = self._client.admin_list_groups_for_user(UserPoolId=self._pool, Username=name)
                names = {group["GroupName"] for group in answer["Groups"]}
        except NotFound as error:
            raise NotFound(f"there is nobody called {person}") from error
        role = next((role for role in Role if role.value in names), None)
        if role is not Role.OWNER:
            raise NotFound(f"{person} is invited by nobody")
        with errors(f"looking for {person}", missing=_NO_USER):
            found = self._client.admin_get_user(UserPoolId=self._pool, Username=name)
        email = _attribute(found["UserAttributes"], "email")
        row = PersonRow(email=None if email is None else str(Email.parse(email)), role=role)
        record = Record(_key(person), msgspec.json.encode(row))
        with suppress(Conflict):
            self._table.write(Put(record, Condition.ABSENT))
        return _person(record, row)

    def _user_of(self, email: Email) -> PersonId:
        """The pool's user of an address; made, and written to, if there is none."""
        attributes = [{"Name": "email", "Value": str(email)}, {"Name": "email_verified", "Value": "true"}]
        try:
            with errors(f"inviting {email}", field="email", conflict=("UsernameExistsException",)):
                made = self._client.admin_create_user(
                    UserPoolId=self._pool,
                    Username=str(email),
                    UserAttributes=attributes,
                    DesiredDeliveryMediums=["EMAIL"],
                )
                found = made["User"]["Attributes"]
        except Conflict:
            # Made by hand, or by an invitation that did not come to its end.
            with errors(f"inviting {email}", field="email", missing=_NO_USER):
                user = self._client.admin_get_user(UserPoolId=self._pool, Username=str(email))
                found = user["UserAttributes"]
        return PersonId.parse(_attribute(found, "sub"))

    def _user_name(self, person: PersonId) -> str:
        """What the pool calls somebody: who comes from another provider has a name that is not the subject."""
        answer = self._client.list_users(UserPoolId=self._pool, Filter=f'sub = "{person}"', Limit=1)
        if not answer["Users"]:
            raise NotFound(f"there is nobody called {person}")
        return str(answer["Users"][0]["Username"])

    def _mirror(self, person: PersonId, role: Role) -> None:
        """Put somebody into the pool's group of a role, and out of the others."""
        with errors(f"giving {person} the role {role.value}", missing=_NO_USER):
            name = self._user_name(person)
            for each in Role:
                change = self._client.admin_remove_user_from_group
                if each is role:
                    change = self._client.admin_add_user_to_group
                change(UserPoolId=self._pool, Username=name, GroupName=each.value)

    def _write(self, person: PersonId, to: Callable[[PersonRow], PersonRow], *, again: bool = False) -> PersonRow:
        """Change somebody's row, in one transaction with the row of another owner where one is lost.

        With `again` a row of somebody removed may be changed too.
        """
        for _ in range(TRIES):
            record = self._table.get(_key(person))
            row = None if record is None else _row(record)
            if record is None or row is None or (row.removed and not again):
                raise NotFound(f"there is nobody called {person}")
            after = to(row)
            changes: list[Change] = [Put(Record(record.key, msgspec.json.encode(after)), record.version)]
            if _is_owner(row) and not _is_owner(after):
                changes.append(self._another_owner(person))
            with suppress(Conflict):
                self._table.write(*changes)
                return after
        raise Unavailable("people are being changed by too many at once")

    def _another_owner(self, person: PersonId) -> Check:
        for record, row in self._rows():
            if _is_owner(row) and record.key.sort != person:
                return Check(record.key, record.version)
        raise Conflict("a home needs an owner: make somebody else one first")

    def _rows(self) -> list[tuple[Record, PersonRow]]:
        found: list[Record] = []
        after = None
        while len(found) < PEOPLE_MAX:
            page = self._table.query(PARTITION, after=after)
            found += page.records
            after = page.next
            if after is None:
                break
        return [(record, _row(record)) for record in found[:PEOPLE_MAX]]

    @property
    def _client(self) -> Any:
        return self._clients.get("cognito-idp")


def _is_owner(row: PersonRow) -> bool:
    return row.role is Role.OWNER and not row.removed


def _listed(groups: frozenset[str] | None) -> list[str] | None:
    return None if groups is None else sorted(str(group) for group in groups)


def _key(person: PersonId) -> Key:
    return Key(PARTITION, str(person))


def _row(record: Record) -> PersonRow:
    return msgspec.json.decode(record.content, type=PersonRow)


def _person(record: Record, row: PersonRow) -> Person:
    groups = None if row.groups is None else frozenset(row.groups)
    return Person(PersonId(record.key.sort), None if row.email is None else Email(row.email), row.role, groups)


def _attribute(attributes: Sequence[dict[str, str]], name: str) -> str | None:
    return next((each["Value"] for each in attributes if each["Name"] == name), None)
