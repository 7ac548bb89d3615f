"""The connection, against a real broker with mutual TLS."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from awscrt import io, mqtt5
from awscrt.exceptions import AwsCrtError

from pinthesky.errors import InvalidInput, NotAuthorized, Unavailable
from pinthesky.link import connection as module
from pinthesky.link.configuration import Configuration, LastWill
from pinthesky.link.connection import Connection, matches
from pinthesky.link.diagnosis import Doctor, diagnose, refusal_in_words
from tests.support.aws_servers import CertificateAuthority
from tests.support.broker import HOST, Broker, MqttClient
from tests.support.daemon_process import eventually
from tests.support.link_client import ThingFolder

OUTPUT, INPUT = "pinthesky/events/garden/output", "pinthesky/events/garden/input"


@pytest.fixture
def configuration(thing: ThingFolder) -> Configuration:
    return thing.configuration()


@contextlib.contextmanager
def connected(configuration: Configuration, *, ready: bool = True, **options: Any) -> Iterator[Connection]:
    crashes: list[tuple[str, BaseException]] = []
    connection = Connection(configuration, on_crash=lambda *crash: crashes.append(crash), **options)
    connection.start()
    try:
        if ready:
            eventually(lambda: connection.connected, "it is connected", 10.0)
        yield connection
    finally:
        assert connection.stop(4.0)
    assert crashes == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts to connect are never more than a second apart."""
    monkeypatch.setattr(module, "RECONNECT_LONGEST_S", 1)


def warnings_of(caplog: pytest.LogCaptureFixture, least: int = 1) -> list[str]:
    """At least so many warnings, as soon as they are there."""

    def found() -> list[str]:
        return [record.message for record in caplog.records if record.levelno >= logging.WARNING]

    eventually(lambda: len(found()) >= least, "a warning", 12.0)
    return found()


# While all is well


def test_a_publish_resolves_when_the_broker_has_it(configuration: Configuration, cloud: MqttClient) -> None:
    cloud.subscribe(OUTPUT)
    with connected(configuration) as connection:
        assert connection.publish(OUTPUT, b"\x00\xffraw").result(5.0) is None
    assert cloud.wait_for(OUTPUT)[0].payload == b"\x00\xffraw"


def test_what_matches_is_received_also_when_it_was_asked_for_late(
    configuration: Configuration, cloud: MqttClient
) -> None:
    received: queue.Queue[tuple[str, bytes]] = queue.Queue()
    connection = Connection(configuration, on_crash=lambda *_: None)
    connection.subscribe(INPUT, lambda topic, payload: received.put((topic, payload)))
    connection.start()
    try:
        eventually(lambda: connection.connected, "it is connected")
        cloud.publish(INPUT, b"one")
        assert received.get(timeout=5.0) == (INPUT, b"one")
        late: queue.Queue[bytes] = queue.Queue()
        connection.subscribe("$aws/things/garden/jobs/+/accepted", lambda _, payload: late.put(payload))

        def arrives() -> bool:
            cloud.publish("$aws/things/garden/jobs/get/accepted", b"two")
            with contextlib.suppress(queue.Empty):
                return late.get(timeout=0.2) == b"two"
            return False

        eventually(arrives, "the late subscription stands")
        cloud.publish(INPUT, b"")
        assert received.get(timeout=5.0) == (INPUT, b"")
    finally:
        assert connection.stop(4.0)


def test_who_waits_for_the_connection_is_called_at_each_and_at_once_when_it_stands(
    configuration: Configuration, broker: Broker
) -> None:
    calls: list[str] = []
    states: list[str] = []
    connection = Connection(configuration, on_crash=lambda *_: None, on_state=states.append)
    connection.on_connected(lambda: calls.append("early"))
    connection.start()
    try:
        eventually(lambda: calls, "it is called")
        connection.on_connected(lambda: calls.append("late"))
        assert calls == ["early", "late"]
        broker.kill()
        eventually(lambda: not connection.connected, "the loss is noticed")
        broker.start()
        eventually(lambda: calls == ["early", "late", "early", "late"], "both are called again")
    finally:
        assert connection.stop(4.0)
    place = f"{HOST}:{broker.port}"
    assert states[:2] == [f"connected to {place}", f"not connected to {place}"]
    assert states[-1] == f"connected to {place}"


def test_more_filters_than_one_subscribe_takes_all_stand(configuration: Configuration, cloud: MqttClient) -> None:
    received: queue.Queue[str] = queue.Queue()
    connection = Connection(configuration, on_crash=lambda *_: None)
    names = [f"$aws/things/garden/shadow/name/n{number}/update/delta" for number in range(20)]
    for name in names:
        connection.subscribe(name, lambda topic, _: received.put(topic))
    connection.start()
    try:
        eventually(lambda: connection.connected, "it is connected")
        for name in names:
            cloud.publish(name, b"x")
        assert [received.get(timeout=5.0) for _ in names] == names
    finally:
        assert connection.stop(4.0)


def test_the_will_is_told_when_the_connection_is_lost_and_not_when_it_is_closed(
    thing: ThingFolder, cloud: MqttClient, process: Any
) -> None:
    thing.document["last-will"] = {"delay": 0}
    thing.write()
    cloud.subscribe(OUTPUT)
    process.start()
    process.wait_log("All subscriptions stand")
    assert process.stop() == 0
    process.start()
    process.wait_log("All subscriptions stand")
    process.kill()
    found = cloud.wait_for(OUTPUT)
    assert [message.document for message in found] == [
        {"name": "connection_lost", "timestamp": None, "thing_name": "garden"}
    ]


# What is refused


def test_a_publish_where_policy_is_against_it_is_not_authorized(configuration: Configuration) -> None:
    with connected(configuration) as connection:
        refusal = connection.publish("pinthesky/events/door/output", b"x").exception(5.0)
        assert isinstance(refusal, NotAuthorized)
        assert "does not let garden publish there" in str(refusal)


def test_a_publish_that_cannot_be_sent_is_invalid(configuration: Configuration) -> None:
    with connected(configuration) as connection:
        refusal = connection.publish("a/#", b"x").exception(5.0)
        assert isinstance(refusal, InvalidInput)
        assert connection.publish(OUTPUT, b"x").result(5.0) is None


def test_a_publish_without_a_connection_fails_at_once(configuration: Configuration) -> None:
    connection = Connection(configuration, on_crash=lambda *_: None)
    assert isinstance(connection.publish(OUTPUT, b"x").exception(0.0), Unavailable)


def test_no_more_than_the_bound_waits_for_its_acknowledgement(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    with connected(configuration) as connection:
        answers = [connection.publish(OUTPUT, b"x" * 100_000) for _ in range(10)]
        errors = [answer.exception(10.0) for answer in answers]
    assert errors[:3] == [None] * 3
    assert any(isinstance(error, Unavailable) and "too much waits" in str(error) for error in errors)


def test_a_subscription_that_is_refused_is_said_and_the_others_stand(
    configuration: Configuration, cloud: MqttClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    received: queue.Queue[bytes] = queue.Queue()
    connection = Connection(configuration, on_crash=lambda *_: None)
    connection.subscribe("pinthesky/events/door/input", lambda *_: None)
    connection.subscribe(INPUT, lambda _, payload: received.put(payload))
    connection.start()
    try:
        eventually(lambda: connection.connected, "it is connected")
        cloud.publish(INPUT, b"mine")
        assert received.get(timeout=5.0) == b"mine"
    finally:
        assert connection.stop(4.0)


def test_a_defect_in_a_subscriber_is_a_crash(configuration: Configuration, cloud: MqttClient) -> None:
    def broken(_topic: str, _payload: bytes) -> None:
        raise ZeroDivisionError

    crashes: queue.Queue[tuple[str, BaseException]] = queue.Queue()
    connection = Connection(configuration, on_crash=lambda *crash: crashes.put(crash))
    connection.subscribe(INPUT, broken)
    connection.start()
    try:
        eventually(lambda: connection.connected, "it is connected")
        cloud.publish(INPUT, b"x")
        name, error = crashes.get(timeout=5.0)
        assert (name, type(error)) == ("connection", ZeroDivisionError)
    finally:
        assert connection.stop(4.0)


# Why there is no connection


def cannot(place: str, reason: str) -> str:
    return f"Cannot connect to {place}: {reason}; trying again"


@pytest.mark.usefixtures("hasty")
def test_a_broker_that_is_not_there_is_said_once_and_once_when_it_is_back(
    configuration: Configuration, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker.stop()
    place = f"{HOST}:{broker.port}"
    with connected(configuration, ready=False) as connection:
        assert warnings_of(caplog) == [cannot(place, "nothing listens there (connection refused)")]
        broker.start()
        eventually(lambda: connection.connected, "it is connected")
        broker.kill()
        warnings_of(caplog, 3)
        broker.start()
        eventually(lambda: connection.connected, "it is connected again")
    said = [record.message for record in caplog.records if record.name.endswith("link.connection")]
    assert sum("Cannot connect" in line for line in said) <= 2, "not at each attempt"
    assert sum("was lost" in line for line in said) == 1
    assert [line for line in said if line.startswith("Connected")] == [
        f"Connected to {place} as garden, a new session",
        f"Connected to {place} again as garden, a new session",
    ]


def test_a_name_that_does_not_resolve_is_said(
    configuration: Configuration, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(replace(configuration, endpoint="nowhere.invalid"), ready=False):
        assert warnings_of(caplog) == [cannot(f"nowhere.invalid:{broker.port}", "its name cannot be resolved")]


def test_a_certificate_of_ours_that_the_broker_does_not_take_is_said(
    configuration: Configuration, broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = f"{HOST}:{broker.port}"
    stranger = CertificateAuthority(tmp_path, "stranger").issue("garden")
    with connected(replace(configuration, cert=stranger.cert, key=stranger.key), ready=False):
        assert warnings_of(caplog) == [cannot(place, "it does not know who issued our certificate")]
    caplog.clear()
    old = broker.authority.issue("old", until=timedelta(hours=-1))
    with connected(replace(configuration, cert=old.cert, key=old.key), ready=False):
        assert warnings_of(caplog) == [cannot(place, "our certificate has expired")]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow attempt is looked into soon."""
    monkeypatch.setattr(module, "SLOW_ATTEMPT_S", 0.2)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "certificate, reason",
    [
        ("expired", "its certificate has expired, by this machine's clock"),
        ("not yet valid", "its certificate is not valid yet, by this machine's clock"),
        ("of another host", f"its certificate is for another host than {HOST}"),
        ("of a stranger", "its certificate is not trusted by "),
    ],
)
def test_a_broker_that_cannot_prove_itself_is_said_with_the_reason_and_the_stop_is_short(
    configuration: Configuration, broker: Broker, tmp_path: Path, certificate: str, reason: str
) -> None:
    broker.stop()
    broker.use_server_certificate(
        {
            "expired": lambda: broker.authority.issue(HOST, until=timedelta(hours=-1)),
            "not yet valid": lambda: broker.authority.issue(HOST, since=timedelta(hours=1)),
            "of another host": lambda: broker.authority.issue("elsewhere"),
            "of a stranger": lambda: CertificateAuthority(tmp_path, "stranger").issue(HOST),
        }[certificate]()
    )
    broker.start()
    states: list[str] = []
    with connected(configuration, ready=False, on_state=states.append):
        eventually(lambda: states, "it is said")
        began = time.monotonic()
    assert states[0].startswith(f"cannot connect to {HOST}:{broker.port}: {reason}")
    assert time.monotonic() - began < 5.0


def test_an_identity_that_cannot_be_used_is_a_matter_of_the_configuration(
    configuration: Configuration, broker: Broker, tmp_path: Path
) -> None:
    def refusal(**changes: Any) -> str:
        with pytest.raises(InvalidInput) as caught:
            Connection(replace(configuration, **changes), on_crash=lambda *_: None)
        return str(caught.value)

    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    other = broker.issue("door")
    assert refusal(key=other.key).startswith(f"key: {other.key} does not belong to the certificate")
    assert "are no certificate and key in PEM form" in refusal(cert=nonsense)
    assert refusal(root_ca=nonsense) == f"root-ca: {nonsense} holds no certificate in PEM form"
    assert refusal(cert=tmp_path / "none") == f"cert: cannot read {tmp_path / 'none'}: No such file or directory"
    locked = broker.authority.issue("locked", password=b"secret")
    assert "is locked by a password" in refusal(cert=locked.cert, key=locked.key)


# Its parts


@pytest.mark.parametrize(
    "topic_filter, topic, expected",
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/b", "a/b/c", False),
        ("a/+/c", "a/b/c", True),
        ("a/+", "a", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("#", "a/b", True),
        ("#", "$aws/b", False),
        ("+/b", "$aws/b", False),
        ("$aws/#", "$aws/b", True),
        ("a/b/#", "a", False),
    ],
)
def test_filters_match_as_mqtt_says(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected


@pytest.mark.parametrize(
    "name, code, words",
    [
        ("AWS_ERROR_MQTT5_CONNACK_CONNECTION_REFUSED", "NOT_AUTHORIZED", "does not let this certificate connect as"),
        ("AWS_ERROR_MQTT5_CONNACK_CONNECTION_REFUSED", "CLIENT_IDENTIFIER_NOT_VALID", "take garden as a client id"),
        ("AWS_ERROR_MQTT5_CONNACK_CONNECTION_REFUSED", "SERVER_MOVED", "the broker refuses (server moved)"),
        ("AWS_ERROR_MQTT_UNEXPECTED_HANGUP", None, "may this certificate connect as garden?"),
        ("AWS_ERROR_MQTT5_CONNACK_TIMEOUT", None, "does not answer to CONNECT"),
        ("AWS_IO_SOCKET_TIMEOUT", None, "it does not answer"),
        ("AWS_IO_SOMETHING_NEW", None, "in its own words"),
        ("AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE", None, None),
    ],
)
def test_failures_have_their_words(name: str, code: str | None, words: str | None) -> None:
    error: Any = SimpleNamespace(name=name, message="in its own words")
    connack = None if code is None else SimpleNamespace(reason_code=SimpleNamespace(name=code))
    found = refusal_in_words(error, connack, "garden")
    assert (found is None) if words is None else (found is not None and words in found)


def test_a_look_into_it_tells_also_what_lies_before_tls(
    configuration: Configuration, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert diagnose(configuration, broker.port) is None
    broker.stop()
    assert diagnose(configuration, broker.port) == "nothing listens there (connection refused)"
    for error, words in (
        (socket.gaierror(-2, "Name or service not known"), "its name cannot be resolved"),
        (TimeoutError(), "it does not answer"),
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
    ):
        monkeypatch.setattr(socket, "create_connection", raising(error))
        assert diagnose(configuration, broker.port) == words


def raising(error: Exception) -> Callable[..., None]:
    def call(*_: Any, **__: Any) -> None:
        raise error

    return call


def test_the_doctor_comes_when_called_unless_dismissed_and_ends() -> None:
    told: queue.Queue[str | None] = queue.Queue()
    examinations: list[int] = []

    def examine() -> str:
        examinations.append(1)
        return "ill"

    doctor = Doctor(examine, told.put)
    assert doctor.stop(0.1), "one that was never started has ended"
    doctor = Doctor(examine, told.put)
    doctor.start()
    doctor.call(3600.0)
    doctor.dismiss()
    assert examinations == []
    doctor.call(3600.0)
    doctor.call(0.0)
    assert told.get(timeout=5.0) == "ill"
    doctor.call(3600.0)
    assert doctor.stop(5.0)
    assert len(examinations) == 1


def test_a_broker_that_ends_the_session_says_why(
    configuration: Configuration, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(configuration), broker.client("garden"):
        assert "is another client connected as garden?" in warnings_of(caplog)[0]


@pytest.mark.usefixtures("hasty")
def test_a_broker_restarted_over_and_over_is_found_at_once_and_what_waited_for_it_fails(
    configuration: Configuration, broker: Broker
) -> None:
    """Each short connection would double the library's pause, up to the longest one."""
    with connected(configuration) as connection:
        for _ in range(4):
            broker.freeze()
            answer = connection.publish(OUTPUT, b"x")
            broker.kill()
            eventually(lambda: not connection.connected, "the loss is noticed", 2.0)
            broker.start()
            eventually(lambda: connection.connected, "it is back", 5.0)
            assert isinstance(answer.exception(3.0), Unavailable)
        assert connection.publish(OUTPUT, b"y").result(5.0) is None


def test_the_longest_pause_between_two_attempts_is_a_matter_of_seconds() -> None:
    assert module.RECONNECT_LONGEST_S <= 8


def test_a_broker_that_falls_silent_is_given_up(
    configuration: Configuration, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING_ANSWERED_WITHIN_S", 1)
    with connected(replace(configuration, keep_alive_s=2)) as connection:
        broker.freeze()
        eventually(lambda: not connection.connected, "the silence is noticed", 6.0)
        broker.kill()
        broker.start()
        eventually(lambda: connection.connected, "it is back")
        assert connection.publish(OUTPUT, b"y").result(5.0) is None


def test_on_port_443_the_handshake_says_that_it_is_for_mqtt(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[list[str] | None] = []

    class Context(io.ClientTlsContext):  # type: ignore[misc] # awscrt ships no types
        def __init__(self, options: io.TlsContextOptions) -> None:
            offered.append(options.alpn_list)
            super().__init__(options)

    monkeypatch.setattr(io, "ClientTlsContext", Context)
    for port in (None, 443, 8883):
        Connection(replace(configuration, port=port), on_crash=lambda *_: None)
    assert offered == [["x-amzn-mqtt-ca"], ["x-amzn-mqtt-ca"], None]


def test_without_a_will_none_is_left(thing: ThingFolder) -> None:
    configuration = thing.configuration()
    assert isinstance(configuration.last_will, LastWill)
    with connected(replace(configuration, last_will=None)) as connection:
        assert connection.publish(OUTPUT, b"x").result(5.0) is None


# What this broker never answers, and others do


def answered(result: Any = None, error: Exception | None = None) -> Future[Any]:
    future: Future[Any] = Future()
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
    return future


@pytest.mark.parametrize(
    "code, kind",
    [
        ("SUCCESS", None),
        ("NO_MATCHING_SUBSCRIBERS", None),
        ("QUOTA_EXCEEDED", Unavailable),
        ("PAYLOAD_FORMAT_INVALID", InvalidInput),
        ("UNSPECIFIED_ERROR", InvalidInput),
        (None, InvalidInput),
    ],
)
def test_every_answer_to_a_publish_has_its_meaning(
    configuration: Configuration, code: str | None, kind: type[Exception] | None
) -> None:
    connection = Connection(configuration, on_crash=lambda *_: None)
    answer: Future[None] = Future()
    reason = None if code is None else mqtt5.PubackReasonCode[code]
    sent = answered(SimpleNamespace(puback=SimpleNamespace(reason_code=reason)))
    connection._published(sent, answer=answer, topic=OUTPUT, size=1)
    found = answer.exception(0.0)
    assert found is None if kind is None else type(found) is kind


def test_a_packet_larger_than_the_broker_takes_is_invalid(configuration: Configuration) -> None:
    connection = Connection(configuration, on_crash=lambda *_: None)
    answer: Future[None] = Future()
    error = AwsCrtError(5147, "AWS_ERROR_MQTT5_PACKET_VALIDATION", "too large")
    connection._published(answered(error=error), answer=answer, topic=OUTPUT, size=1)
    found = answer.exception(0.0)
    assert isinstance(found, InvalidInput)
    assert found.__cause__ is error


def test_a_refused_subscription_is_said_and_one_without_an_answer_is_asked_for_again(
    configuration: Configuration, caplog: pytest.LogCaptureFixture
) -> None:
    connection = Connection(configuration, on_crash=lambda *_: None)
    codes = [mqtt5.SubackReasonCode.GRANTED_QOS_1, mqtt5.SubackReasonCode.NOT_AUTHORIZED, None]
    calls: list[str] = []
    connection._asked(
        answered(SimpleNamespace(reason_codes=codes)),
        filters=["a", "b", "c"],
        number=0,
        answered=lambda: calls.append("answered"),
    )
    asked: list[list[str]] = []
    connection._ask_for = lambda filters, *_: asked.append(filters)  # type: ignore[method-assign] # the library's part
    for number in (0, 7):  # 7 is another connection
        connection._asked(answered(error=TimeoutError("late")), filters=["a"], number=number, answered=lambda: None)
    assert (calls, asked) == (["answered"], [["a"]])
    assert [record.message for record in caplog.records] == [
        "The broker refuses to let garden subscribe to b: not authorized",
        "The broker refuses to let garden subscribe to c",
        "The broker does not answer to SUBSCRIBE: late; asking again",
    ]


def test_a_connection_that_another_client_took_is_said(
    configuration: Configuration, caplog: pytest.LogCaptureFixture
) -> None:
    connection = Connection(configuration, on_crash=lambda *_: None)
    packet = SimpleNamespace(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER)
    connection._connection_lost(SimpleNamespace(disconnect_packet=packet, exception=None))
    packet.reason_code = mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN
    connection._connection_lost(SimpleNamespace(disconnect_packet=packet, exception=None))
    hangup = AwsCrtError(5134, "AWS_ERROR_MQTT_UNEXPECTED_HANGUP", "hangup")
    connection._connected_at_s = time.monotonic() - 3600.0
    connection._connection_lost(SimpleNamespace(disconnect_packet=None, exception=hangup))
    connection._subscribed(0)
    assert [record.message.partition(" was lost")[2] for record in caplog.records] == [
        ": another client has connected as garden",
        " (server shutting down)",
        ": the broker ended it without a word",
    ]
    assert not connection.connected, "its subscriptions were those of an earlier connection"


@pytest.mark.parametrize(
    "certificate, words",
    [
        (ssl.SSLError(1, "[X] unexpected message"), "TLS fails: "),
        (ssl.SSLCertVerificationError(1, "[SSL] revoked"), "its certificate is not accepted"),
    ],
)
def test_what_tls_says_beyond_the_usual_is_passed_on(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch, certificate: ssl.SSLError, words: str
) -> None:
    if isinstance(certificate, ssl.SSLCertVerificationError):
        certificate.verify_code, certificate.verify_message = 23, "certificate revoked"
    certificate.reason = "UNEXPECTED_MESSAGE"
    monkeypatch.setattr(socket, "create_connection", raising(certificate))
    found = diagnose(configuration, 443)
    assert found is not None
    assert found.startswith(words)


def test_without_a_port_it_is_443(configuration: Configuration) -> None:
    states: list[str] = []
    connection = Connection(replace(configuration, port=None), on_crash=lambda *_: None, on_state=states.append)
    connection._tell("it does not answer")
    assert states == [f"cannot connect to {HOST}:443: it does not answer"]
