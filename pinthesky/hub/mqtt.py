"""The hub's own connection to its broker, by the broker's unix socket.

The session outlives the process: what things publish while the hub is away is kept by the broker. A message that is
received by `subscribe_kept` is acknowledged only when its receiver says that it is done with it, so a hub that is
killed in between gets it again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from pinthesky.errors import Unavailable
from pinthesky.hub.ports import HUB_CLIENT_ID, Receive

log = logging.getLogger(__name__)

WAITING_MESSAGES_MAX = 8192
"""Most messages that wait for the broker."""
WAITING_BYTES_MAX = 32 * 1024 * 1024
"""Most bytes of messages that wait for the broker."""
RECEIVED_MAX = 1024
"""Most messages that the broker may have under way to us, not yet acknowledged."""
RECONNECT_FIRST_S = 0.1
RECONNECT_LAST_S = 4
"""Short, since the broker is on this machine, and back within a second or two if it died."""
KEEPALIVE_S = 30
FLUSH_TIMEOUT_S = 2.0
"""How long the end waits for the broker to take what is queued."""
_NEVER = 0xFFFFFFFF


@dataclass(frozen=True)
class Delivery:
    """A message that the broker keeps until `done` is called; from any thread, once."""

    topic: str
    payload: bytes
    done: Callable[[], None]


ReceiveKept = Callable[[Delivery], None]
"""Called in the connection's thread: returns soon and never raises."""


@dataclass(frozen=True)
class _Subscription:
    topic_filter: str
    receive: ReceiveKept
    options: SubscribeOptions


class HubMqtt:
    """Publishes and subscribes for the hub. All methods may be called from any thread, connected or not."""

    def __init__(self, socket_path: Path) -> None:
        """`socket_path` is the broker's unix listener. Nothing is done before `start`."""
        self._lock = threading.Lock()
        self._subscriptions: list[_Subscription] = []
        self._publishing = threading.Lock()
        self._sizes: dict[int, int] = {}
        self._waiting_bytes = 0
        self._acknowledged: deque[int] = deque()
        self._acknowledgement = threading.Event()
        self._connection = 0
        self._subscribing: int | None = None
        self._connected = threading.Event()
        self._was_lost = False
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=HUB_CLIENT_ID,
            protocol=MQTTProtocolVersion.MQTTv5,
            transport="unix",
            manual_ack=True,
        )
        client.max_inflight_messages_set(WAITING_MESSAGES_MAX)
        client.max_queued_messages_set(WAITING_MESSAGES_MAX)
        client.reconnect_delay_set(RECONNECT_FIRST_S, RECONNECT_LAST_S)  # type: ignore[arg-type]  # it only calculates with it
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        properties.SessionExpiryInterval = _NEVER
        properties.ReceiveMaximum = RECEIVED_MAX
        client.connect_async(str(socket_path), keepalive=KEEPALIVE_S, clean_start=False, properties=properties)
        self._client = client

    def start(self) -> None:
        """Connect, now or as soon as there is a broker, and again whenever the connection is lost."""
        self._client.loop_start()

    def stop(self) -> None:
        """Take leave of the broker; it goes on keeping what is for us."""
        deadline = time.monotonic() + FLUSH_TIMEOUT_S
        while self._client.is_connected() and self._waiting() and time.monotonic() < deadline:
            self._acknowledgement.wait(max(0.0, deadline - time.monotonic()))
        self._client.disconnect()
        self._client.loop_stop()
        self._connected.clear()

    def wait_connected(self, timeout_s: float) -> bool:
        """Whether there is a connection with all its subscriptions, within `timeout_s`."""
        return self._connected.wait(timeout_s)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connected.is_set()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1) -> None:
        """Queue a message; one of QoS 1 waits for a broker, where there is none. Never blocks.

        Raises Unavailable where too much waits already.
        """
        with self._publishing:
            self._settle()
            if self._waiting_bytes + len(payload) > WAITING_BYTES_MAX:
                raise Unavailable(f"{self._waiting_bytes} bytes of messages wait for the broker already")
            sent = self._client.publish(topic, payload, qos=qos)
            if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                raise Unavailable(f"{WAITING_MESSAGES_MAX} messages wait for the broker already")
            if qos:
                self._sizes[sent.mid] = len(payload)
                self._waiting_bytes += len(payload)

    def subscribe(self, topic_filter: str, receive: Receive) -> None:
        """Receive what matches, from now on and again after every reconnection."""

        def receive_and_finish(delivery: Delivery) -> None:
            receive(delivery.topic, delivery.payload)
            delivery.done()

        self._add(_Subscription(topic_filter, receive_and_finish, SubscribeOptions(qos=1)))

    def subscribe_kept(self, topic_filter: str, receive: ReceiveKept) -> None:
        """Receive what others publish, each message until it is done: again after a crash, a loss of the connection.

        At most `RECEIVED_MAX` are under way; who does not finish them gets no more.
        """
        self._add(_Subscription(topic_filter, receive, SubscribeOptions(qos=1, noLocal=True)))

    def _add(self, subscription: _Subscription) -> None:
        with self._lock:
            self._subscriptions.append(subscription)
        if self._client.is_connected():
            self._client.subscribe(subscription.topic_filter, options=subscription.options)

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        if code.is_failure:
            log.warning("The broker refuses the hub: %s", code)
            return
        with self._lock:
            self._connection += 1
            subscriptions = list(self._subscriptions)
        if subscriptions:
            _, self._subscribing = client.subscribe([(one.topic_filter, one.options) for one in subscriptions])
        else:
            self._connected.set()
        if self._was_lost:
            log.info("Connected with the broker again")
        self._was_lost = False

    def _on_subscribe(
        self, _client: paho.Client, _data: object, number: int, _codes: object, _properties: object
    ) -> None:
        if number == self._subscribing:
            self._connected.set()

    def _on_disconnect(
        self, _client: paho.Client, _data: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        self._connected.clear()
        if code.is_failure and not self._was_lost:
            self._was_lost = True
            log.warning("The connection with the broker is lost: %s", code)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        with self._lock:
            subscriptions = list(self._subscriptions)
            connection = self._connection
        matching = [one for one in subscriptions if paho.topic_matches_sub(one.topic_filter, message.topic)]
        done = _AfterAll(len(matching), lambda: self._acknowledge(message, connection))
        delivery = Delivery(message.topic, bytes(message.payload), done.one)
        for subscription in matching:
            try:
                subscription.receive(delivery)
            except Exception:
                log.exception("A message on %s is given up", message.topic)
                delivery.done()
        if not matching:
            self._acknowledge(message, connection)

    def _acknowledge(self, message: paho.MQTTMessage, connection: int) -> None:
        with self._lock:
            # after a reconnection the number may be that of another message, which would then be lost
            if connection == self._connection:
                self._client.ack(message.mid, message.qos)

    def _on_publish(
        self, _client: paho.Client, _data: object, number: int, _code: ReasonCode, _properties: object
    ) -> None:
        # the library holds a lock here that it also takes in its `publish`, so this must not wait for `_publishing`
        self._acknowledged.append(number)
        self._acknowledgement.set()

    def _waiting(self) -> bool:
        with self._publishing:
            self._acknowledgement.clear()
            self._settle()
            return bool(self._sizes)

    def _settle(self) -> None:
        """Strike out what the broker has taken since. For who holds `_publishing`."""
        while self._acknowledged:
            self._waiting_bytes -= self._sizes.pop(self._acknowledged.popleft(), 0)


class _AfterAll:
    """Calls once `one` was called as often as there are receivers."""

    def __init__(self, count: int, call: Callable[[], Any]) -> None:
        self._left = count
        self._call = call
        self._lock = threading.Lock()

    def one(self) -> None:
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._call()
