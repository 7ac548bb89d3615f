"""The planes' ports `People` and `SignIns`: one suite for Cognito (moto), the hub and the fakes of the tests.

The rows of Cognito's people are in SQLite here: that DynamoDB is the same table is held by `test_records`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pinthesky.aws.adapters.people import CognitoPeople
from pinthesky.aws.adapters.sign_ins import CognitoSignIns
from pinthesky.aws.clients import Clients
from pinthesky.errors import Conflict, NotAuthorized, NotFound, Unavailable
from pinthesky.hub.adapters.people import HubSignIns
from pinthesky.hub.database import Database
from pinthesky.hub.people import People as HubsOwn
from pinthesky.hub.records import SqliteTable
from pinthesky.hub.sessions import Sessions
from pinthesky.model.people import Email, Person, PersonId, Role
from pinthesky.planes.ports import People, SignedIn, SignIns
from pinthesky.planes.table import Check, Table
from tests.planes.fakes import START_S, Clock, FakePeople, FakeSignIns

OLGA, ANNA, BEN = Email("olga@example.com"), Email("anna@example.com"), Email("ben@example.com")


class World(NamedTuple):
    people: People
    sign_ins: SignIns
    owner: PersonId
    sign_in: Callable[[PersonId, str], Any]
    """What a browser does: who, and in which."""
    clock: Clock


class Pool(NamedTuple):
    """A user pool at moto, as a deployment makes it."""

    people: CognitoPeople
    table: Table
    cognito: Any
    id: str

    def user(self, email: str, *groups: str) -> PersonId:
        """Somebody whom the owner of the account has made himself."""
        made = self.cognito.admin_create_user(
            UserPoolId=self.id, Username=email, UserAttributes=[{"Name": "email", "Value": email}]
        )["User"]
        for group in groups:
            self.cognito.admin_add_user_to_group(UserPoolId=self.id, Username=made["Username"], GroupName=group)
        return PersonId(next(each["Value"] for each in made["Attributes"] if each["Name"] == "sub"))

    def groups_of(self, person: PersonId) -> set[str]:
        groups = self.cognito.admin_list_groups_for_user(UserPoolId=self.id, Username=person)["Groups"]
        return {group["GroupName"] for group in groups}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(clients: Clients, tmp_path: Path, clock: Clock) -> Iterator[Pool]:
    cognito = clients.get("cognito-idp")
    made = cognito.create_user_pool(PoolName=f"home-{secrets.token_hex(6)}", UsernameAttributes=["email"])
    pool_id = made["UserPool"]["Id"]
    for role in Role:
        cognito.create_group(UserPoolId=pool_id, GroupName=role.value)
    database = Database(tmp_path / "records.sqlite")
    table = SqliteTable(database, now_s=clock)
    yield Pool(CognitoPeople(clients, pool_id, table), table, cognito, pool_id)
    database.close()


@pytest.fixture(params=["aws", "hub", "fake"])
def world(request, tmp_path: Path, clock: Clock) -> Iterator[World]:
    if request.param == "aws":
        pool: Pool = request.getfixturevalue("pool")
        sign_ins = CognitoSignIns(pool.table, now_s=clock)

        def sign_in(person: PersonId, browser: str) -> None:
            sign_ins.note(person, secrets.token_hex(8), user_agent=browser, source_ip="192.0.2.7")

        owner = pool.user(OLGA, "owner")
        yield World(pool.people, sign_ins, pool.people.get(owner).id, sign_in, clock)
    elif request.param == "fake":
        fake = FakeSignIns(clock)
        people = FakePeople([Person(PersonId("olga"), OLGA, Role.OWNER)])
        yield World(
            people, fake, PersonId("olga"), lambda who, browser: fake.sign_in(who, secrets.token_hex(8), browser), clock
        )
    else:
        database = Database(tmp_path / "hub.sqlite")
        hubs, sessions = HubsOwn(database, now_s=clock), Sessions(database, now_s=clock)
        yield World(
            hubs,
            HubSignIns(sessions),
            hubs.first_owner().id,
            lambda who, browser: sessions.open(who, user_agent=browser, source_ip="192.0.2.7"),
            clock,
        )
        database.close()


def test_who_was_invited_is_there_as_what_they_were_invited(world: World):
    anna = world.people.invite(ANNA, Role.VIEWER, frozenset({"outside"}))
    assert (anna.email, anna.role, anna.groups) == (ANNA, Role.VIEWER, frozenset({"outside"}))
    assert world.people.get(anna.id) == anna
    assert {each.id for each in world.people.everybody()} == {world.owner, anna.id}


def test_an_address_is_invited_once(world: World):
    world.people.invite(ANNA, Role.VIEWER, None)
    with pytest.raises(Conflict):
        world.people.invite(Email("anna@example.com"), Role.MEMBER, None)


def test_another_role_holds_at_once(world: World):
    anna = world.people.invite(ANNA, Role.VIEWER, frozenset({"outside"}))
    changed = world.people.change(anna.id, Role.MEMBER, None)
    assert (changed.role, changed.groups, changed.email) == (Role.MEMBER, None, ANNA)
    assert world.people.get(anna.id) == changed


def test_who_was_removed_is_gone_and_may_be_invited_again(world: World):
    anna = world.people.invite(ANNA, Role.MEMBER, None)
    world.people.remove(anna.id)
    for again in (lambda: world.people.get(anna.id), lambda: world.people.remove(anna.id)):
        with pytest.raises(NotFound):
            again()
    assert [each.id for each in world.people.everybody()] == [world.owner]
    assert world.people.invite(ANNA, Role.VIEWER, None).role is Role.VIEWER


def test_nobody_is_found_where_nobody_is(world: World):
    nobody = PersonId("nobody")
    for ask in (
        lambda: world.people.get(nobody),
        lambda: world.people.change(nobody, Role.MEMBER, None),
        lambda: world.people.remove(nobody),
    ):
        with pytest.raises(NotFound):
            ask()


def test_there_is_always_an_owner(world: World):
    for lose in (
        lambda: world.people.change(world.owner, Role.MEMBER, None),
        lambda: world.people.remove(world.owner),
    ):
        with pytest.raises(Conflict):
            lose()
    anna = world.people.invite(ANNA, Role.OWNER, None)
    world.people.change(world.owner, Role.MEMBER, None)
    with pytest.raises(Conflict):
        world.people.remove(anna.id)


def test_sign_ins_are_listed_the_latest_used_first_and_of_one_person(world: World):
    anna = world.people.invite(ANNA, Role.MEMBER, None)
    world.sign_in(anna.id, "Firefox")
    world.clock.now_s += 10
    world.sign_in(anna.id, "Safari")
    world.sign_in(world.owner, "Chrome")
    found = world.sign_ins.of_person(anna.id)
    assert [each.user_agent for each in found] == ["Safari", "Firefox"]
    assert (found[0].person, found[0].source_ip, found[0].since_s) == (anna.id, "192.0.2.7", START_S + 10)


def test_a_sign_in_is_ended_once_and_by_its_own_person(world: World):
    anna = world.people.invite(ANNA, Role.MEMBER, None)
    world.sign_in(anna.id, "Firefox")
    (session,) = world.sign_ins.of_person(anna.id)
    with pytest.raises(NotFound):
        world.sign_ins.end(world.owner, session.id)
    world.sign_ins.end(anna.id, session.id)
    assert list(world.sign_ins.of_person(anna.id)) == []
    with pytest.raises(NotFound):
        world.sign_ins.end(anna.id, session.id)


def test_the_pools_group_makes_the_first_owner_and_no_other_role(pool: Pool):
    olga, max_, sam = (
        pool.user(OLGA, "owner"),
        pool.user("max@example.com", "member"),
        pool.user("sam@example.com"),
    )
    found = pool.people.get(olga)
    assert (found.role, found.email) == (Role.OWNER, OLGA)
    assert [each.id for each in pool.people.everybody()] == [olga]
    for uninvited in (max_, sam):
        with pytest.raises(NotFound):
            pool.people.get(uninvited)


def test_a_stranger_is_looked_up_in_the_pool_once_a_minute(clients: Clients, pool: Pool):
    now_s, looked_up = [0.0], list[PersonId]()

    class Counted(CognitoPeople):
        def _user_name(self, person: PersonId) -> str:
            looked_up.append(person)
            return super()._user_name(person)

    people = Counted(clients, pool.id, pool.table, monotonic_s=lambda: now_s[0])
    olga = pool.user(OLGA)
    for at_s, times in ((0, 1), (59, 1), (60, 2)):
        now_s[0] = at_s
        with pytest.raises(NotFound):
            people.get(olga)
        assert looked_up == [olga] * times
    pool.cognito.admin_add_user_to_group(UserPoolId=pool.id, Username=str(OLGA), GroupName="owner")
    now_s[0] = 120
    assert people.get(olga).role is Role.OWNER


def test_the_pools_groups_are_kept_in_step(pool: Pool):
    pool.people.get(pool.user(OLGA, "owner"))
    anna = pool.people.invite(ANNA, Role.MEMBER, None).id
    assert pool.groups_of(anna) == {"member"}
    pool.people.change(anna, Role.OWNER, None)
    assert pool.groups_of(anna) == {"owner"}


def test_an_owner_who_was_demoted_here_is_no_owner_by_the_pools_group(pool: Pool):
    olga = pool.people.get(pool.user(OLGA, "owner")).id
    pool.people.invite(ANNA, Role.OWNER, None)
    pool.people.change(olga, Role.VIEWER, frozenset({"outside"}))
    pool.cognito.admin_add_user_to_group(UserPoolId=pool.id, Username=str(OLGA), GroupName="owner")
    assert pool.people.get(olga).role is Role.VIEWER


def test_an_invitation_that_broke_off_is_completed_by_the_next(pool: Pool):
    pool.people.get(pool.user(OLGA, "owner"))
    made = pool.user(ANNA)
    assert pool.people.invite(ANNA, Role.VIEWER, None).id == made


def test_a_removal_that_broke_off_leaves_nobody_and_is_completed_by_the_next(clients: Clients, pool: Pool):
    class Broken(CognitoPeople):
        def _user_name(self, person: PersonId) -> str:
            raise Unavailable("Cognito is away")

    pool.people.get(pool.user(OLGA, "owner"))
    anna = pool.people.invite(ANNA, Role.OWNER, None).id
    with pytest.raises(Unavailable):
        Broken(clients, pool.id, pool.table).remove(anna)
    with pytest.raises(NotFound):
        pool.people.get(anna)
    assert anna not in [each.id for each in pool.people.everybody()]
    pool.people.remove(anna)
    assert pool.cognito.list_users(UserPoolId=pool.id, Filter=f'sub = "{anna}"')["Users"] == []


def test_two_owners_cannot_demote_each_other_at_once(clients: Clients, pool: Pool):
    olga = pool.people.get(pool.user(OLGA, "owner")).id
    anna = pool.people.invite(ANNA, Role.OWNER, None).id

    class Slow(CognitoPeople):
        """Has looked for another owner when that one is demoted by somebody else."""

        def _another_owner(self, person: PersonId) -> Check:
            found = super()._another_owner(person)
            pool.people.change(anna, Role.MEMBER, None)
            return found

    with pytest.raises(Conflict):
        Slow(clients, pool.id, pool.table).change(olga, Role.MEMBER, None)
    assert pool.people.get(olga).role is Role.OWNER


def test_a_token_of_a_sign_in_that_was_ended_is_refused_for_good(pool: Pool, clock: Clock):
    sign_ins, anna = CognitoSignIns(pool.table, now_s=clock), PersonId("anna")
    sign_ins.note(anna, "here")
    sign_ins.note(anna, "there")
    sign_ins.end(anna, "here")
    for _ in range(2):
        with pytest.raises(NotAuthorized, match="has been ended"):
            sign_ins.note(anna, "here")
        clock.now_s += 30 * 24 * 3600
    sign_ins.note(anna, "there")
    assert [each.id for each in sign_ins.of_person(anna)] == ["there"]


@pytest.mark.parametrize("session", ["", "x" * 65, "a b", "../x", "ü"])
def test_a_token_that_names_no_sign_in_is_refused(pool: Pool, clock: Clock, session: str):
    sign_ins = CognitoSignIns(pool.table, now_s=clock)
    with pytest.raises(NotAuthorized, match="names no sign-in"):
        sign_ins.note(PersonId("anna"), session)
    with pytest.raises(NotFound):
        sign_ins.end(PersonId("anna"), session)


def test_of_many_sign_ins_the_latest_used_are_listed(pool: Pool, clock: Clock):
    sign_ins, anna = CognitoSignIns(pool.table, now_s=clock), PersonId("anna")
    for number in range(105):
        clock.now_s += 1
        sign_ins.note(anna, f"{1000 - number}")
    assert [each.id for each in sign_ins.of_person(anna)] == [f"{1000 - number}" for number in range(104, 4, -1)]


def test_use_is_noted_every_few_minutes_and_not_at_each_request(pool: Pool, clock: Clock):
    sign_ins, anna = CognitoSignIns(pool.table, now_s=clock), PersonId("anna")

    def used_at() -> float:
        (found,) = sign_ins.of_person(anna)
        assert isinstance(found, SignedIn)
        return found.used_at_s

    for ahead_s, noted_s in ((0, 0), (200, 0), (200, 400), (10, 400)):
        clock.now_s += ahead_s
        sign_ins.note(anna, "here")
        assert used_at() == START_S + noted_s
