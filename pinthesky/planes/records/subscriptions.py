"""Subscriptions: who is told of what, where, and how often at most."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from pinthesky.errors import Conflict, Unavailable
from pinthesky.model.identifiers import GroupName, Identifier, ThingName
from pinthesky.model.labels import NAME_MAX
from pinthesky.model.people import PersonId
from pinthesky.planes.records import rows
from pinthesky.planes.table import Condition, Delete, Key, Position, Put, Record, Table

PARTITION = "subscription"
SUBSCRIPTIONS_MAX = 200
"""Most subscriptions of a home: all of them are looked at for each alert."""
OF_PERSON_MAX = 20
"""Browsers that one person may subscribe."""
NAMES_MAX = 50
COOL_DOWN_MAX_S = 86_400
_HELD_BACK_S = 86_400
"""For how long after its end a cool-down remembers what it has held back."""

AlertType = Literal["motion", "camera_offline", "camera_online", "camera_fault", "spool_pressure", "job_failed"]
Protocol = Literal["email", "sms", "https", "webpush"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class SubscriptionId(Identifier):
    """What a subscription is called."""

    __slots__ = ()
    _field = "subscription"
    _pattern = re.compile(r"[a-z0-9]{16}")
    _rule = "must be 16 lower-case letters or digits"

    @classmethod
    def new(cls) -> SubscriptionId:
        """A fresh id."""
        return cls(secrets.token_hex(8))


class Filter(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename="pascal"):
    """Which alerts: for each list that is not empty an alert has to be in it. Day and hour are the camera's own."""

    alert_type: Annotated[list[AlertType], Meta(max_length=6)] = []
    scope: Annotated[list[Literal["camera", "group", "fleet"]], Meta(max_length=3)] = []
    group: Annotated[list[GroupName], Meta(max_length=NAMES_MAX)] = []
    camera: Annotated[list[ThingName], Meta(max_length=NAMES_MAX)] = []
    day_of_week: Annotated[list[Day], Meta(max_length=7)] = []
    hour: Annotated[list[Annotated[int, Meta(ge=0, le=23)]], Meta(max_length=24)] = []
    label: Annotated[list[Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]], Meta(max_length=NAMES_MAX)] = []
    """Of motion only what was recognised as one of these, and then only when it has been."""


class Subscription(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One subscription. Times are epoch milliseconds."""

    id: SubscriptionId
    person: PersonId
    """Whose it is: nobody is told of a camera that they may not see."""
    protocol: Protocol
    endpoint: str
    created_at: int
    filter: Filter = Filter()
    cool_down_seconds: int = 300
    description: str = ""


class CoolDown(Struct, frozen=True):
    """Until when a rule is silent about something, and how much it has held back; epoch milliseconds."""

    until: int
    held_back: int = 0


class Subscriptions:
    """The repository of the subscriptions."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, subscription: SubscriptionId) -> Subscription:
        """Raises NotFound."""
        missing = f"there is no subscription {subscription}"
        return rows.get(self._table, _key(subscription), Subscription, missing=missing)

    def page(self, *, limit: int, after: Position | None = None) -> rows.Rows[Subscription]:
        """Subscriptions in the order of their ids."""
        return rows.decode_page(self._table.query(PARTITION, limit=limit, after=after), Subscription)

    def everything(self) -> list[Subscription]:
        """All of them."""
        found: list[Subscription] = []
        after: Position | None = None
        while True:
            page = self.page(limit=100, after=after)
            found += page.rows
            after = page.next
            if after is None:
                return found

    def add(self, subscription: Subscription) -> None:
        """Raises Conflict when there are too many, or too many of a person's browsers."""
        there = self.everything()
        if len(there) >= SUBSCRIPTIONS_MAX:
            raise Conflict(f"there are {SUBSCRIPTIONS_MAX} subscriptions already")
        browsers = [each for each in there if (each.protocol, each.person) == ("webpush", subscription.person)]
        if subscription.protocol == "webpush" and len(browsers) >= OF_PERSON_MAX:
            raise Conflict(f"you have subscribed {OF_PERSON_MAX} browsers already")
        rows.create(self._table, _record(subscription), exists=f"there is a subscription {subscription.id} already")

    def change(self, subscription: SubscriptionId, to: Callable[[Subscription], Subscription]) -> Subscription:
        """Replace a subscription by `to(subscription)`. Raises NotFound."""
        missing = f"there is no subscription {subscription}"
        return rows.change(self._table, _key(subscription), Subscription, to_record=_record, to=to, missing=missing)

    def remove(self, subscription: SubscriptionId) -> None:
        """One that is not there is no error."""
        self._table.write(Delete(_key(subscription)))

    def admit(self, subscription: Subscription, about: str, now_ms: int) -> int | None:
        """Whether something may be told now; the cool-down begins with it.

        Returns how much of the same was held back since the last time, or None: it is held back, and counted.
        """
        if subscription.cool_down_seconds == 0:
            return 0
        key = Key(f"cool-down#{subscription.id}", about)
        for _ in range(rows.TRIES_MAX):
            record = self._table.get(key)
            before = None if record is None else rows.decode(record, CoolDown)
            if before is not None and now_ms < before.until:
                after, answer = CoolDown(before.until, before.held_back + 1), None
            else:
                after = CoolDown(now_ms + subscription.cool_down_seconds * 1000)
                answer = 0 if before is None else before.held_back
            kept = Record(key, rows.encode(after), expires_at_s=after.until // 1000 + _HELD_BACK_S)
            try:
                self._table.write(Put(kept, Condition.ABSENT if record is None else record.version))
            except Conflict:
                continue
            return answer
        raise Unavailable(f"the cool-down of {subscription.id} is changed by too many at once")


def _key(subscription: SubscriptionId) -> Key:
    return Key(PARTITION, str(subscription))


def _record(subscription: Subscription) -> Record:
    return Record(_key(subscription.id), rows.encode(subscription))
