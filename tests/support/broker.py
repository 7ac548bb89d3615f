"""A real mosquitto on a free port, with mutual TLS and the rules that a hub has, and a client for tests.

Certificate, user and client id are one, as with AWS IoT: a thing's name is its certificate's common name. A thing may
say and hear what its own topics allow; the clouds may everything. Without `persistent` the broker forgets all sessions
when it ends.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional, Protocol, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.support.aws_servers import CertificateAuthority, KeyPair

HOST = "localhost"
CLOUD, SECOND_CLOUD, THIRD_CLOUD = "the-cloud", "the-second-cloud", "the-third-cloud"
"""Who may everything. One client for each name at a time: a second one would take the connection over."""
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"

_ALL = "".join(
    f"user {name}\ntopic readwrite #\ntopic readwrite $aws/#\n\n" for name in (CLOUD, SECOND_CLOUD, THIRD_CLOUD)
)
RULES = f"""\
{_ALL}
pattern write pinthesky/events/%c/output
pattern read pinthesky/events/%c/input
pattern write $aws/things/%c/shadow/name/+/update
pattern write $aws/things/%c/shadow/name/+/get
pattern write $aws/things/%c/shadow/name/+/delete
pattern read $aws/things/%c/shadow/name/+/+/accepted
pattern read $aws/things/%c/shadow/name/+/+/rejected
pattern read $aws/things/%c/shadow/name/+/update/delta
pattern read $aws/things/%c/shadow/name/+/update/documents
pattern write $aws/things/%c/jobs/start-next
pattern write $aws/things/%c/jobs/get
pattern write $aws/things/%c/jobs/+/get
pattern write $aws/things/%c/jobs/+/update
pattern read $aws/things/%c/jobs/notify
pattern read $aws/things/%c/jobs/notify-next
pattern read $aws/things/%c/jobs/+/accepted
pattern read $aws/things/%c/jobs/+/rejected
pattern read $aws/things/%c/jobs/+/+/accepted
pattern read $aws/things/%c/jobs/+/+/rejected
"""


class Broker:
    """One broker, below `folder`. Start it again after `stop` or `kill`: it listens on the same port."""

    def __init__(self, folder: Path, *, persistent: bool = False, rules: str = RULES) -> None:
        self.folder = folder / "broker"
        self.folder.mkdir(parents=True)
        self.host = HOST
        self.port = _free_port()
        self.authority = CertificateAuthority(self.folder)
        self.ca = self.authority.cert
        self._issued: dict[str, KeyPair] = {}
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.log = self.folder / "mosquitto.log"
        self._configuration = self.folder / "mosquitto.conf"
        self.use_server_certificate(self.authority.issue(HOST))
        (self.folder / "rules.acl").write_text(rules)
        self._settings = [
            "user root",  # it could not read the test's folder otherwise; without effect for anybody else
            f"listener {self.port} 127.0.0.1",
            f"cafile {self.ca}",
            f"certfile {self.folder / 'server.pem'}",
            f"keyfile {self.folder / 'server.key'}",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            "allow_anonymous false",
            f"acl_file {self.folder / 'rules.acl'}",
            f"log_dest file {self.log}",
            "log_type all",
            *(["persistence true", f"persistence_location {self.folder}/"] if persistent else []),
        ]

    def use_server_certificate(self, pair: KeyPair) -> None:
        """Show another certificate from the next start on."""
        shutil.copy(pair.cert, self.folder / "server.pem")
        shutil.copy(pair.key, self.folder / "server.key")

    def issue(self, thing: str) -> KeyPair:
        """The paths (`cert`, `key`) of a certificate for `thing`; the same ones when asked again."""
        if thing not in self._issued:
            self._issued[thing] = self.authority.issue(thing)
        return self._issued[thing]

    def start(self) -> Self:
        """Start, and wait until it listens."""
        self._configuration.write_text("\n".join(self._settings) + "\n")
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10.0
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"mosquitto does not listen: {self.log.read_text() if self.log.exists() else ''}")
            time.sleep(0.01)

    def stop(self) -> None:
        """SIGTERM. Safe to call twice."""
        self._end("terminate")

    def freeze(self) -> None:
        """SIGSTOP: its connections stand, and it says nothing any more, until `kill`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """SIGKILL: what was not written is gone."""
        self._end("kill")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextlib.contextmanager
    def client(self, name: str = CLOUD) -> Iterator[MqttClient]:
        """A connected client with the certificate of `name`."""
        made = MqttClient(self, name)
        try:
            made.connect()
            yield made
        finally:
            made.close()

    def _end(self, how: str) -> None:
        process, self._process = self._process, None
        if process is not None:
            getattr(process, how)()
            process.wait(10.0)


class Message(NamedTuple):
    """What was received, and at which monotonic second."""

    topic: str
    payload: bytes
    at: float

    @property
    def document(self) -> Any:
        """The payload as JSON."""
        return json.loads(self.payload)


class BrokerSide(Protocol):
    """What a client has to know of a broker."""

    host: str
    port: int
    ca: Path

    def issue(self, thing: str, /) -> KeyPair:
        """The files of the certificate with which `thing` comes in."""
        ...


class MqttClient:
    """A client for tests (paho, MQTT 5): publishes anything, keeps everything that it receives."""

    def __init__(self, broker: BrokerSide, name: str = CLOUD) -> None:
        self.messages: list[Message] = []
        self.on_message: Callable[[Message], None] = lambda message: None
        """Called with every message, in the client's thread, after it was kept."""
        self._news = threading.Condition()
        self._connected = threading.Event()
        self._granted: dict[int, list[ReasonCode]] = {}
        self._filters: list[str] = []
        self._broker = broker
        self._paho = self._made(name)
        self._paho.reconnect_delay_set(1, 1)
        self._paho.on_connect = self._on_connect
        self._paho.on_subscribe = self._on_subscribe
        self._paho.on_message = self._on_message

    def connect(self) -> None:
        """Connect, and wait until that is done."""
        self._dial()
        self._paho.loop_start()
        assert self._connected.wait(10.0), "the test's client cannot connect"

    def close(self) -> None:
        """Disconnect."""
        self._paho.disconnect()
        self._paho.loop_stop()

    def subscribe(self, *filters: str) -> None:
        """Receive what matches, from when this returns, and again after a restart of the broker."""
        for topic_filter in filters:
            self._filters.append(topic_filter)
            _, number = self._paho.subscribe(topic_filter, qos=1)
            assert number is not None
            with self._news:
                assert self._news.wait_for(functools.partial(self._granted.__contains__, number), 10.0), "no SUBACK"
            assert not any(code.is_failure for code in self._granted[number]), f"{topic_filter} is refused"

    def publish(self, topic: str, payload: bytes | str | Any, *, qos: int = 1, expiry_s: int | None = None) -> None:
        """Publish bytes, text, or anything as JSON; returns when the broker has it."""
        if not isinstance(payload, (bytes, str)):
            payload = json.dumps(payload)
        properties = Properties(PacketTypes.PUBLISH)
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        self._paho.publish(topic, payload, qos=qos, properties=properties).wait_for_publish(10.0)

    def send(self, topic: str, document: Any) -> None:
        """Publish without waiting, which `on_message` must not do."""
        self._paho.publish(topic, document if isinstance(document, bytes) else json.dumps(document), qos=1)

    def on(self, topic: str) -> list[Message]:
        """What came on exactly this topic, in order."""
        with self._news:
            return [message for message in self.messages if message.topic == topic]

    def wait_for(self, topic: str, count: int = 1, timeout_s: float = 15.0) -> list[Message]:
        """Wait until `count` messages came on `topic`; returns all of them."""
        with self._news:
            arrived = self._news.wait_for(lambda: sum(m.topic == topic for m in self.messages) >= count, timeout_s)
        found = self.on(topic)
        seen = sorted({message.topic for message in self.messages})
        assert arrived, f"{len(found)} of {count} messages on {topic}; seen: {seen}"
        return found

    def _made(self, name: str) -> paho.Client:
        made = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
        pair = self._broker.issue(name)
        made.tls_set(ca_certs=str(self._broker.ca), certfile=str(pair.cert), keyfile=str(pair.key))
        return made

    def _dial(self) -> None:
        self._paho.connect(self._broker.host, self._broker.port, keepalive=30)

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if not code.is_failure:
            for topic_filter in self._filters:
                client.subscribe(topic_filter, qos=1)
            self._connected.set()

    def _on_subscribe(self, _client: Any, _data: Any, number: int, codes: list[ReasonCode], _properties: Any) -> None:
        with self._news:
            self._granted[number] = codes
            self._news.notify_all()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        kept = Message(message.topic, bytes(message.payload), time.monotonic())
        with self._news:
            self.messages.append(kept)
            self._news.notify_all()
        self.on_message(kept)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
