"""Alerts: what people are told wherever they are, by the rules that they have made.

A rule tells of the same thing at the same camera once in its cool-down; what happens meanwhile is counted, and the
count goes along with the next alert. A camera that is lost or back is always told: holding back either would leave
somebody with the wrong idea of how things stand.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.model.identifiers import GroupName, MediaKey, ThingName
from pinthesky.model.people import PersonId
from pinthesky.planes.authorization import Access, Permission
from pinthesky.planes.home import Home
from pinthesky.planes.ports import Alert, Destination
from pinthesky.planes.records.subscriptions import AlertType, Day, Filter, Subscription

logger = logging.getLogger(__name__)

ALWAYS_TOLD: frozenset[AlertType] = frozenset({"camera_offline", "camera_online"})
NEEDED: Mapping[str, Permission] = {"job_failed": Permission.OWN}
"""What a person needs in order to be told of a type; READ for all others."""
_DAYS: Sequence[Day] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """Something that happened and that people may want to be told of."""

    alert_type: AlertType
    thing: ThingName
    at_s: float
    title: str
    """For a person; `{camera}` stands for the camera's name."""
    text: str = ""
    link: str = ""
    picture: MediaKey | None = None
    labels: Sequence[str] = ()
    """What was recognised. An occasion of motion with labels is told to those alone who asked for one of them: the
    others were told when the motion began."""


@dataclass(frozen=True)
class _Place:
    """Where a camera is."""

    groups: frozenset[GroupName]
    location: GroupName | None
    zone: tzinfo


def tell(home: Home, occasion: Occasion, now_s: float) -> int:
    """Send alerts to everybody whose rules ask for this; returns to how many destinations.

    Raises Unavailable where the rules cannot be read. What the notifier cannot take is logged: it has tried already.
    """
    place = _place_of(home, occasion.thing)
    at = datetime.fromtimestamp(occasion.at_s, place.zone)
    told = 0
    by_merged: dict[int, list[Destination]] = {}
    for rule in _matching(home, occasion, place=place, at=at):
        merged = _admitted(home, rule, occasion, now_s=now_s)
        if merged is not None:
            by_merged.setdefault(merged, []).append(destination_of(rule))
    for merged, destinations in sorted(by_merged.items()):
        alert = _alert(home, occasion, place=place, at=at, merged=merged)
        try:
            home.notifier.deliver(alert, destinations)
        except (Unavailable, InvalidInput) as error:
            logger.error("An alert of %s (%s) is lost: %s", occasion.thing, occasion.alert_type, error)
            continue
        told += len(destinations)
    return told


def forget_person(home: Home, person: PersonId) -> None:
    """End the subscriptions of somebody who was removed."""
    for rule in home.subscriptions.everything():
        if rule.person == person:
            home.notifier.withdraw(destination_of(rule))
            home.subscriptions.remove(rule.id)


def destination_of(rule: Subscription) -> Destination:
    """Where a subscription leads."""
    return Destination(rule.id, rule.protocol, rule.endpoint)


def passes(asked: Filter, occasion: Occasion, *, groups: frozenset[GroupName], at: datetime) -> bool:
    """Whether a filter lets an occasion pass. `at` is the time on the camera's own clock."""
    if occasion.alert_type == "motion" and bool(asked.label) != bool(occasion.labels):
        return False
    pairs: Sequence[tuple[Sequence[object], Sequence[object]]] = (
        (asked.alert_type, [occasion.alert_type]),
        (asked.scope, ["camera"]),
        (asked.group, list(groups)),
        (asked.camera, [occasion.thing]),
        (asked.day_of_week, [_DAYS[at.weekday()]]),
        (asked.hour, [at.hour]),
        (asked.label, list(occasion.labels)),
    )
    return all(not wanted or any(each in wanted for each in found) for wanted, found in pairs)


def _matching(home: Home, occasion: Occasion, *, place: _Place, at: datetime) -> list[Subscription]:
    accesses: dict[PersonId, Access | None] = {}

    def may_know(rule: Subscription) -> bool:
        if rule.person not in accesses:
            accesses[rule.person] = home.access_of(rule.person)
        access = accesses[rule.person]
        needed = NEEDED.get(occasion.alert_type, Permission.READ)
        return access is not None and access.allows(needed) and access.sees(occasion.thing)

    return [
        rule
        for rule in home.subscriptions.everything()
        if passes(rule.filter, occasion, groups=place.groups, at=at) and may_know(rule)
    ]


def _admitted(home: Home, rule: Subscription, occasion: Occasion, *, now_s: float) -> int | None:
    if occasion.alert_type in ALWAYS_TOLD:
        return 0
    return home.subscriptions.admit(rule, f"{occasion.alert_type}#{occasion.thing}", int(now_s * 1000))


def _alert(home: Home, occasion: Occasion, *, place: _Place, at: datetime, merged: int) -> Alert:
    try:
        name = home.cameras.get(occasion.thing).display_name
    except NotFound:
        name = str(occasion.thing)
    return Alert(
        alert_type=occasion.alert_type,
        scope="camera",
        group=place.location or min(place.groups, default=""),
        camera=occasion.thing,
        day_of_week=_DAYS[at.weekday()],
        hour=at.hour,
        title=occasion.title.replace("{camera}", name),
        text=occasion.text or f"{at:%Y-%m-%d %H:%M:%S %Z}",
        link=occasion.link or f"/cameras/{occasion.thing}",
        picture=occasion.picture,
        labels=list(occasion.labels),
        merged=merged,
    )


def _place_of(home: Home, thing: ThingName) -> _Place:
    """A camera's groups and the zone of its location; of several the first by name, UTC where nothing says it."""
    names = home.groups.names_of(thing)
    for group in home.groups.locations(names):
        try:
            return _Place(names, group.name, ZoneInfo(group.time_zone))
        except (ValueError, LookupError, OSError) as error:
            logger.warning("The time zone of %s cannot be used: %s", group.name, error)
    return _Place(names, None, UTC)
