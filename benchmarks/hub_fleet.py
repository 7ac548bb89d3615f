#!/usr/bin/env python3
"""A whole hub with two hundred cameras: how soon, how much at once, and what it costs.

    python benchmarks/hub_fleet.py [--quick] [--things 200]

`pits-hub` runs as a process of its own with its mosquitto; the things are simulated in two further processes, each
thing with its certificate and its own TLS connection, on awscrt as pits-device-client is. "Edit to reported" is from
the console's change of a shadow to its hearing that the thing reports it: two updates that are committed to the disk,
and four messages through the broker. "Command to event" is from the console's command to the thing's event.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.measuring import Memory, Report, arguments, cpu_s, memory_of, percentile
from benchmarks.simulated_things import INPUT, OUTPUT, SHADOW, Pushing, ThingFiles, simulate
from pinthesky.hub.foundation import Foundation
from tests.support.daemon_process import running
from tests.support.hub_process import HubProcess, new_camera

PROCESSES = 2
TIMEOUT_S = 90.0


class Extent(NamedTuple):
    """How much is done, and for how long."""

    things: int
    pushes: int
    """Updates of each thing, one after the other."""
    asked: int
    """Edits, and commands, one by one."""
    pace_s: float
    """Between two of them."""
    idle_s: float


class Fleet:
    """The things, in their processes."""

    def __init__(self, things: Sequence[ThingFiles], port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders: list[Connection] = []
        self._processes = []
        for number in range(PROCESSES):
            ours, theirs = context.Pipe()
            process = context.Process(target=simulate, args=(things[number::PROCESSES], port, theirs))
            process.start()
            theirs.close()
            self._orders.append(ours)
            self._processes.append(process)
        self._answers()

    def order(self, what: str, number: int = 0) -> list[Any]:
        """Have all do it at once; what they say afterwards."""
        for orders in self._orders:
            orders.send((what, number))
        return self._answers()

    def close(self) -> None:
        """End what still runs."""
        for process in self._processes:
            process.terminate()
            process.join(10.0)

    def _answers(self) -> list[Any]:
        found = []
        for orders in self._orders:
            if not orders.poll(TIMEOUT_S):
                raise RuntimeError("the simulated things do not answer")
            found.append(orders.recv())
        return found


class Console:
    """Edits shadows and sends commands as the planes do, by the hub's own socket, and times what comes back."""

    def __init__(self, socket: Path) -> None:
        self._sent_s: dict[tuple[str, int], float] = {}
        self.latencies_s: list[float] = []
        self._news = threading.Condition()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="console", protocol=MQTTProtocolVersion.MQTTv5, transport="unix"
        )
        ready = threading.Event()
        self._client.on_message = self._receive
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect(str(socket))
        self._client.loop_start()
        self._client.subscribe([(SHADOW.format("+") + "/accepted", 1), (OUTPUT.format("+"), 1)])
        if not ready.wait(10.0):
            raise RuntimeError("the console's subscriptions do not stand")

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def edit(self, thing: str, number: int) -> None:
        """Desire something new of a thing."""
        self._send(thing, number, SHADOW, document={"state": {"desired": {"camera": {"framerate": number}}}})

    def command(self, thing: str, number: int) -> None:
        """Ask something of a thing."""
        self._send(thing, number, INPUT, document={"name": "capture_image", "context": {"capture_id": str(number)}})

    def times(self, do: Any, things: Sequence[str], extent: Extent) -> list[float]:
        """Do it to one thing after the other at a steady pace; the seconds until each has answered."""
        self.latencies_s = []
        for number in range(1, extent.asked + 1):
            do(things[number % len(things)], number)
            time.sleep(extent.pace_s)
        with self._news:
            if not self._news.wait_for(lambda: len(self.latencies_s) == extent.asked, 10.0):
                raise RuntimeError(f"{len(self._sent_s)} of {extent.asked} were not answered")
            return self.latencies_s

    def _send(self, thing: str, number: int, topic: str, *, document: object) -> None:
        self._sent_s[thing, number] = time.monotonic()
        self._client.publish(topic.format(thing), json.dumps(document), qos=1)

    def _receive(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        now_s, document, thing = time.monotonic(), json.loads(message.payload), message.topic.split("/")[2]
        if message.topic.endswith("/accepted"):
            number = document["state"].get("reported", {}).get("camera", {}).get("framerate")
        else:
            number = int(document["capture_id"])
        with self._news:
            sent_s = self._sent_s.pop((thing, number), None)
            if sent_s is not None:
                self.latencies_s.append(now_s - sent_s)
                self._news.notify_all()


class Cost(NamedTuple):
    """CPU seconds of hub and mosquitto in a stretch of time, and their memory at its end."""

    wall_s: float
    hub_s: float
    broker_s: float
    hub: Memory
    broker: Memory

    def row(self, what: str) -> list[str]:
        """A line of the table."""
        shares = [f"{100 * spent / self.wall_s:.2f}" for spent in (self.hub_s, self.broker_s)]
        return [what, *shares, f"{self.hub.resident:.0f}", f"{self.broker.resident:.0f}"]


class Meter:
    """Reads what hub and mosquitto use."""

    def __init__(self, hub: int) -> None:
        self._hub, self._broker = hub, mosquitto_of(hub)
        self._before = self._now()

    def cost(self) -> Cost:
        """Since the last time."""
        before, self._before = self._before, self._now()
        spent = [now - then for now, then in zip(self._before, before, strict=True)]
        return Cost(spent[0], spent[1], spent[2], memory_of(self._hub), memory_of(self._broker))

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), cpu_s(self._hub), cpu_s(self._broker)


def mosquitto_of(hub: int) -> int:
    """The process id of a hub's mosquitto."""
    for task in Path(f"/proc/{hub}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            if (Path("/proc") / child / "comm").read_text(encoding="utf-8").strip() == "mosquitto":
                return int(child)
    raise RuntimeError("the hub has no mosquitto")


def make_things(data: Path, folder: Path, count: int) -> list[ThingFiles]:
    """Cameras that the hub knows."""
    with contextlib.closing(Foundation.lay(data)) as foundation:
        cameras = [
            new_camera(foundation, f"camera-{number:03}", folder / f"camera-{number:03}") for number in range(count)
        ]
    return [ThingFiles(str(one.thing), one.pair.cert, one.pair.key, one.root) for one in cameras]


@contextlib.contextmanager
def connected_console(process: HubProcess) -> Iterator[Console]:
    """A console for the time of the block."""
    console = Console(process.data / "broker" / "mosquitto.sock")
    try:
        yield console
    finally:
        console.close()


class Found(NamedTuple):
    """What was measured."""

    connect_s: float
    pushed: list[Pushing]
    edits_s: list[float]
    commands_s: list[float]
    costs: dict[str, Cost]


def measure(folder: Path, extent: Extent) -> Found:
    """Run a hub and its things through all of it."""
    process = HubProcess(folder)
    things = make_things(process.data, folder, extent.things)
    names = [files.name for files in things]
    costs: dict[str, Cost] = {}
    with running(process):
        process.wait_ready()
        with contextlib.closing(Fleet(things, process.mqtt_port)) as fleet:
            meter = Meter(process.pid)
            time.sleep(extent.idle_s)
            costs["idle, nobody connected"] = meter.cost()
            began_s = time.monotonic()
            connect_s = max(fleet.order("connect")) - began_s
            costs[f"{extent.things} connect"] = meter.cost()
            time.sleep(extent.idle_s / 4)  # what follows from the connections is done with
            meter.cost()
            time.sleep(extent.idle_s)
            costs[f"idle, {extent.things} connected"] = meter.cost()
            pushed = fleet.order("push", extent.pushes)
            costs["all report as fast as they are answered"] = meter.cost()
            with connected_console(process) as console:
                meter.cost()
                edits_s = console.times(console.edit, names, extent)
                costs[f"{1 / extent.pace_s:.0f} edits a second"] = meter.cost()
                commands_s = console.times(console.command, names, extent)
                costs[f"{1 / extent.pace_s:.0f} commands a second"] = meter.cost()
            fleet.order("stop")
        if process.stop() != 0:
            raise RuntimeError("the hub did not end in order:\n" + "\n".join(process.log))
    return Found(connect_s, pushed, edits_s, commands_s, costs)


def tell(report: Report, found: Found, extent: Extent) -> None:
    """Tables and headlines."""
    updates = extent.things * extent.pushes
    wall_s = max(one.ended_s for one in found.pushed) - min(one.began_s for one in found.pushed)
    answered_s = [value for one in found.pushed for value in one.latencies_s]
    pushing = found.costs["all report as fast as they are answered"]

    def timed(values_s: Sequence[float]) -> list[str]:
        return [f"{percentile(values_s, percent) * 1000:.1f}" for percent in (50, 95, 100)]

    report.table(
        ["", "how many", "p50 ms", "p95 ms", "max ms"],
        [
            ["edit of a shadow to reported", str(len(found.edits_s)), *timed(found.edits_s)],
            ["command to event", str(len(found.commands_s)), *timed(found.commands_s)],
            ["update to accepted, all at once", str(len(answered_s)), *timed(answered_s)],
        ],
    )
    report.table(
        ["", "hub, % of a core", "mosquitto, %", "hub MB", "mosquitto MB"],
        [cost.row(what) for what, cost in found.costs.items()],
    )
    report.note(
        f"{extent.things} things are connected with all subscriptions after {found.connect_s:.1f} s. "
        f"{updates} updates in {wall_s:.1f} s: {updates / wall_s:.0f} a second, each "
        f"{pushing.hub_s / updates * 1000:.2f} ms CPU of the hub and {pushing.broker_s / updates * 1000:.2f} ms of "
        "mosquitto. MB are resident. The things share the machine with the hub."
    )
    fleet = f"hub, {extent.things} cameras"
    edits, commands = timed(found.edits_s), timed(found.commands_s)
    report.headline(f"{fleet}: edit of a shadow to reported", f"p50 {edits[0]} ms", f"p95 {edits[1]} ms")
    report.headline(f"{fleet}: command to event", f"p50 {commands[0]} ms", f"p95 {commands[1]} ms")
    report.headline(
        f"{fleet}: shadow updates", f"{updates / wall_s:.0f}/s", f"all connected after {found.connect_s:.1f} s"
    )
    idle = found.costs[f"idle, {extent.things} connected"]
    report.headline(
        f"{fleet}: nothing to do",
        f"{100 * idle.hub_s / idle.wall_s:.2f} % of a core, {idle.hub.resident:.0f} MB",
        f"mosquitto {100 * idle.broker_s / idle.wall_s:.2f} %, {idle.broker.resident:.0f} MB",
    )


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--things", type=int, default=200)
    options = parser.parse_args()
    extent = Extent(options.things, pushes=40, asked=200, pace_s=0.05, idle_s=10.0)
    if options.quick:
        extent = Extent(8, pushes=2, asked=8, pace_s=0.02, idle_s=0.3)
    report = Report("A hub and its cameras", libraries=("awscrt", "paho-mqtt", "msgspec"))
    with tempfile.TemporaryDirectory(prefix="pinthesky-bench-") as folder:
        tell(report, measure(Path(folder), extent), extent)
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
