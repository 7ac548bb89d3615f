"""Simulated things in a process of their own, for `hub_fleet.py`: each has its certificate and its TLS connection.

They are what a hub sees of cameras: each reports what is desired as soon as it hears of it, answers each command with
an event, and, when told to, reports as fast as it is answered. The client library is the one of pits-device-client.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from awscrt import mqtt5
from awsiot import mqtt5_client_builder

SHADOW = "$aws/things/{}/shadow/name/pinthesky/update"
INPUT, OUTPUT = "pinthesky/events/{}/input", "pinthesky/events/{}/output"
TIMEOUT_S = 90.0


class ThingFiles(NamedTuple):
    """A thing's name, and the files of its identity."""

    name: str
    certificate: Path
    key: Path
    root: Path


class Pushing(NamedTuple):
    """What reporting without a pause took."""

    began_s: float
    ended_s: float
    latencies_s: list[float]
    """From each update to its `accepted`."""


class Countdown:
    """Becomes true when it was counted down as often as there are things."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()
        self._done = threading.Event()

    def one(self) -> None:
        """One more is done."""
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._done.set()

    def wait(self, what: str) -> None:
        """Wait until all are. Raises RuntimeError."""
        if not self._done.wait(TIMEOUT_S):
            raise RuntimeError(f"{self._left} things have not {what} after {TIMEOUT_S:.0f} s")


class SimulatedThing:
    """One thing. Its callbacks run in the library's event loop."""

    def __init__(self, files: ThingFiles, port: int) -> None:
        self._name = files.name
        self._update = SHADOW.format(files.name)
        self._output = OUTPUT.format(files.name)
        self._connected: Callable[[], None] = lambda: None
        self._pushed: Callable[[], None] = lambda: None
        self._stopped: Callable[[], None] = lambda: None
        self._left = 0
        self._sent_s = 0.0
        self.latencies_s: list[float] = []
        self._client = mqtt5_client_builder.mtls_from_path(
            str(files.certificate),
            str(files.key),
            endpoint="localhost",
            port=port,
            ca_filepath=str(files.root),
            client_id=files.name,
            on_publish_received=self._receive,
            on_lifecycle_connection_success=lambda _: self._subscribe(),
            on_lifecycle_stopped=lambda _: self._stopped(),
        )

    def connect(self, done: Callable[[], None]) -> None:
        """Begin to; `done` is called when its subscriptions stand."""
        self._connected = done
        self._client.start()

    def stop(self, done: Callable[[], None]) -> None:
        """Begin to."""
        self._stopped = done
        self._client.stop()

    def push(self, count: int, done: Callable[[], None]) -> None:
        """Report `count` times, each as soon as the one before is answered."""
        self._left, self._pushed, self.latencies_s = count, done, []
        self._report()

    def _subscribe(self) -> None:
        topics = [f"{self._update}/accepted", f"{self._update}/delta", INPUT.format(self._name)]
        subscriptions = [mqtt5.Subscription(topic, mqtt5.QoS.AT_LEAST_ONCE) for topic in topics]
        self._client.subscribe(mqtt5.SubscribePacket(subscriptions)).add_done_callback(lambda _: self._connected())

    def _receive(self, data: Any) -> None:
        topic, payload = data.publish_packet.topic, data.publish_packet.payload
        if topic.endswith("/delta"):
            self._publish(self._update, {"state": {"reported": json.loads(payload)["state"]}})
        elif topic.endswith("/input"):
            answer = {"name": "capture_image_end", "thing_name": self._name, "timestamp": time.time()}
            self._publish(self._output, {**answer, **json.loads(payload)["context"]})
        elif self._left:
            self.latencies_s.append(time.monotonic() - self._sent_s)
            self._left -= 1
            if self._left:
                self._report()
            else:
                self._pushed()

    def _report(self) -> None:
        camera = {"framerate": -self._left, "rotation": 0, "resolution": "640x480", "sensitivity": 10}
        self._sent_s = time.monotonic()
        self._publish(self._update, {"state": {"reported": {"camera": camera, "health": {"interval": 3600}}}})

    def _publish(self, topic: str, document: object) -> None:
        packet = mqtt5.PublishPacket(topic=topic, qos=mqtt5.QoS.AT_LEAST_ONCE, payload=json.dumps(document))
        self._client.publish(packet)


def simulate(things: Sequence[ThingFiles], port: int, orders: Connection) -> None:
    """Be these things, and do what is ordered: `("connect", 0)`, `("push", how often)`, `("stop", 0)`.

    Answers with the monotonic second of the last connection, a `Pushing`, None.
    """
    fleet = [SimulatedThing(files, port) for files in things]
    orders.send(None)
    while True:
        what, number = orders.recv()
        countdown = Countdown(len(fleet))
        began_s = time.monotonic()
        for thing in fleet:
            if what == "connect":
                thing.connect(countdown.one)
            elif what == "push":
                thing.push(number, countdown.one)
            else:
                thing.stop(countdown.one)
        countdown.wait(f"done with {what}")
        now_s = time.monotonic()
        if what == "push":
            orders.send(Pushing(began_s, now_s, [value for thing in fleet for value in thing.latencies_s]))
        else:
            orders.send(now_s)
        if what == "stop":
            return
