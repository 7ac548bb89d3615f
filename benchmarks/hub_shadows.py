"""Shadow updates per second of the hub's part for things: simulated things on a real broker, disk included.

Each thing reports, waits for the answer, and reports again. The things are threads of another process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.support.hub_things import HubBroker, ThingsHub


def simulate(socket: str, things: int, updates: int, *, answer: Connection) -> None:
    """Run the things, all over one connection; send the seconds that each update took."""
    latencies: list[float] = []
    sent: dict[str, float] = {}
    left = dict.fromkeys((f"camera-{number}" for number in range(things)), updates)
    done = threading.Event()
    ready = threading.Event()
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id="bench", protocol=MQTTProtocolVersion.MQTTv5, transport="unix"
    )
    client.max_inflight_messages_set(10_000)

    def report(thing: str) -> None:
        sent[thing] = time.perf_counter()
        state = {"reported": {"camera": {"framerate": left[thing], "rotation": 0}, "health": {"interval": 3600}}}
        client.publish(f"$aws/things/{thing}/shadow/name/pinthesky/update", json.dumps({"state": state}), qos=1)

    def on_message(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        thing = message.topic.split("/")[2]
        latencies.append(time.perf_counter() - sent[thing])
        left[thing] -= 1
        if left[thing]:
            report(thing)
        elif not any(left.values()):
            done.set()

    client.on_message = on_message
    client.on_subscribe = lambda *_: ready.set()
    client.connect(socket)
    client.loop_start()
    client.subscribe("$aws/things/+/shadow/name/+/update/accepted", qos=1)
    ready.wait(10)
    for thing in list(left):
        report(thing)
    done.wait(120)
    client.disconnect()
    client.loop_stop()
    answer.send(latencies)


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--things", type=int, default=50)
    parser.add_argument("--updates", type=int, default=100, help="of each thing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with HubBroker(folder) as broker, ThingsHub(folder, broker.socket):
            ours, theirs = multiprocessing.get_context("spawn").Pipe()
            arguments = (str(broker.socket), options.things, options.updates)
            process = multiprocessing.get_context("spawn").Process(
                target=simulate, args=arguments, kwargs={"answer": theirs}
            )
            cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            process.start()
            begun = time.perf_counter()
            latencies = ours.recv()
            seconds = time.perf_counter() - begun
            used = resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu
            process.join()
    slices = statistics.quantiles(latencies, n=20)
    print(f"{options.things} things, {len(latencies)} updates: {len(latencies) / seconds:.0f} a second")
    print(f"update to accepted: median {slices[9] * 1e3:.1f} ms, 95 of 100 within {slices[18] * 1e3:.1f} ms")
    print(f"CPU of the hub: {used / len(latencies) * 1e3:.2f} ms an update")


if __name__ == "__main__":
    main()
