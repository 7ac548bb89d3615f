"""Which cameras a list shows to a person, page by page."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from pinthesky.model.identifiers import GroupName
from pinthesky.planes.records.cameras import Camera, key_of
from pinthesky.planes.table import LIMIT_MAX, Position

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
    after = home.page_tokens.open(query.next_token, name)
    if access.sees_everything:
        found = home.cameras.page(limit=query.limit, after=after)
        return VisibleCameras(list(found.rows), home.page_tokens.seal(found.next, name))
    # Where most cameras are hidden, reading all of them to leave them out would cost more than reading the groups.
    things = _things_of(home, access)
    start = 0 if after is None else bisect_right(things, after.key.sort)
    chosen = things[start : start + query.limit]
    more = Position(key_of(chosen[-1])) if start + query.limit < len(things) else None
    return VisibleCameras(home.cameras.get_many(chosen), home.page_tokens.seal(more, name))


def every(home: Home, access: Access) -> list[Camera]:
    """All cameras that a person sees, in the order of their names."""
    if access.sees_everything:
        found: list[Camera] = []
        after = None
        while True:
            read = home.cameras.page(limit=LIMIT_MAX, after=after)
            found += read.rows
            after = read.next
            if after is None:
                return found
    things = _things_of(home, access)
    return [
        camera
        for start in range(0, len(things), LIMIT_MAX)
        for camera in home.cameras.get_many(things[start : start + LIMIT_MAX])
    ]


def _things_of(home: Home, access: Access) -> list[ThingName]:
    groups = access.person.groups or frozenset()
    return home.groups.all_cameras_of([GroupName(group) for group in groups])
