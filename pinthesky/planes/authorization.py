"""Who may do what, and who may see which camera: one place for every route, action, list, count and push."""

from __future__ import annotations

import enum
from collections.abc import Callable

from pinthesky.errors import NotAuthorized, NotFound
from pinthesky.model.identifiers import ThingName
from pinthesky.model.people import Person, Role


class Permission(enum.Enum):
    """What a route or an action asks for."""

    READ = "read"
    """Lists, clips, stills, health, settings."""
    WATCH = "watch"
    """Live view, and a still of now."""
    OPERATE = "operate"
    """Everything else on cameras, groups, clips and tags."""
    OWN = "own"
    """People, jobs, registrations, other people's sessions and tokens, destinations."""


_ALLOWED = {
    Role.OWNER: frozenset(Permission),
    Role.MEMBER: frozenset({Permission.READ, Permission.WATCH, Permission.OPERATE}),
    Role.VIEWER: frozenset({Permission.READ, Permission.WATCH}),
}

GroupsOf = Callable[[ThingName], frozenset[str]]
"""Names of the groups that a camera is in."""


class Access:
    """What one person may do and see now."""

    def __init__(self, person: Person, groups_of: GroupsOf) -> None:
        self.person = person
        self._groups_of = groups_of

    @property
    def sees_everything(self) -> bool:
        """Whether no camera is hidden."""
        return self.person.role is not None and self.person.groups is None

    def allows(self, permission: Permission) -> bool:
        """Whether this person's role has a permission."""
        return self.person.role is not None and permission in _ALLOWED[self.person.role]

    def require(self, permission: Permission) -> None:
        """Raise NotAuthorized unless `allows`."""
        if not self.allows(permission):
            raise NotAuthorized("this is not allowed to you")

    def sees(self, thing: ThingName) -> bool:
        """Whether a camera exists for this person."""
        if self.person.role is None:
            return False
        return self.person.groups is None or not self.person.groups.isdisjoint(self._groups_of(thing))

    def require_sees(self, thing: ThingName) -> None:
        """Raise NotFound unless `sees`: what a person may not see is not there."""
        if not self.sees(thing):
            raise NotFound(f"there is no camera {thing}")

    def sees_group(self, group: str) -> bool:
        """Whether a group exists for this person."""
        return self.person.role is not None and (self.person.groups is None or group in self.person.groups)

    def require_sees_group(self, group: str) -> None:
        """Raise NotFound unless `sees_group`."""
        if not self.sees_group(group):
            raise NotFound(f"there is no group {group}")
