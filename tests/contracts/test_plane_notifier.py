"""The planes' port `Notifier`: one suite for SNS (moto), the hub and the fake of the tests.

What SNS has taken it delivers by itself. That is seen here by queues with the same filter as our subscriptions have.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pinthesky.aws.adapters.notifier import PARTITION, SnsNotifier, name_of, subject_of
from pinthesky.aws.clients import Clients
from pinthesky.errors import InvalidInput
from pinthesky.hub.adapters.notifier import Carriers, HubNotifier
from pinthesky.hub.database import Database
from pinthesky.hub.records import SqliteTable
from pinthesky.hub.waiting_alerts import WaitingAlerts
from pinthesky.hub.web_push import WebPush, new_key
from pinthesky.hub.webhooks import Webhooks
from pinthesky.model.identifiers import MediaKey, ThingName
from pinthesky.planes.ports import Alert, Destination, Notifier
from pinthesky.planes.records.subscriptions import SubscriptionId
from tests.planes.fakes import FakeNotifier
from tests.support.aws_planes import moto_clients
from tests.support.aws_servers import wait_until

ALERT = Alert(
    alert_type="motion",
    scope="camera",
    group="outside",
    camera=ThingName("garden"),
    day_of_week="fri",
    hour=8,
    title="Something moved at Garden",
    text="At 08:00.",
    link="/cameras/garden",
    picture=MediaKey("capture_images/garden/still.jpg"),
)
HOOK = Destination(SubscriptionId("1" * 16), "https", "https://hooks.test/secret")
OTHER = Destination(SubscriptionId("2" * 16), "https", "https://hooks.test/other")


class World(NamedTuple):
    notifier: Notifier
    reached: Callable[[Destination], int]
    """How many alerts have come to a destination that was enlisted, or withdrawn."""
    hook: Destination = HOOK
    other: Destination = OTHER


class Topic:
    """A topic of SNS at moto, and queues behind it."""

    def __init__(self, port: int) -> None:
        self.sns, self.sqs = moto_clients(port).get("sns"), moto_clients(port).get("sqs")
        self.arn = self.sns.create_topic(Name=f"alerts-{secrets.token_hex(6)}")["TopicArn"]
        self._queues: dict[str, str] = {}

    def listen(self, policy: Mapping[str, Any]) -> str:
        """A queue that gets what a filter lets through."""
        wanted = json.dumps(policy, sort_keys=True)
        if wanted not in self._queues:
            url = self.sqs.create_queue(QueueName=f"q-{secrets.token_hex(6)}")["QueueUrl"]
            arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            self.sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=arn, Attributes={"FilterPolicy": wanted})
            self._queues[wanted] = url
        return self._queues[wanted]

    def heard(self, policy: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What such a queue has got, once."""
        answer = self.sqs.receive_message(QueueUrl=self.listen(policy), MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    def subscriptions(self) -> dict[str, dict[str, Any]]:
        """Ours: the filter by the address."""
        found = self.sns.list_subscriptions_by_topic(TopicArn=self.arn)["Subscriptions"]
        ours = [each for each in found if each["Protocol"] != "sqs"]
        attributes = {
            each["Endpoint"]: self.sns.get_subscription_attributes(SubscriptionArn=each["SubscriptionArn"])
            for each in ours
        }
        return {address: json.loads(each["Attributes"]["FilterPolicy"]) for address, each in attributes.items()}


class _Hooks(Webhooks):
    """Webhooks that remember instead of calling."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def post(self, address: str, document: Mapping[str, Any]) -> None:
        json.dumps(document)
        self.called.append(address)


class _NoPictures:
    def read(self, key: MediaKey, *, limit: int) -> bytes:
        raise AssertionError("a webhook gets no picture")

    def url(self, key: MediaKey, *, lifetime_s: int, download_as: str | None = None) -> str:
        raise AssertionError("a webhook gets no address of a picture")


@pytest.fixture
def topic(moto_port: int) -> Topic:
    return Topic(moto_port)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "records.sqlite")
    yield made
    made.close()


@pytest.fixture
def table(database: Database) -> SqliteTable:
    return SqliteTable(database)


@pytest.fixture
def sns(clients: Clients, topic: Topic, table: SqliteTable) -> SnsNotifier:
    return SnsNotifier(clients, topic.arn, table, console="https://home.test")


@pytest.fixture(params=["aws", "hub", "fake"])
def world(request) -> Iterator[World]:
    if request.param == "aws":
        topic, sns = request.getfixturevalue("topic"), request.getfixturevalue("sns")

        def heard(destination: Destination) -> int:
            enlisted = topic.subscriptions().get(destination.endpoint)
            return 0 if enlisted is None else len(topic.heard(enlisted))

        # moto would call an https address itself.
        mails = [Destination(SubscriptionId(f"{number}" * 16), "email", f"{number}@example.com") for number in (1, 2)]
        for destination in mails:
            topic.listen({"Subscription": [name_of(destination)]})
        yield World(sns, heard, *mails)
    elif request.param == "fake":
        fake = FakeNotifier()
        yield World(fake, lambda destination: sum(destination in to for _, to in fake.delivered))
    else:
        hooks, crashes = _Hooks(), threading.Event()
        notifier = HubNotifier(
            carriers=Carriers(hooks, WebPush(new_key(), contact="mailto:hub@example.com")),
            waiting=WaitingAlerts(request.getfixturevalue("database")),
            pictures=_NoPictures(),
            console="https://home.test",
            on_crash=lambda _name, _error: crashes.set(),
        )
        notifier.start()
        yield World(notifier, lambda destination: hooks.called.count(destination.endpoint))
        notifier.stop()
        assert notifier.join(5.0)
        assert not crashes.is_set()


def test_an_alert_reaches_those_who_were_chosen_and_nobody_else(world: World):
    world.notifier.enlist(world.hook)
    world.notifier.enlist(world.other)
    world.notifier.deliver(ALERT, [world.hook])
    wait_until(lambda: world.reached(world.hook) == 1)
    assert world.reached(world.other) == 0


def test_saying_it_twice_is_no_error_and_one_alert_comes_once(world: World):
    world.notifier.enlist(world.hook)
    world.notifier.enlist(world.hook)
    world.notifier.deliver(ALERT, [world.hook])
    wait_until(lambda: world.reached(world.hook) == 1)
    assert world.reached(world.hook) <= 1


def test_what_is_no_destination_is_refused(world: World):
    with pytest.raises(InvalidInput):
        world.notifier.enlist(replace(HOOK, protocol="pigeon"))


def test_every_protocol_that_is_carried_is_named(world: World):
    assert "https" in world.notifier.protocols


def test_browsers_are_given_a_key_where_they_are_reached(world: World):
    assert (world.notifier.push_key is not None) == ("webpush" in world.notifier.protocols)


def test_forgetting_what_is_not_known_is_no_error(world: World):
    world.notifier.withdraw(world.hook)
    world.notifier.enlist(world.hook)
    world.notifier.withdraw(world.hook)
    world.notifier.withdraw(world.hook)
    assert world.reached(world.hook) == 0


@pytest.mark.parametrize(
    "protocol,endpoint",
    [
        ("email", "nobody"),
        ("sms", "0170 1234567"),
        ("sms", "+49"),
        ("https", "http://hooks.test/"),
        ("https", "https://hooks.test/\nHost: evil"),
        ("webpush", "{}"),
    ],
)
def test_sns_is_asked_for_no_address_that_is_none(sns: SnsNotifier, topic: Topic, protocol: str, endpoint: str):
    with pytest.raises(InvalidInput):
        sns.enlist(Destination("rule-1", protocol, endpoint))
    assert topic.subscriptions() == {}


def test_an_address_of_two_rules_stays_until_both_are_gone(sns: SnsNotifier, topic: Topic):
    second = replace(HOOK, subscription_id="rule-3")
    sns.enlist(HOOK)
    sns.enlist(second)
    assert len(topic.subscriptions()) == 1
    sns.withdraw(HOOK)
    assert topic.subscriptions() == {HOOK.endpoint: {"Subscription": [name_of(HOOK)]}}
    sns.withdraw(second)
    assert topic.subscriptions() == {}


def test_nothing_is_left_of_an_address_that_was_withdrawn(sns: SnsNotifier, table: SqliteTable):
    sns.enlist(HOOK)
    assert len(table.query(PARTITION).records) == 1
    sns.withdraw(HOOK)
    assert table.query(PARTITION).records == []


def test_a_rule_that_is_made_while_its_address_is_withdrawn_keeps_it(
    clients: Clients, topic: Topic, table: SqliteTable
):
    class Interrupted(SnsNotifier):
        """Somebody else enlists at the worst moment: between the row and the subscription."""

        def _change(self, destination: Destination, to: Any) -> Any:
            before = super()._change(destination, to)
            if destination.subscription_id == HOOK.subscription_id and before is not None and not late.is_set():
                late.set()
                SnsNotifier(clients, topic.arn, table, console="").enlist(replace(HOOK, subscription_id="rule-9"))
            return before

    late = threading.Event()
    SnsNotifier(clients, topic.arn, table, console="").enlist(HOOK)
    Interrupted(clients, topic.arn, table, console="").withdraw(HOOK)
    assert late.is_set()
    assert topic.subscriptions() == {HOOK.endpoint: {"Subscription": [name_of(HOOK)]}}


def test_subscriptions_of_the_owner_filter_on_the_six_attributes(sns: SnsNotifier, topic: Topic):
    passing: dict[str, Any] = {
        "AlertType": ["motion"],
        "Scope": ["camera"],
        "Group": ["outside"],
        "Camera": ["garden"],
        "DayOfWeek": ["fri"],
    }
    hours: dict[str, Any] = {"Hour": [{"numeric": [">=", 8, "<", 9]}]}
    for policy in (passing, hours, {"Camera": ["gate"]}):
        topic.listen(policy)
    sns.deliver(ALERT, [HOOK])
    (message,) = topic.heard(passing)
    assert (message["Subject"], len(topic.heard(hours))) == ("Something moved at Garden", 1)
    assert "https://home.test/cameras/garden" in message["Message"]
    assert HOOK.endpoint not in json.dumps(message)
    assert topic.heard({"Camera": ["gate"]}) == []


def test_an_alert_without_a_group_is_taken_too(sns: SnsNotifier, topic: Topic):
    topic.listen({"Camera": ["garden"]})
    sns.deliver(replace(ALERT, group="", merged=3, link="", picture=None), [HOOK])
    (message,) = topic.heard({"Camera": ["garden"]})
    assert "3 more of the same" in message["Message"]


@pytest.mark.parametrize(
    "title,subject",
    [
        ("Something moved", "Something moved"),
        ("Bär im Garten\n", "Bar im Garten"),
        ("門で動き", "Alert"),
        ("…at last", "Alert: ...at last"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_title_becomes_a_subject_that_sns_takes(title: str, subject: str):
    assert subject_of(title) == subject
