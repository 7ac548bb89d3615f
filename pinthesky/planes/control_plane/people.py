"""Routes of the people: who may use this home and as what, and where they are signed in."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput, NotFound
from pinthesky.model.identifiers import GroupName, Identifier
from pinthesky.model.people import Email, Person, PersonId, Role
from pinthesky.planes import alerts
from pinthesky.planes.authorization import Permission
from pinthesky.planes.data_plane.ending import close_all_of
from pinthesky.planes.listing import EpochMs, Items, ListQuery
from pinthesky.planes.ports import SignedIn
from pinthesky.planes.routing import Call, Routes
from pinthesky.planes.short_lists import page_of

routes = Routes("people")

GROUPS_MAX = 50
Groups = Annotated[
    list[GroupName], Meta(min_length=1, max_length=GROUPS_MAX, description="Of a viewer: sees no other cameras.")
]


class SessionId(Identifier):
    """What the identity provider calls a session."""

    __slots__ = ()
    _field = "session"


class PersonView(Struct, kw_only=True, rename="camel"):
    """Somebody who may sign in. `groups` is null for whoever sees every camera."""

    id: PersonId
    email: Email | None
    role: Role | None
    groups: list[GroupName] | None


class Myself(Struct, kw_only=True, rename="camel"):
    """Who has signed in, and what that allows."""

    id: PersonId
    email: Email | None
    role: Role | None
    groups: list[GroupName] | None
    permissions: list[Permission]


class NewPerson(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """An invitation."""

    email: Email
    role: Role
    groups: Groups | None = None


class PersonChange(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What somebody is from now on. Without `groups` a viewer sees every camera."""

    role: Role
    groups: Groups | None = None


class OfPersonQuery(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whose; one's own where nobody is named. Others' are for owners."""

    person: PersonId | None = None


class SessionsQuery(ListQuery, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whose; one's own where nobody is named. Others' are for owners."""

    person: PersonId | None = None


class SessionView(Struct, kw_only=True, rename="camel"):
    """A browser in which somebody is signed in."""

    id: str
    person: PersonId
    since: EpochMs
    used_at: EpochMs
    user_agent: str
    source_ip: str


@routes.get("/people", Permission.OWN, "Everybody who was invited")
def list_people(call: Call, query: ListQuery) -> Items[PersonView]:
    """In the order of their ids."""
    people = [_view(person) for person in call.home.people.everybody()]
    return page_of(people, lambda person: person.id, query, tokens=call.home.page_tokens, name="people")


@routes.post("/people", Permission.OWN, "Invite somebody", status=201)
def invite_person(call: Call, body: NewPerson) -> PersonView:
    """409 where the address is invited already."""
    groups = _groups(call, body.role, body.groups)
    return _view(call.home.people.invite(body.email, body.role, groups))


@routes.get("/people/me", Permission.READ, "Who I am here, and what I may do")
def get_myself(call: Call) -> Myself:
    """Permissions: read, watch, operate, own."""
    me = _view(call.person.person)
    allowed = [permission for permission in Permission if call.person.allows(permission)]
    return Myself(id=me.id, email=me.email, role=me.role, groups=me.groups, permissions=allowed)


@routes.put("/people/{person}", Permission.OWN, "Change somebody's role")
def change_person(call: Call, person: PersonId, body: PersonChange) -> PersonView:
    """In force at once: open connections are closed, and come back with it. 409 where no owner would be left."""
    groups = _groups(call, body.role, body.groups)
    changed = call.home.people.change(person, body.role, groups)
    close_all_of(call.home, person)
    return _view(changed)


@routes.delete("/people/{person}", Permission.OWN, "Uninvite somebody")
def remove_person(call: Call, person: PersonId) -> None:
    """Sessions, connections and subscriptions end. 409 where no owner would be left."""
    call.home.people.remove(person)
    close_all_of(call.home, person)
    alerts.forget_person(call.home, person)


@routes.get("/sessions", Permission.READ, "Where I am signed in")
def list_sessions(call: Call, query: SessionsQuery) -> Items[SessionView]:
    """In the order of their ids."""
    whose = _whose(call, query.person)
    sessions = [_session(each) for each in call.home.sign_ins.of_person(whose)]
    name = f"sessions of {whose}"
    return page_of(sessions, lambda session: session.id, query, tokens=call.home.page_tokens, name=name)


@routes.delete("/sessions/{session}", Permission.READ, "Sign a browser out")
def end_session(call: Call, session: SessionId, query: OfPersonQuery) -> None:
    """Every open connection of that person is closed; browsers that are still signed in connect again by themselves."""
    whose = _whose(call, query.person)
    call.home.sign_ins.end(whose, session)
    close_all_of(call.home, whose)


def _whose(call: Call, person: PersonId | None) -> PersonId:
    """Whose sessions are meant. Raises NotAuthorized unless they are one's own, or one is an owner."""
    me = call.person.person.id
    if person is None or person == me:
        return me
    call.person.require(Permission.OWN)
    return call.home.people.get(person).id


def _groups(call: Call, role: Role, groups: list[GroupName] | None) -> frozenset[str] | None:
    """What a person is limited to. Raises InvalidInput: not a viewer, or there is no such group."""
    if groups is None:
        return None
    if role is not Role.VIEWER:
        raise InvalidInput("groups", "limit viewers only: owners and members see every camera")
    for group in groups:
        try:
            call.home.groups.get(group)
        except NotFound as error:
            raise InvalidInput("groups", str(error)) from error
    return frozenset(map(str, groups))


def _view(person: Person) -> PersonView:
    groups = None if person.groups is None else sorted(map(GroupName, person.groups))
    return PersonView(id=person.id, email=person.email, role=person.role, groups=groups)


def _session(session: SignedIn) -> SessionView:
    return SessionView(
        id=session.id,
        person=session.person,
        since=int(session.since_s * 1000),
        used_at=int(session.used_at_s * 1000),
        user_agent=session.user_agent,
        source_ip=session.source_ip,
    )
