"""Groups of cameras, and which camera is in which: kept on both sides, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from pinthesky.errors import Conflict
from pinthesky.model.identifiers import GroupName, ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.table import LIMIT_MAX, Check, Condition, Delete, Key, Position, Put, Record, Table

PARTITION = "group"
OF_CAMERA_MAX = 50
"""Most groups that one camera is in."""


class Group(Struct, frozen=True, kw_only=True, rename="camel"):
    """A group. One of type `location` has a time zone: that of the cameras in it."""

    name: GroupName
    created_at: int
    type: Literal["group", "location"] = "group"
    description: str = ""
    time_zone: str = ""


class Members(NamedTuple):
    """Some cameras of a group, and where the list goes on."""

    things: list[ThingName]
    next: Position | None


class Groups:
    """The repository of the groups."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, name: GroupName) -> Group:
        """Raises NotFound."""
        return rows.get(self._table, _key(name), Group, missing=f"there is no group {name}")

    def get_many(self, names: Sequence[GroupName]) -> list[Group]:
        """Those of up to 100 that exist, in the order asked for."""
        found = self._table.get_many([_key(name) for name in dict.fromkeys(names)])
        return [rows.decode(found[_key(name)], Group) for name in dict.fromkeys(names) if _key(name) in found]

    def page(self, *, limit: int, after: Position | None = None) -> rows.Rows[Group]:
        """Groups in the order of their names."""
        return rows.decode_page(self._table.query(PARTITION, limit=limit, after=after), Group)

    def add(self, group: Group) -> None:
        """Raises Conflict when it is there already."""
        rows.create(self._table, _record(group), exists=f"there is a group {group.name} already")

    def change(self, name: GroupName, to: Callable[[Group], Group]) -> Group:
        """Replace a group by `to(group)`. Raises NotFound."""
        return rows.change(
            self._table, _key(name), Group, to_record=_record, to=to, missing=f"there is no group {name}"
        )

    def remove(self, name: GroupName) -> None:
        """Remove a group; its cameras stay. One that is not there is no error."""
        self._table.write(Delete(_key(name)))
        while members := self.cameras_of(name, limit=50).things:
            for thing in members:
                self._leave(thing, name)

    def join(self, thing: ThingName, name: GroupName) -> None:
        """Put a camera into a group. Raises NotFound (no such group), Conflict (it is in too many)."""
        self.get(name)
        if len(self.names_of(thing) - {name}) >= OF_CAMERA_MAX:
            raise Conflict(f"{thing} is in {OF_CAMERA_MAX} groups already")
        try:
            self._table.write(
                Check(_key(name), Condition.PRESENT),
                Put(Record(Key(f"group-of#{thing}", name), b"{}")),
                Put(Record(Key(f"camera-of#{name}", str(thing)), b"{}")),
            )
        except Conflict:
            self.get(name)
            raise

    def leave(self, thing: ThingName, name: GroupName) -> None:
        """Take a camera out of a group. One that is not in it is no error. Raises NotFound (no such group)."""
        self.get(name)
        self._leave(thing, name)

    def forget_camera(self, thing: ThingName) -> None:
        """Take a camera out of all groups."""
        for name in self.names_of(thing):
            self._leave(thing, name)

    def names_of(self, thing: ThingName) -> frozenset[GroupName]:
        """The groups that a camera is in."""
        page = self._table.query(f"group-of#{thing}", limit=OF_CAMERA_MAX + 1)
        return frozenset(GroupName(record.key.sort) for record in page.records)

    def locations(self, names: Collection[GroupName]) -> list[Group]:
        """Those of the groups that are places with a time zone, in the order of their names."""
        return [group for group in self.get_many(sorted(names)) if group.type == "location" and group.time_zone]

    def all_cameras_of(self, names: Collection[GroupName]) -> list[ThingName]:
        """Every camera that is in one of the groups, in the order of their names."""
        found: set[ThingName] = set()
        for name in names:
            after = None
            while True:
                members = self.cameras_of(name, limit=LIMIT_MAX, after=after)
                found.update(members.things)
                after = members.next
                if after is None:
                    break
        return sorted(found)

    def cameras_of(self, name: GroupName, *, limit: int, after: Position | None = None) -> Members:
        """The cameras in a group, in the order of their names."""
        page = self._table.query(f"camera-of#{name}", limit=limit, after=after)
        return Members([ThingName(record.key.sort) for record in page.records], page.next)

    def _leave(self, thing: ThingName, name: GroupName) -> None:
        self._table.write(Delete(Key(f"group-of#{thing}", name)), Delete(Key(f"camera-of#{name}", str(thing))))


def _key(name: GroupName) -> Key:
    return Key(PARTITION, name)


def _record(group: Group) -> Record:
    return Record(_key(group.name), rows.encode(group))
