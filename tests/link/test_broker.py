"""The broker that the tests stand on keeps the rules that a hub has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.broker import Broker


def test_a_thing_is_heard_on_its_own_topic_and_on_no_other(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, broker.client() as cloud, broker.client("garden") as garden:
        cloud.subscribe("#", "$aws/#")
        garden.publish("pinthesky/events/door/output", {"name": "motion_start"})
        garden.publish("$aws/things/garden/shadow/name/pinthesky/update/accepted", {})
        garden.publish("$aws/things/garden/shadow/name/pinthesky/update", {"state": {}})
        garden.publish("pinthesky/events/garden/output", b"\x00raw")
        assert cloud.wait_for("pinthesky/events/garden/output")[0].payload == b"\x00raw"
        assert [message.topic for message in cloud.messages] == [
            "$aws/things/garden/shadow/name/pinthesky/update",
            "pinthesky/events/garden/output",
        ]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_broker_comes_back_on_the_same_port(tmp_path: Path, end: str) -> None:
    broker = Broker(tmp_path)
    with broker:
        getattr(broker, end)()
        with pytest.raises(ConnectionRefusedError), broker.client():
            pass
        broker.start()
        with broker.client("garden") as garden:
            garden.subscribe("pinthesky/events/garden/input")
            with broker.client() as cloud:
                cloud.publish("pinthesky/events/garden/input", "hello")
            assert garden.wait_for("pinthesky/events/garden/input")[0].payload == b"hello"
