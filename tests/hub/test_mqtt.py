from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinthesky.errors import Unavailable
from pinthesky.hub import mqtt as mqtt_module
from pinthesky.hub.mqtt import Delivery, HubMqtt
from tests.support.aws_servers import wait_until
from tests.support.hub_things import HubBroker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[HubBroker]:
    with HubBroker(tmp_path) as broker:
        yield broker


@pytest.fixture
def mqtt(broker: HubBroker) -> Iterator[HubMqtt]:
    mqtt = HubMqtt(broker.socket)
    yield mqtt
    mqtt.stop()


def start(mqtt: HubMqtt) -> None:
    mqtt.start()
    assert mqtt.wait_connected(10)


def test_what_is_subscribed_is_received(broker: HubBroker, mqtt: HubMqtt):
    received: list[tuple[str, bytes]] = []
    arrived = threading.Event()

    def receive(topic: str, payload: bytes) -> None:
        received.append((topic, payload))
        arrived.set()

    mqtt.subscribe("pinthesky/events/+/output", receive)
    start(mqtt)
    with broker.client("garden") as thing:
        thing.publish("pinthesky/events/garden/output", b"hello")
    assert arrived.wait(5)
    assert received == [("pinthesky/events/garden/output", b"hello")]


def test_a_subscription_made_later_stands_too_and_hears_the_hub_itself(mqtt: HubMqtt):
    start(mqtt)
    received: list[bytes] = []
    mqtt.subscribe("pinthesky/#", lambda _topic, payload: received.append(payload))
    mqtt.publish("pinthesky/test", b"mine")
    wait_until(lambda: received == [b"mine"])
    assert mqtt.is_connected


def test_what_the_hub_publishes_is_not_taken_for_what_others_do(broker: HubBroker, mqtt: HubMqtt):
    received: list[bytes] = []

    def receive(delivery: Delivery) -> None:
        received.append(delivery.payload)
        delivery.done()

    mqtt.subscribe_kept("pinthesky/#", receive)
    start(mqtt)
    mqtt.publish("pinthesky/events/garden/input", b"mine")
    with broker.client("garden") as thing:
        thing.publish("pinthesky/events/garden/output", b"theirs")
    wait_until(lambda: received)
    assert received == [b"theirs"]


def test_a_message_that_is_not_done_comes_again(broker: HubBroker):
    first, second = HubMqtt(broker.socket), HubMqtt(broker.socket)
    kept: list[Delivery] = []
    again: list[bytes] = []
    try:
        first.subscribe_kept("pinthesky/events/+/output", kept.append)
        start(first)
        with broker.client("garden") as thing:
            for number in range(3):
                thing.publish("pinthesky/events/garden/output", b"%d" % number)
        wait_until(lambda: len(kept) == 3)
        kept[1].done()
        first.stop()

        def receive(delivery: Delivery) -> None:
            again.append(delivery.payload)
            delivery.done()

        second.subscribe_kept("pinthesky/events/+/output", receive)
        start(second)
        wait_until(lambda: len(again) == 2)
        assert again == [b"0", b"2"]
    finally:
        first.stop()
        second.stop()


def test_an_acknowledgement_of_an_earlier_connection_is_kept_to_oneself(broker: HubBroker, mqtt: HubMqtt):
    kept: list[Delivery] = []
    mqtt.subscribe_kept("pinthesky/events/+/output", kept.append)
    start(mqtt)
    with broker.client("garden") as thing:
        thing.publish("pinthesky/events/garden/output", b"one")
        wait_until(lambda: len(kept) == 1)
    broker.stop()
    broker.start()
    wait_until(lambda: len(kept) == 2)
    kept[0].done()
    mqtt.stop()
    again = HubMqtt(broker.socket)
    late: list[Delivery] = []
    again.subscribe_kept("pinthesky/events/+/output", late.append)
    start(again)
    wait_until(lambda: late)
    again.stop()
    assert [delivery.payload for delivery in (*kept, *late)] == [b"one"] * 3


def test_it_comes_back_when_the_broker_does_and_says_so_once(
    broker: HubBroker, mqtt: HubMqtt, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="pinthesky")
    received: list[bytes] = []
    mqtt.subscribe("pinthesky/#", lambda _topic, payload: received.append(payload))
    start(mqtt)
    broker.kill()
    wait_until(lambda: not mqtt.is_connected)
    mqtt.publish("pinthesky/test", b"meanwhile")
    broker.start()
    wait_until(lambda: received == [b"meanwhile"])
    assert mqtt.wait_connected(5)
    messages = [record.message.partition(":")[0] for record in caplog.records]
    assert messages == ["The connection with the broker is lost", "Connected with the broker again"]


def test_it_waits_for_a_broker_that_is_not_there_yet(tmp_path: Path):
    broker = HubBroker(tmp_path)
    mqtt = HubMqtt(broker.socket)
    mqtt.start()
    assert not mqtt.wait_connected(0.05)
    with broker:
        assert mqtt.wait_connected(10)
        mqtt.stop()


def test_a_broker_that_refuses_the_hub_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    broker = HubBroker(tmp_path)
    broker._settings[-1] = "allow_anonymous false"
    with broker:
        mqtt = HubMqtt(broker.socket)
        mqtt.start()
        wait_until(lambda: "The broker refuses the hub: Not authorized" in caplog.messages)
        assert not mqtt.is_connected
        mqtt.stop()


def test_what_waits_for_the_broker_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mqtt_module, "WAITING_MESSAGES_MAX", 5)
    monkeypatch.setattr(mqtt_module, "WAITING_BYTES_MAX", 100)
    mqtt = HubMqtt(tmp_path / "nobody")
    mqtt.publish("topic", b"x" * 90)
    with pytest.raises(Unavailable, match="bytes of messages wait"):
        mqtt.publish("topic", b"x" * 20)
    for _ in range(4):
        mqtt.publish("topic", b"")
    with pytest.raises(Unavailable, match="5 messages wait"):
        mqtt.publish("topic", b"")


def test_what_was_taken_by_the_broker_waits_no_longer(mqtt: HubMqtt, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mqtt_module, "WAITING_BYTES_MAX", 1000)
    start(mqtt)
    for _ in range(20):
        mqtt.publish("topic", b"x" * 400)
        mqtt.publish("topic", b"x" * 400, qos=0)
        wait_until(lambda: not mqtt._waiting())
    assert mqtt._waiting_bytes == 0


def test_the_end_waits_until_the_broker_has_what_is_queued(broker: HubBroker, mqtt: HubMqtt):
    start(mqtt)
    with broker.client() as listener:
        listener.subscribe("topic")
        for number in range(200):
            mqtt.publish("topic", b"%d" % number)
        mqtt.stop()
        assert [message.payload for message in listener.wait_for("topic", 200)] == [b"%d" % n for n in range(200)]


def test_a_receiver_that_fails_costs_its_message_alone(
    broker: HubBroker, mqtt: HubMqtt, caplog: pytest.LogCaptureFixture
):
    received: list[bytes] = []

    def receive(_topic: str, payload: bytes) -> None:
        if payload == b"bad":
            raise ValueError("a defect")
        received.append(payload)

    mqtt.subscribe("pinthesky/#", receive)
    start(mqtt)
    for payload in (b"bad", b"good"):
        mqtt.publish("pinthesky/test", payload)
    wait_until(lambda: received == [b"good"])
    assert "A message on pinthesky/test is given up" in caplog.text


def test_what_an_earlier_program_subscribed_and_this_one_does_not_is_not_waited_for(broker: HubBroker, mqtt: HubMqtt):
    earlier = HubMqtt(broker.socket)
    earlier.subscribe_kept("pinthesky/old", lambda _delivery: None)
    start(earlier)
    earlier.stop()
    received: list[bytes] = []
    mqtt.subscribe("pinthesky/new", lambda _topic, payload: received.append(payload))
    start(mqtt)
    with broker.client() as cloud:
        for number in range(mqtt_module.RECEIVED_MAX + 10):
            cloud.send("pinthesky/old", number)
        cloud.publish("pinthesky/new", b"arrives")
        wait_until(lambda: received)
    assert received == [b"arrives"]


def test_each_of_several_receivers_gets_a_message(mqtt: HubMqtt):
    received: list[str] = []
    mqtt.subscribe("pinthesky/test", lambda *_: received.append("one"))
    mqtt.subscribe("pinthesky/test", lambda *_: received.append("other"))
    start(mqtt)
    mqtt.publish("pinthesky/test", b"")
    wait_until(lambda: len(received) >= 2)
    assert set(received) == {"one", "other"}
