"""Routes of the subscriptions: who is told of what, where, and how often at most.

Where mails, messages and web hooks lead is the owners' business. What leads to a browser of one's own is everybody's.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from pinthesky.errors import InvalidInput, NotFound
from pinthesky.model.people import PersonId
from pinthesky.planes import alerts
from pinthesky.planes.authorization import Permission
from pinthesky.planes.listing import EpochMs, Items, ListQuery
from pinthesky.planes.records import rows
from pinthesky.planes.records.scanning import scan
from pinthesky.planes.records.subscriptions import (
    COOL_DOWN_MAX_S,
    PARTITION,
    Filter,
    Protocol,
    Subscription,
    SubscriptionId,
)
from pinthesky.planes.routing import Call, Routes

routes = Routes("subscriptions")

ENDPOINT_MAX = 2048
OWN_PROTOCOL = "webpush"
LIST = "subscriptions"

CoolDownSeconds = Annotated[
    int, Meta(ge=0, le=COOL_DOWN_MAX_S, description="For so long the same of one camera is only counted.")
]
Description = Annotated[str, Meta(max_length=200)]


class NewSubscription(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A subscription to be made."""

    protocol: Protocol
    endpoint: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=ENDPOINT_MAX,
            description="Address, number, URL, or `JSON.stringify` of a browser's own subscription.",
        ),
    ]
    filter: Filter = Filter()
    cool_down_seconds: CoolDownSeconds = 300
    description: Description = ""


class SubscriptionChange(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What is left out stays. Where it leads stays too: make another one for that."""

    filter: Filter | UnsetType = UNSET
    cool_down_seconds: CoolDownSeconds | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class PushKey(Struct, kw_only=True, rename="camel"):
    """For `PushManager.subscribe` in a browser."""

    public_key: Annotated[str, Meta(description="`applicationServerKey`: the public key of VAPID, base64url.")]


class SubscriptionView(Struct, kw_only=True, rename="camel"):
    """A subscription as people see it."""

    id: SubscriptionId
    person: PersonId
    protocol: Protocol
    endpoint: str
    filter: Filter
    cool_down_seconds: int
    description: str
    created_at: EpochMs


@routes.get("/push/key", Permission.READ, "With what a browser subscribes to web push")
def get_push_key(call: Call) -> PushKey:
    """404 where alerts do not reach browsers."""
    key = call.home.notifier.push_key
    if key is None:
        raise NotFound("alerts do not reach browsers here: subscribe by another protocol")
    return PushKey(public_key=key)


@routes.get("/subscriptions", Permission.READ, "Subscriptions")
def list_subscriptions(call: Call, query: ListQuery) -> Items[SubscriptionView]:
    """Owners see all, others their own."""
    found = scan(
        lambda size, at: call.home.table.query(PARTITION, limit=size, after=at),
        lambda records: [rows.decode(record, Subscription) for record in records],
        lambda subscription: _is_theirs(call, subscription),
        limit=query.limit,
        after=call.home.page_tokens.open(query.next_token, LIST),
    )
    items = [_view(each) for each in found.rows]
    return Items(items=items, next_token=call.home.page_tokens.seal(found.next, LIST))


@routes.post("/subscriptions", Permission.READ, "Have alerts sent somewhere", status=201)
def add_subscription(call: Call, body: NewSubscription) -> SubscriptionView:
    """Everybody may subscribe a browser of their own (`webpush`); other destinations are for owners."""
    if body.protocol != OWN_PROTOCOL:
        call.person.require(Permission.OWN)
    if body.protocol not in call.home.notifier.protocols:
        raise InvalidInput("protocol", f"must be one of {', '.join(sorted(call.home.notifier.protocols))} here")
    subscription = Subscription(
        id=SubscriptionId.new(),
        person=call.person.person.id,
        protocol=body.protocol,
        endpoint=body.endpoint,
        created_at=round(call.now_s * 1000),
        filter=body.filter,
        cool_down_seconds=body.cool_down_seconds,
        description=body.description,
    )
    destination = alerts.destination_of(subscription)
    call.home.notifier.enlist(destination)
    try:
        call.home.subscriptions.add(subscription)
    except Exception:
        call.home.notifier.withdraw(destination)
        raise
    return _view(subscription)


@routes.get("/subscriptions/{subscription}", Permission.READ, "One subscription")
def get_subscription(call: Call, subscription: SubscriptionId) -> SubscriptionView:
    """As in the list."""
    return _view(_theirs(call, subscription))


@routes.put("/subscriptions/{subscription}", Permission.READ, "Change what a subscription tells of")
def change_subscription(call: Call, subscription: SubscriptionId, body: SubscriptionChange) -> SubscriptionView:
    """What is left out stays."""
    _theirs(call, subscription)
    given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    return _view(call.home.subscriptions.change(subscription, lambda before: replace(before, **given)))


@routes.delete("/subscriptions/{subscription}", Permission.READ, "End a subscription")
def remove_subscription(call: Call, subscription: SubscriptionId) -> None:
    """Nothing is sent there any more."""
    found = _theirs(call, subscription)
    call.home.notifier.withdraw(alerts.destination_of(found))
    call.home.subscriptions.remove(subscription)


def _is_theirs(call: Call, subscription: Subscription) -> bool:
    return subscription.person == call.person.person.id or call.person.allows(Permission.OWN)


def _theirs(call: Call, subscription: SubscriptionId) -> Subscription:
    found = call.home.subscriptions.get(subscription)
    if not _is_theirs(call, found):
        raise NotFound(f"there is no subscription {subscription}")
    return found


def _view(subscription: Subscription) -> SubscriptionView:
    return SubscriptionView(
        id=subscription.id,
        person=subscription.person,
        protocol=subscription.protocol,
        endpoint=subscription.endpoint,
        filter=subscription.filter,
        cool_down_seconds=subscription.cool_down_seconds,
        description=subscription.description,
        created_at=subscription.created_at,
    )
