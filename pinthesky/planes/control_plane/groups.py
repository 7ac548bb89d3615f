"""Routes of the groups of cameras. One of type `location` carries the time zone of the cameras in it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import GroupName, ThingName
from pinthesky.model.settings import ModeSettings
from pinthesky.planes.authorization import Permission
from pinthesky.planes.control_plane.cameras import CameraView, Description, view
from pinthesky.planes.listing import Items, ListQuery
from pinthesky.planes.records.groups import Group
from pinthesky.planes.routing import Call, Routes
from pinthesky.planes.short_lists import page_of
from pinthesky.planes.table import LIMIT_MAX

routes = Routes("groups")

GroupType = Literal["group", "location"]
TimeZone = Annotated[str, Meta(max_length=40, description="IANA name, of a location only.")]


class NewGroup(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A group to be made."""

    name: GroupName
    type: GroupType = "group"
    description: Description = ""
    time_zone: TimeZone = ""


class GroupChange(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What is left out stays."""

    type: GroupType | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    time_zone: TimeZone | UnsetType = UNSET


class CameraNames(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Cameras, by the names of their things."""

    cameras: Annotated[list[ThingName], Meta(min_length=1, max_length=LIMIT_MAX)]


@routes.get("/groups", Permission.READ, "Groups, by their names")
def list_groups(call: Call, query: ListQuery) -> Items[Group]:
    """A viewer of groups sees those alone."""
    groups = call.person.person.groups
    if groups is None:
        after = call.home.page_tokens.open(query.next_token, "groups")
        page = call.home.groups.page(limit=query.limit, after=after)
        return Items(items=list(page.rows), next_token=call.home.page_tokens.seal(page.next, "groups"))
    chosen = page_of(list(map(GroupName, groups)), str, query, tokens=call.home.page_tokens, name="groups")
    return Items(items=call.home.groups.get_many(chosen.items), next_token=chosen.next_token)


@routes.post("/groups", Permission.OPERATE, "Make a group", status=201)
def add_group(call: Call, body: NewGroup) -> Group:
    """409 where there is one of that name."""
    group = Group(created_at=round(call.now_s * 1000), **msgspec.structs.asdict(body))
    _check(group)
    call.home.groups.add(group)
    return group


@routes.get("/groups/{name}", Permission.READ, "One group")
def get_group(call: Call, name: GroupName) -> Group:
    """As in the list."""
    call.person.require_sees_group(name)
    return call.home.groups.get(name)


@routes.put("/groups/{name}", Permission.OPERATE, "Change a group")
def change_group(call: Call, name: GroupName, body: GroupChange) -> Group:
    """What is left out stays. A location that becomes a group loses its zone."""
    call.person.require_sees_group(name)
    given = {field: value for field, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    if body.type == "group":
        given.setdefault("time_zone", "")

    def changed(group: Group) -> Group:
        after = msgspec.structs.replace(group, **given)
        _check(after)
        return after

    return call.home.groups.change(name, changed)


@routes.delete("/groups/{name}", Permission.OPERATE, "Remove a group; its cameras stay")
def remove_group(call: Call, name: GroupName) -> None:
    """404 where there is none."""
    call.person.require_sees_group(name)
    call.home.groups.get(name)
    call.home.groups.remove(name)


@routes.get("/groups/{name}/cameras", Permission.READ, "The cameras in a group")
def list_cameras_of_group(call: Call, name: GroupName, query: ListQuery) -> Items[CameraView]:
    """In the order of their things' names."""
    call.person.require_sees_group(name)
    call.home.groups.get(name)
    token_name = f"cameras of {name}"
    after = call.home.page_tokens.open(query.next_token, token_name)
    members = call.home.groups.cameras_of(name, limit=query.limit, after=after)
    cameras = call.home.cameras.get_many(members.things) if members.things else []
    token = call.home.page_tokens.seal(members.next, token_name)
    return Items(items=[view(call, camera) for camera in cameras], next_token=token)


@routes.post("/groups/{name}/cameras", Permission.OPERATE, "Put cameras into a group")
def add_cameras_to_group(call: Call, name: GroupName, body: CameraNames) -> Items[CameraView]:
    """All of them, or none where one is not there. Answers them."""
    call.person.require_sees_group(name)
    call.home.groups.get(name)
    for thing in body.cameras:
        call.person.require_sees(thing)
    cameras = call.home.cameras.get_many(body.cameras)
    if missing := set(body.cameras) - {camera.thing_name for camera in cameras}:
        raise InvalidInput("cameras", f"there is no camera {min(missing)}")
    for camera in cameras:
        call.home.groups.join(camera.thing_name, name)
    return Items(items=[view(call, camera) for camera in cameras])


@routes.delete("/groups/{name}/cameras/{thing}", Permission.OPERATE, "Take a camera out of a group")
def remove_camera_of_group(call: Call, name: GroupName, thing: ThingName) -> None:
    """No error where it was not in it."""
    call.person.require_sees_group(name)
    call.home.cameras.get(thing)
    call.home.groups.leave(thing, name)


def _check(group: Group) -> None:
    if group.type == "group":
        if group.time_zone:
            raise InvalidInput("timeZone", "must not be given for a group that is no location")
        return
    if not group.time_zone:
        raise InvalidInput("timeZone", "must be given for a location: an IANA name such as Europe/Zurich")
    try:
        ModeSettings(time_zone=group.time_zone).check()
    except InvalidInput as error:
        raise InvalidInput("timeZone", error.reason) from error
