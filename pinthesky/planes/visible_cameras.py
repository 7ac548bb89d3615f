"""Which cameras a list shows to a person, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pinthesky.model.identifiers import GroupName
from pinthesky.planes.records.cameras import Camera
from pinthesky.planes.short_lists import page_of
from pinthesky.planes.table import LIMIT_MAX

if TYPE_CHECKING:
    from pinthesky.model.identifiers import ThingName
    from pinthesky.planes.authorization import Access
    from pinthesky.planes.home import Home
    from pinthesky.planes.listing import ListQuery


class VisibleCameras(NamedTuple):
    """Some cameras in the order of their things' names, and the token of the next page."""

    cameras: list[Camera]
    token: str | None


def page(home: Home, access: Access, query: ListQuery, *, name: str) -> VisibleCameras:
    """A page of the cameras that a person sees. `name` says which list its token belongs to."""
    if access.sees_everything:
        after = home.page_tokens.open(query.next_token, name)
        found = home.cameras.page(limit=query.limit, after=after)
        return VisibleCameras(list(found.rows), home.page_tokens.seal(found.next, name))
    # Where most cameras are hidden, reading all of them to leave them out would cost more than reading the groups.
    chosen = page_of(_things_of(home, access), str, query, tokens=home.page_tokens, name=name)
    return VisibleCameras(home.cameras.get_many(chosen.items), chosen.next_token)


def every(home: Home, access: Access, *, only_of: GroupName | None = None) -> list[Camera]:
    """All cameras that a person sees, or those of a group that the person sees, in the order of their names."""
    if only_of is None and access.sees_everything:
        found: list[Camera] = []
        after = None
        while True:
            read = home.cameras.page(limit=LIMIT_MAX, after=after)
            found += read.rows
            after = read.next
            if after is None:
                return found
    things = _things_of(home, access) if only_of is None else home.groups.all_cameras_of([only_of])
    return [
        camera
        for start in range(0, len(things), LIMIT_MAX)
        for camera in home.cameras.get_many(things[start : start + LIMIT_MAX])
    ]


def _things_of(home: Home, access: Access) -> list[ThingName]:
    groups = access.person.groups or frozenset()
    return home.groups.all_cameras_of([GroupName(group) for group in groups])
