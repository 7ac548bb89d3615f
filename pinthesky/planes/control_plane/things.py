"""Routes of the registered things that are no cameras yet."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from pinthesky.model.identifiers import Identifier, ThingName
from pinthesky.planes.authorization import Permission
from pinthesky.planes.listing import Items, ListQuery
from pinthesky.planes.routing import Call, Routes
from pinthesky.planes.short_lists import page_of
from pinthesky.planes.table import LIMIT_MAX

routes = Routes("iot")


class ThingGroupName(Identifier):
    """Name of a group of things (AWS IoT: 1 to 128 of letters, digits, `:_-`). No group of cameras."""

    __slots__ = ()
    _field = "name"
    _pattern = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
    _rule = "must be 1 to 128 letters, digits, ':', '_' or '-'"


class ThingGroup(Struct, kw_only=True, rename="camel"):
    """A group of registered things."""

    name: str


class Thing(Struct, kw_only=True, rename="camel"):
    """A registered thing."""

    thing_name: ThingName


@routes.get("/iot/groups", Permission.OPERATE, "Groups of registered things")
def list_thing_groups(call: Call, query: ListQuery) -> Items[ThingGroup]:
    """In the order of their names."""
    page = page_of(call.home.things.groups(), str, query, tokens=call.home.page_tokens, name="iot groups")
    return Items(items=[ThingGroup(name=name) for name in page.items], next_token=page.next_token)


@routes.get("/iot/groups/{name}/things", Permission.OPERATE, "Things that are no cameras yet")
def list_things_of_group(call: Call, name: ThingGroupName, query: ListQuery) -> Items[Thing]:
    """In the order of their names; `POST /cameras` adopts one."""
    # A thing that becomes a camera meanwhile leaves the list; the page goes on behind a name.
    things = list(_no_cameras(call, call.home.things.in_group(str(name))))
    page = page_of(things, str, query, tokens=call.home.page_tokens, name=f"iot things of {name}")
    return Items(items=[Thing(thing_name=thing) for thing in page.items], next_token=page.next_token)


def _no_cameras(call: Call, things: Sequence[ThingName]) -> set[ThingName]:
    found = set(things)
    for start in range(0, len(things), LIMIT_MAX):
        found -= {camera.thing_name for camera in call.home.cameras.get_many(things[start : start + LIMIT_MAX])}
    return found
