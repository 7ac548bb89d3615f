"""A stream's way to its sink, which no error may leave by and which ends once."""

from __future__ import annotations

import pytest

from pinthesky.device.cameras.delivery import Delivery, PacketFeed
from pinthesky.device.ports import Packet, SubstreamLost

START = b"\x00\x00\x00\x01"
KEYFRAME = START + b"\x67\x42" + START + b"\x68\xce" + b"\x00\x00\x01\x65\x88"
SLICE = START + b"\x41\x9a"


def test_what_is_handed_over_arrives_until_the_end():
    taken: list[object] = []
    delivery = Delivery(taken.append, SubstreamLost)
    delivery.hand_over(1)
    delivery.end()
    delivery.hand_over(2)
    delivery.lose("too late")
    assert taken == [1]
    assert delivery.ended


def test_a_loss_is_told_once_and_is_the_last_word():
    taken: list[object] = []
    delivery = Delivery(taken.append, SubstreamLost)
    delivery.lose("the cable")
    delivery.lose("another")
    delivery.hand_over(1)
    assert taken == [SubstreamLost("the cable")]


def test_an_error_of_the_sink_reaches_who_hands_over_but_not_who_tells_a_loss(caplog):
    def sink(_: object) -> None:
        raise ZeroDivisionError

    delivery = Delivery(sink, SubstreamLost)
    with pytest.raises(ZeroDivisionError):
        delivery.hand_over(1)
    delivery.lose("the cable")
    assert "the cable" in caplog.text


def test_a_packet_that_cannot_be_given_is_a_loss_with_its_reason():
    def give(packet: Packet) -> None:
        if not packet.is_keyframe:
            raise OSError

    reasons: list[str] = []
    feed = PacketFeed(give, reasons.append)
    feed.take(KEYFRAME, 0)
    feed.take(SLICE, 1)
    assert reasons == ["its packets cannot be taken over: OSError"]
