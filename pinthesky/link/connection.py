"""The connection to the broker: the adapter of `Mqtt` with awscrt (MQTT 5, mutual TLS).

Nothing that is to be published waits in memory for a connection: a publish without one fails at once, and whoever
asked for it, and has it in a file, does so again when `on_connected` calls. Subscriptions are made anew at every
connection, whatever the broker says it remembers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from awscrt import io, mqtt5
from awscrt.exceptions import AwsCrtError
from awsiot import mqtt5_client_builder

from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable
from pinthesky.link.configuration import Configuration
from pinthesky.link.diagnosis import Doctor, diagnose, refusal_in_words, wrong_identity
from pinthesky.link.ports import Receive
from pinthesky.version import __version__

logger = logging.getLogger(__name__)

WAITING_MAX = 200
WAITING_BYTES_MAX = 4 * 1024 * 1024
"""Most messages, and bytes of them, that wait for their acknowledgement."""
ACKNOWLEDGED_WITHIN_S = 20
PING_ANSWERED_WITHIN_S = 8
CONNECT_ANSWERED_WITHIN_S = 10
RECONNECT_FIRST_S, RECONNECT_LONGEST_S = 1, 8
"""Bounds of the pause between two attempts: doubled each time, with full jitter.

The longest is short, because awscrt 0.36 begins with the first again only after a connection of 30 seconds, and has no
working option for that: with 60 seconds a broker that had been restarted a few times was found half a minute late.
"""
SHORT_CONNECTION_S = 60.0
"""Two clients with one name end each other's connections within such a time."""
SLOW_ATTEMPT_S = 3.0
"""An attempt that takes longer is looked into: of a failed TLS handshake the library is silent for half a minute."""
PACKET_MAX = 160 * 1024
"""Most bytes of a packet that the broker may send: AWS sends 128 KiB of payload at most."""
_FILTERS_MAX = 8
"""Most filters of one SUBSCRIBE (AWS IoT)."""
_LAST_WORDS_S, _ATTEMPT_ENDS_S = 2.0, 0.5


def matches(topic_filter: str, topic: str) -> bool:
    """Whether `topic` is among what `topic_filter` with its `+` and `#` stands for."""
    wanted, found = topic_filter.split("/"), topic.split("/")
    if wanted[0] in ("+", "#") and topic.startswith("$"):
        return False
    if wanted[-1] == "#":
        wanted.pop()
        found = found[: len(wanted)]
    return len(wanted) == len(found) and all(part in ("+", there) for part, there in zip(wanted, found, strict=True))


class Connection:
    """See `pinthesky.link.ports.Mqtt`. Callbacks come in the library's thread.

    `on_state` gets a line for people whenever the connection comes or goes. An exception out of a callback is a defect:
    it is handed to `on_crash(name, exception)`.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        on_crash: Callable[[str, BaseException], None],
        on_state: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Raises InvalidInput when certificate, key or authority cannot be used."""
        self._configuration = configuration
        self._on_crash = on_crash
        self._on_state = on_state
        self._lock = threading.RLock()
        self._receivers: list[tuple[str, Receive]] = []
        self._calls: list[Callable[[], None]] = []
        self._connected = self._ready = self._stopping = False
        self._connection_number = 0
        self._connected_at_s = 0.0
        self._waiting = self._waiting_bytes = 0
        self._told: str | None = None
        self._was_connected = False
        self._stopped = threading.Event()
        self._drained = threading.Event()
        self._drained.set()
        self._client = self._make_client()
        port = configuration.port or (443 if io.is_alpn_available() else 8883)
        self._place = f"{configuration.endpoint}:{port}"
        self._doctor = Doctor(lambda: diagnose(configuration, port), self._diagnosed)

    def _make_client(self) -> Any:
        configuration, will = self._configuration, self._configuration.last_will
        loop = io.EventLoopGroup(1)
        try:
            return mqtt5_client_builder.mtls_from_path(
                cert_filepath=str(configuration.cert),
                pri_key_filepath=str(configuration.key),
                ca_filepath=None if configuration.root_ca is None else str(configuration.root_ca),
                endpoint=configuration.endpoint,
                port=configuration.port,
                client_id=configuration.thing_name,
                client_bootstrap=io.ClientBootstrap(loop, io.DefaultHostResolver(loop)),
                keep_alive_interval_sec=configuration.keep_alive_s,
                ping_timeout_ms=PING_ANSWERED_WITHIN_S * 1000,
                connack_timeout_ms=CONNECT_ANSWERED_WITHIN_S * 1000,
                ack_timeout_sec=ACKNOWLEDGED_WITHIN_S,
                session_expiry_interval_sec=configuration.session_expiry_s,
                session_behavior=mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS,
                offline_queue_behavior=mqtt5.ClientOperationQueueBehaviorType.FAIL_ALL_ON_DISCONNECT,
                retry_jitter_mode=mqtt5.ExponentialBackoffJitterMode.FULL,
                min_reconnect_delay_ms=RECONNECT_FIRST_S * 1000,
                max_reconnect_delay_ms=RECONNECT_LONGEST_S * 1000,
                # awscrt 0.36 takes this one for the shortest pause, whatever is said above.
                min_connected_time_to_reset_reconnect_delay_ms=RECONNECT_FIRST_S * 1000,
                maximum_packet_size=PACKET_MAX,
                will_delay_interval_sec=None if will is None else will.delay_s,
                will=None if will is None else _will_packet(will.topic, configuration.thing_name),
                enable_metrics_collection=False,
                on_publish_received=self._received,
                on_lifecycle_attempting_connect=self._attempting,
                on_lifecycle_connection_success=self._connection_made,
                on_lifecycle_connection_failure=self._attempt_failed,
                on_lifecycle_disconnection=self._connection_lost,
                on_lifecycle_stopped=lambda _: self._stopped.set(),
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise wrong_identity(configuration, error) from error

    def start(self) -> None:
        """Connect, and keep connected, until `stop`."""
        logger.info("pits-device-client %s connects to %s", __version__, self._place)
        self._doctor.start()
        self._client.start()

    def stop(self, timeout_s: float) -> bool:
        """Let what was published be acknowledged, and disconnect. False when that takes longer than `timeout_s`."""
        with self._lock:
            self._stopping = True
            connected = self._connected
        self._drained.wait(min(_LAST_WORDS_S, timeout_s / 4))
        # Without the packet the broker takes the end for a loss, and publishes the will.
        self._client.stop(mqtt5.DisconnectPacket())
        # An attempt that failed in TLS cannot be ended for half a minute; nothing hangs on it.
        stopped = self._stopped.wait(timeout_s / 2 if connected else _ATTEMPT_ENDS_S) or not connected
        return self._doctor.stop(timeout_s / 4) and stopped

    @property
    def connected(self) -> bool:
        """Whether the broker has taken the connection, and all subscriptions stand."""
        return self._ready

    def publish(self, topic: str, payload: bytes) -> Future[None]:
        """See `Mqtt`."""
        answer: Future[None] = Future()
        with self._lock:
            if not self._connected:
                refusal = "there is no connection"
            elif self._waiting >= WAITING_MAX or self._waiting_bytes + len(payload) > WAITING_BYTES_MAX:
                refusal = "too much waits for its acknowledgement"
            else:
                refusal = ""
                self._waiting += 1
                self._waiting_bytes += len(payload)
                self._drained.clear()
        if refusal:
            answer.set_exception(Unavailable(f"{topic}: not published, {refusal}"))
            return answer
        packet = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)
        try:
            sent = self._client.publish(packet)
        except (RuntimeError, ValueError, TypeError) as error:
            self._settle(len(payload))
            answer.set_exception(InvalidInput("publish", f"{topic}: {error}"))
            return answer
        sent.add_done_callback(partial(self._published, answer=answer, topic=topic, size=len(payload)))
        return answer

    def subscribe(self, topic_filter: str, receive: Receive) -> None:
        """See `Mqtt`."""
        with self._lock:
            self._receivers.append((topic_filter, receive))
            connected, number = self._connected, self._connection_number
        if connected:
            self._ask_for([topic_filter], number, lambda: None)

    def on_connected(self, call: Callable[[], None]) -> None:
        """See `Mqtt`."""
        with self._lock:
            self._calls.append(call)
            ready = self._ready
        if ready:
            call()

    # Called by the library

    def _attempting(self, _event: object) -> None:
        self._doctor.call(SLOW_ATTEMPT_S)

    def _connection_made(self, event: Any) -> None:
        self._doctor.dismiss()
        with self._lock:
            self._connected = True
            self._connected_at_s = time.monotonic()
            self._connection_number += 1
            number = self._connection_number
            filters = list(dict.fromkeys(topic_filter for topic_filter, _ in self._receivers))
            again, self._was_connected, self._told = self._was_connected, True, None
        kept = "the session went on" if event.connack_packet.session_present else "a new session"
        logger.info("Connected to %s%s as %s, %s", self._place, " again" if again else "", self._client_id, kept)
        self._on_state(f"connected to {self._place}")
        groups = [filters[first : first + _FILTERS_MAX] for first in range(0, len(filters), _FILTERS_MAX)]
        left = len(groups)

        def answered() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                self._subscribed(number)

        for group in groups:
            self._ask_for(group, number, answered)
        if not groups:
            self._subscribed(number)

    def _attempt_failed(self, event: Any) -> None:
        reason = refusal_in_words(event.exception, event.connack_packet, self._client_id)
        if reason is None:
            self._doctor.call(0.0)
        else:
            self._doctor.dismiss()
            self._tell(reason)

    def _connection_lost(self, event: Any) -> None:
        with self._lock:
            self._connected = self._ready = False
            self._connection_number += 1
            stopping = self._stopping
        if not stopping:
            packet = event.disconnect_packet
            said = "" if packet is None else f" ({packet.reason_code.name.lower().replace('_', ' ')})"
            if packet is not None and packet.reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER:
                said = f": another client has connected as {self._client_id}"
            elif getattr(event.exception, "name", "") == "AWS_ERROR_MQTT_UNEXPECTED_HANGUP":
                is_short = time.monotonic() - self._connected_at_s < SHORT_CONNECTION_S
                hint = f"; is another client connected as {self._client_id}?" if is_short else ""
                said = f": the broker ended it without a word{hint}"
            logger.warning("The connection to %s was lost%s", self._place, said or f": {_message(event.exception)}")
            self._on_state(f"not connected to {self._place}")

    def _received(self, event: Any) -> None:
        packet = event.publish_packet
        payload = bytes(packet.payload or b"")
        with self._lock:
            receivers = [receive for topic_filter, receive in self._receivers if matches(topic_filter, packet.topic)]
        for receive in receivers:
            self._guarded("a subscriber", partial(receive, packet.topic, payload))

    # Parts of them

    @property
    def _client_id(self) -> str:
        return str(self._configuration.thing_name)

    def _ask_for(self, filters: list[str], number: int, answered: Callable[[], None]) -> None:
        """SUBSCRIBE, again while this connection stands and no answer comes."""
        wanted = [mqtt5.Subscription(topic_filter=name, qos=mqtt5.QoS.AT_LEAST_ONCE) for name in filters]

        asked = self._client.subscribe(mqtt5.SubscribePacket(subscriptions=wanted))
        asked.add_done_callback(partial(self._asked, filters=filters, number=number, answered=answered))

    def _asked(self, asked: Future[Any], *, filters: list[str], number: int, answered: Callable[[], None]) -> None:
        error = asked.exception()
        if error is not None:
            if self._connection_number == number and not self._stopping:
                logger.warning("The broker does not answer to SUBSCRIBE: %s; asking again", _message(error))
                self._ask_for(filters, number, answered)
            return
        for name, code in zip(filters, asked.result().reason_codes, strict=False):
            if code is None or code >= mqtt5.SubackReasonCode.UNSPECIFIED_ERROR:
                reason = "" if code is None else f": {code.name.lower().replace('_', ' ')}"
                logger.error("The broker refuses to let %s subscribe to %s%s", self._client_id, name, reason)
        answered()

    def _subscribed(self, number: int) -> None:
        with self._lock:
            if number != self._connection_number:
                return
            self._ready = True
            calls = list(self._calls)
        logger.debug("All subscriptions stand")
        for call in calls:
            self._guarded("a part that waited for the connection", call)

    def _published(self, sent: Future[Any], *, answer: Future[None], topic: str, size: int) -> None:
        self._settle(size)
        error = sent.exception()
        refusal: Exception | None = None
        if error is not None and "VALIDATION" in _message(error):
            refusal = InvalidInput("publish", f"{topic}: {size} bytes cannot be sent: {_message(error)}")
        elif error is not None:
            refusal = Unavailable(f"{topic}: the connection was lost before the acknowledgement")
        else:
            code = sent.result().puback.reason_code
            said = "unknown" if code is None else code.name.lower().replace("_", " ")
            if code == mqtt5.PubackReasonCode.NOT_AUTHORIZED:
                refusal = NotAuthorized(f"{topic}: the broker does not let {self._client_id} publish there")
            elif code == mqtt5.PubackReasonCode.QUOTA_EXCEEDED:
                refusal = Unavailable(f"{topic}: the broker takes no more ({said})")
            elif code is None or code >= mqtt5.PubackReasonCode.UNSPECIFIED_ERROR:
                refusal = InvalidInput("publish", f"{topic}: the broker refuses it ({said})")
        if refusal is None:
            answer.set_result(None)
        else:
            refusal.__cause__ = error
            answer.set_exception(refusal)

    def _settle(self, size: int) -> None:
        with self._lock:
            self._waiting -= 1
            self._waiting_bytes -= size
            if self._waiting == 0:
                self._drained.set()

    def _diagnosed(self, found: str | None) -> None:
        if not self._connected:
            self._tell(found or "it does not answer")

    def _tell(self, reason: str) -> None:
        """Log why there is no connection, once until the reason is another one."""
        with self._lock:
            news = reason != self._told and not self._stopping
            self._told = reason
        if news:
            logger.warning("Cannot connect to %s: %s; trying again", self._place, reason)
            self._on_state(f"cannot connect to {self._place}: {reason}")

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            logger.critical("The connection's thread ends: %s failed", name, exc_info=error)
            self._on_crash("connection", error)


def _will_packet(topic: str, thing: str) -> mqtt5.PublishPacket:
    payload = f'{{"name":"connection_lost","timestamp":null,"thing_name":"{thing}"}}'
    return mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)


def _message(error: BaseException) -> str:
    return f"{error.message} ({error.name})" if isinstance(error, AwsCrtError) else str(error)
