"""Who may sign in to the hub, and where they are signed in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound
from pinthesky.hub import sessions as sessions_module
from pinthesky.hub.database import Database
from pinthesky.hub.people import People
from pinthesky.hub.sessions import LINK_S, LINKS_MAX, REFRESH_GRACE_S, SESSION_S, SESSIONS_MAX, Sessions
from pinthesky.model.people import Email, Person, PersonId, Role

ANNA = Email("anna@example.com")


class World(NamedTuple):
    people: People
    sessions: Sessions
    clock: list[float]
    database: Database

    def sign_in(self, person: Person) -> str:
        return self.sessions.open(person.id, user_agent="Firefox", source_ip="10.0.0.7")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database, clock = Database(tmp_path / "hub.sqlite"), [1_800_000_000.0]
    yield World(People(database, now_s=lambda: clock[0]), Sessions(database, now_s=lambda: clock[0]), clock, database)
    database.close()


@pytest.fixture
def owner(world: World) -> Person:
    return world.people.first_owner()


def test_there_is_one_first_owner(world: World, owner: Person):
    assert owner.role is Role.OWNER
    assert world.people.first_owner() == owner
    assert world.people.everybody() == [owner]


def test_somebody_is_invited_once_whatever_the_case_of_the_address(world: World):
    anna = world.people.invite(Email("Anna@Example.com"), Role.VIEWER, frozenset({"outside"}))
    assert world.people.get(anna.id) == anna == world.people.by_email(ANNA)
    with pytest.raises(Conflict, match="invited already"):
        world.people.invite(ANNA, Role.MEMBER)
    assert world.people.by_email(Email("b@example.com")) is None


@pytest.mark.parametrize("address", ["", "anna", "a b@example.com", "a@b@c", "a@-" + "x" * 300, "a@example.com\n.de"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InvalidInput, match="email: must be an e-mail address"):
        Email(address)


def test_the_last_owner_stays(world: World, owner: Person):
    for undo in (lambda: world.people.remove(owner.id), lambda: world.people.change(owner.id, Role.VIEWER)):
        with pytest.raises(Conflict, match="needs an owner"):
            undo()
    anna = world.people.invite(ANNA, Role.OWNER)
    assert world.people.change(owner.id, Role.VIEWER, frozenset({"inside"})).groups == frozenset({"inside"})
    assert world.people.first_owner() == anna


def test_who_is_removed_is_signed_out_everywhere(world: World, owner: Person):
    anna = world.people.invite(ANNA, Role.MEMBER)
    secret, link = world.sign_in(anna), world.sessions.make_link(anna.id)
    refresh = world.sessions.make_refresh_token(world.sessions.of_secret(secret).id)
    world.people.remove(anna.id)
    for use in (world.sessions.of_secret, world.sessions.rotate):
        with pytest.raises(NotAuthorized):
            use(secret if use == world.sessions.of_secret else refresh)
    with pytest.raises(NotAuthorized):
        world.sessions.redeem_link(link, user_agent="", source_ip="")
    with pytest.raises(NotFound):
        world.people.get(anna.id)


def test_a_link_signs_in_once(world: World, owner: Person):
    link = world.sessions.make_link(owner.id)
    secret = world.sessions.redeem_link(link, user_agent="Firefox", source_ip="10.0.0.7")
    found = world.sessions.of_secret(secret)
    assert (found.person, found.user_agent, found.source_ip) == (owner.id, "Firefox", "10.0.0.7")
    with pytest.raises(NotAuthorized, match="used already"):
        world.sessions.redeem_link(link, user_agent="", source_ip="")


def test_a_link_is_good_for_ten_minutes(world: World, owner: Person):
    first, second = world.sessions.make_link(owner.id), world.sessions.make_link(owner.id)
    world.clock[0] += LINK_S - 1
    world.sessions.redeem_link(first, user_agent="", source_ip="")
    world.clock[0] += 1
    with pytest.raises(NotAuthorized):
        world.sessions.redeem_link(second, user_agent="", source_ip="")


def test_links_that_nobody_uses_do_not_pile_up(world: World, owner: Person):
    links = []
    for _ in range(LINKS_MAX + 2):
        links.append(world.sessions.make_link(owner.id))
        world.clock[0] += 1
    for link, works in ((links[0], False), (links[1], False), (links[2], True), (links[-1], True)):
        if works:
            world.sessions.redeem_link(link, user_agent="", source_ip="")
        else:
            with pytest.raises(NotAuthorized):
                world.sessions.redeem_link(link, user_agent="", source_ip="")


def test_a_link_for_nobody_cannot_be_made(world: World):
    with pytest.raises(Conflict):
        world.sessions.make_link(PersonId("nobody"))


def test_no_secret_stands_in_the_database(world: World, owner: Person, tmp_path: Path):
    link = world.sessions.make_link(owner.id)
    secret = world.sign_in(owner)
    refresh = world.sessions.make_refresh_token(world.sessions.of_secret(secret).id)
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("hub.sqlite*"))
    assert [word.encode() in stored for word in (link, secret, refresh)] == [False, False, False]
    assert owner.id.encode() in stored


@pytest.mark.parametrize("wrong", ["", "guess", "ü\udcff", "x" * 10_000])
def test_a_guess_signs_nobody_in(world: World, owner: Person, wrong):
    world.sign_in(owner)
    for use in (
        world.sessions.of_secret,
        world.sessions.rotate,
        lambda secret: world.sessions.redeem_link(secret, user_agent="", source_ip=""),
    ):
        with pytest.raises(NotAuthorized):
            use(wrong)


def test_a_session_ends_after_its_time_whatever_is_done_in_it(world: World, owner: Person):
    secret = world.sign_in(owner)
    session = world.sessions.of_secret(secret)
    token = world.sessions.make_refresh_token(session.id)
    world.clock[0] += SESSION_S - 1
    _, token = world.sessions.rotate(token)
    world.clock[0] += 1
    for use in (
        lambda: world.sessions.of_secret(secret),
        lambda: world.sessions.of_id(session.id),
        lambda: world.sessions.rotate(token),
        lambda: world.sessions.make_refresh_token(session.id),
    ):
        with pytest.raises(NotAuthorized):
            use()
    assert world.sessions.of_person(owner.id) == []


def test_signing_out_ends_one_session_and_no_other(world: World, owner: Person):
    first, second = (world.sessions.of_secret(world.sign_in(owner)) for _ in range(2))
    world.sessions.end(first.id)
    assert [found.id for found in world.sessions.of_person(owner.id)] == [second.id]
    assert world.sessions.of_id(second.id) == second
    with pytest.raises(NotFound):
        world.sessions.end(first.id)


def test_sessions_are_bounded_and_the_one_used_longest_ago_goes(world: World, owner: Person, monkeypatch):
    monkeypatch.setattr(sessions_module, "SESSIONS_MAX", 3)
    assert SESSIONS_MAX > 3
    secrets = []
    for _ in range(4):
        secrets.append(world.sign_in(owner))
        world.clock[0] += 1
    assert len(world.sessions.of_person(owner.id)) == 3
    with pytest.raises(NotAuthorized):
        world.sessions.of_secret(secrets[0])


def test_a_refresh_token_is_good_for_one_turn_and_the_turn_for_the_next(world: World, owner: Person):
    session = world.sessions.of_secret(world.sign_in(owner))
    token = world.sessions.make_refresh_token(session.id)
    for _ in range(30):
        world.clock[0] += 600
        turned, token = world.sessions.rotate(token)
        assert turned.id == session.id
    assert world.sessions.of_id(session.id).used_at_s == int(world.clock[0])


def test_a_refresh_token_works_again_at_once_because_its_answer_may_have_been_lost(world: World, owner: Person):
    session = world.sessions.of_secret(world.sign_in(owner))
    token = world.sessions.make_refresh_token(session.id)
    world.sessions.rotate(token)
    world.clock[0] += REFRESH_GRACE_S
    _, following = world.sessions.rotate(token)
    assert world.sessions.rotate(following)[0].id == session.id


def test_a_refresh_token_that_comes_again_later_ends_the_session_for_thief_and_owner(world: World, owner: Person):
    session = world.sessions.of_secret(world.sign_in(owner))
    token = world.sessions.make_refresh_token(session.id)
    _, following = world.sessions.rotate(token)
    world.clock[0] += REFRESH_GRACE_S + 1
    for each in (token, following):
        with pytest.raises(NotAuthorized):
            world.sessions.rotate(each)
    with pytest.raises(NotAuthorized):
        world.sessions.of_id(session.id)


def test_used_refresh_tokens_do_not_pile_up(world: World, owner: Person):
    session = world.sessions.of_secret(world.sign_in(owner))
    token = world.sessions.make_refresh_token(session.id)
    for _ in range(60):
        _, token = world.sessions.rotate(token)
    with world.database.reading() as connection:
        (count,) = connection.execute("SELECT count(*) FROM refresh_tokens").fetchone()
    assert count <= 21
