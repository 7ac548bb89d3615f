"""The planes' port `Notifier` on one topic of SNS.

The rules of the planes choose whom an alert goes to. Each destination is a subscription of the topic with a filter on
the attribute `Subscription`, which names the destinations that were chosen. The other attributes (`AlertType`, `Scope`,
`Group`, `Camera`, `DayOfWeek`, `Hour`) are for subscriptions that the owner makes himself.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pinthesky.aws.clients import Clients, errors
from pinthesky.errors import Conflict, InvalidInput, NotFound, Unavailable
from pinthesky.model.identifiers import plain
from pinthesky.model.people import Email
from pinthesky.planes.ports import Alert, Destination
from pinthesky.planes.table import Condition, Delete, Key, Put, Record, Table

PROTOCOLS = frozenset({"email", "sms", "https"})
PARTITION = "sns-destination"
DESTINATIONS_MAX = 1000
"""Destinations of one message: with their names it stays far below the 256 KB of SNS."""
SUBJECT_MAX = 100
SMS_MAX = 140
RULES_MAX = 200
TRIES = 5
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_ADDRESS = re.compile(r"https://[A-Za-z0-9.-]{1,255}(:[0-9]{1,5})?(/[\x21-\x7e]{0,1500})?")


class Enlisted(Struct, frozen=True, kw_only=True, rename="camel"):
    """A destination that SNS knows, and the rules that lead to it."""

    arn: str
    rules: list[str]


class SnsNotifier:
    """The adapter of `planes.ports.Notifier`. What SNS has taken it delivers by itself, and tries again."""

    def __init__(self, clients: Clients, topic: str, table: Table, *, console: str) -> None:
        """`topic` is an ARN; `console` is its address, which links begin with."""
        self._clients = clients
        self._topic = topic
        self._table = table
        self._console = console

    @property
    def protocols(self) -> frozenset[str]:
        """See `planes.ports.Notifier`."""
        return PROTOCOLS

    @property
    def push_key(self) -> str | None:
        """See `planes.ports.Notifier`. SNS knows no browsers."""
        return None

    def enlist(self, destination: Destination) -> None:
        """See `planes.ports.Notifier`. SNS asks the destination to confirm, and delivers nothing before."""
        _check(destination)
        arn = self._subscribe(destination)
        self._change(destination, lambda found: _with_rule(found, arn, destination.subscription_id))

    def withdraw(self, destination: Destination) -> None:
        """See `planes.ports.Notifier`. An address that another rule leads to stays."""
        key = _key(destination)
        before = self._change(destination, lambda found: _without_rule(found, destination.subscription_id))
        if before is None or before.rules != [destination.subscription_id]:
            return
        # One that nobody has confirmed cannot be ended, and ends by itself.
        with suppress(NotFound, InvalidInput), errors("withdrawing a destination", field="endpoint"):
            self._client.unsubscribe(SubscriptionArn=before.arn)
        record = self._table.get(key)
        if record is not None:
            # Somebody has made a new rule for it meanwhile, and found the old subscription.
            arn = self._subscribe(destination)
            self._change(destination, lambda found: None if found is None else replace(found, arn=arn))

    def deliver(self, alert: Alert, destinations: Sequence[Destination]) -> None:
        """See `planes.ports.Notifier`. One message for all of them."""
        names = list(dict.fromkeys(name_of(destination) for destination in destinations))
        for start in range(0, len(names), DESTINATIONS_MAX):
            chosen = names[start : start + DESTINATIONS_MAX]
            with errors("publishing an alert", field="alert"):
                self._client.publish(
                    TopicArn=self._topic,
                    Subject=subject_of(alert.title),
                    Message=msgspec.json.encode(self._message(alert)).decode(),
                    MessageStructure="json",
                    MessageAttributes=_attributes(alert, chosen),
                )

    def _message(self, alert: Alert) -> dict[str, str]:
        """The alert as each protocol shows it."""
        link = f"{self._console}{alert.link}" if alert.link else ""
        merged = f"{alert.merged} more of the same were held back before this." if alert.merged else ""
        text = "\n\n".join(part for part in (alert.title, alert.text, merged, link) if part)
        told = {**asdict(alert), "link": link, "picture": str(alert.picture or "")}
        return {
            "default": text,
            "sms": f"{alert.title[: SMS_MAX - 1 - len(link)]} {link}".strip()
            if len(link) < SMS_MAX // 2
            else alert.title[:SMS_MAX],
            "https": msgspec.json.encode(told, enc_hook=plain).decode(),
        }

    def _subscribe(self, destination: Destination) -> str:
        policy = msgspec.json.encode({"Subscription": [name_of(destination)]}).decode()
        with errors("enlisting a destination", field="endpoint"):
            answer = self._client.subscribe(
                TopicArn=self._topic,
                Protocol=destination.protocol,
                Endpoint=destination.endpoint,
                Attributes={"FilterPolicy": policy},
                ReturnSubscriptionArn=True,
            )
        return str(answer["SubscriptionArn"])

    def _change(self, destination: Destination, to: Callable[[Enlisted | None], Enlisted | None]) -> Enlisted | None:
        """Change what is known of a destination, or forget it; returns what was known before."""
        key = _key(destination)
        for _ in range(TRIES):
            record = self._table.get(key)
            before = None if record is None else msgspec.json.decode(record.content, type=Enlisted)
            after = to(before)
            if after == before:
                return before
            condition = Condition.ABSENT if record is None else record.version
            with suppress(Conflict):
                if after is None:
                    self._table.write(Delete(key, condition))
                else:
                    self._table.write(Put(Record(key, msgspec.json.encode(after, enc_hook=plain)), condition))
                return before
        raise Unavailable("a destination is being changed by too many at once")

    @property
    def _client(self) -> Any:
        return self._clients.get("sns")


def name_of(destination: Destination) -> str:
    """What a destination is called in filters: the address itself would be readable in every message."""
    return hashlib.sha256(f"{destination.protocol} {destination.endpoint}".encode()).hexdigest()[:32]


def subject_of(title: str) -> str:
    """A title as SNS takes a mail's subject: at most 100 printable ASCII characters, the first a letter or digit."""
    ascii_only = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    shown = "".join(character if character.isprintable() else " " for character in ascii_only).strip()
    if not shown[:1].isalnum():
        shown = f"Alert: {shown}".removesuffix(": ")
    return shown[:SUBJECT_MAX]


def _key(destination: Destination) -> Key:
    return Key(PARTITION, name_of(destination))


def _check(destination: Destination) -> None:
    if destination.protocol not in PROTOCOLS:
        raise InvalidInput("protocol", f"must be one of {', '.join(sorted(PROTOCOLS))}")
    if destination.protocol == "email":
        Email.parse(destination.endpoint, "endpoint")
    elif destination.protocol == "sms" and _PHONE.fullmatch(destination.endpoint) is None:
        raise InvalidInput("endpoint", "must be a telephone number with its country: +491701234567")
    elif destination.protocol == "https" and _ADDRESS.fullmatch(destination.endpoint) is None:
        raise InvalidInput("endpoint", "must be an https:// address of at most 1700 characters")


def _with_rule(found: Enlisted | None, arn: str, rule: str) -> Enlisted:
    rules = [] if found is None else found.rules
    if rule not in rules and len(rules) >= RULES_MAX:
        raise InvalidInput("endpoint", f"has {RULES_MAX} rules already")
    return Enlisted(arn=arn, rules=rules if rule in rules else [*rules, rule])


def _without_rule(found: Enlisted | None, rule: str) -> Enlisted | None:
    rules = [] if found is None else [each for each in found.rules if each != rule]
    return None if found is None or not rules else replace(found, rules=rules)


def _attributes(alert: Alert, chosen: Sequence[str]) -> dict[str, dict[str, str]]:
    """The contract's six, and who was chosen. SNS takes no empty values."""
    texts = {
        "AlertType": alert.alert_type,
        "Scope": alert.scope,
        "Group": alert.group,
        "Camera": alert.camera,
        "DayOfWeek": alert.day_of_week,
    }
    found = {name: {"DataType": "String", "StringValue": str(text)} for name, text in texts.items() if text}
    found["Hour"] = {"DataType": "Number", "StringValue": str(alert.hour)}
    found["Subscription"] = {"DataType": "String.Array", "StringValue": msgspec.json.encode(list(chosen)).decode()}
    return found
