#!/usr/bin/env python3
"""What pits-device-client costs while nothing happens, and how soon an event of the daemon is with a subscriber.

    python benchmarks/device_client.py [--quick]

The client runs as systemd would start it, against a mosquitto on this machine with mutual TLS, with shadow, jobs and
the event queue. "Post to subscriber" is from the moment at which the daemon's own writer is handed the event to its
arrival at another MQTT client: through the queue's folder, and through the publish file, whose writes the daemon has
to pace for the C++ client's sake. "Burst" is 20 events at once, to the last of them. "Command to file" is from a
publish at another MQTT client to the bytes in the daemon's input file.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_processes import Line
from benchmarks.measuring import Report, arguments, cpu_in_windows, memory_of, percentile, spread
from pinthesky.device.event_output import EventOutput
from pinthesky.device.event_queue import EventQueue
from pinthesky.device.timekeeping import SystemClock
from pinthesky.model.events import MotionStart, RecordingChange
from pinthesky.model.identifiers import ThingName
from tests.support.broker import Broker, MqttClient
from tests.support.daemon_process import running
from tests.support.link_client import ClientProcess, ThingFolder

THING = "garden"
INPUT, OUTPUT = f"pinthesky/events/{THING}/input", f"pinthesky/events/{THING}/output"
MOTION_MAX_MS, COMMAND_MAX_MS = 100.0, 50.0
BURST = 20


def client_of(folder: Path, broker: Broker, *, queue: bool) -> tuple[ThingFolder, ClientProcess]:
    """A thing with everything switched on, and its client."""
    thing = ThingFolder(folder, broker, THING)
    thing.document["jobs"] = {"enabled": True, "handler-directory": str(thing.folder)}
    thing.document["logging"] = {"level": "INFO"}
    if queue:
        thing.use_queue()
    return thing, ClientProcess(thing)


def writer_of(thing: ThingFolder, *, queue: bool) -> EventOutput | EventQueue:
    """The daemon's writer, ready."""
    clock = SystemClock()
    writer: EventOutput | EventQueue = EventQueue(thing.queue, clock=clock)
    if not queue:
        writer = EventOutput(thing.event_output, clock=clock, thing_name=ThingName(THING))
    writer.prepare()
    return writer


def flush(writer: EventOutput | EventQueue) -> None:
    """Write all that waits, as soon as the writer allows."""
    while (due_s := writer.due_in()) is not None:
        time.sleep(due_s)
        writer.flush()


def arrival_ms(cloud: MqttClient, before: int, began_s: float) -> float:
    """Milliseconds until another message than the first `before` is there."""
    return (cloud.wait_for(OUTPUT, before + 1)[before].at - began_s) * 1000


def idle_cost(pid: int, *, quick: bool) -> Line:
    """What the client uses while nothing happens."""
    warm_up_s, windows, window_s = (1.0, 1, 2.0) if quick else (15.0, 4, 15.0)
    time.sleep(warm_up_s)
    spent_s = cpu_in_windows({"client": pid}, windows=windows, window_s=window_s)["client"]
    return Line(spent_s, window_s, memory_of(pid))


def single_events(writer: EventOutput | EventQueue, cloud: MqttClient, *, count: int) -> list[float]:
    """Milliseconds from post to subscriber of starts of motion that come one by one."""
    found = []
    for number in range(count):
        while writer.due_in() is not None or time.monotonic() < _quiet_until(cloud):
            time.sleep(0.01)
        before = len(cloud.on(OUTPUT))
        began_s = time.monotonic()
        writer.post(MotionStart(thing_name=THING, timestamp=time.time(), event_id=f"{number:032x}", score=1.0))
        flush(writer)
        found.append(arrival_ms(cloud, before, began_s))
    return found


def commands(thing: ThingFolder, cloud: MqttClient, *, count: int) -> list[float]:
    """Milliseconds from publish to file of commands that come one by one."""
    found, size = [], 0
    for _ in range(count):
        began_s = time.monotonic()
        cloud.send(INPUT, {"name": "health"})
        while not thing.event_input.exists() or thing.event_input.stat().st_size == size:
            if time.monotonic() > began_s + 10.0:
                raise SystemExit("a command does not arrive")
            time.sleep(0.0005)
        found.append((time.monotonic() - began_s) * 1000)
        size = thing.event_input.stat().st_size
        time.sleep(0.02)
    return found


def burst(writer: EventOutput | EventQueue, cloud: MqttClient) -> float:
    """Milliseconds until the last of BURST events is there: starts of motion between others."""
    began_s = time.monotonic()
    for number in range(BURST // 2):
        writer.post(RecordingChange(thing_name=THING, timestamp=time.time(), recording=True))
        writer.post(MotionStart(thing_name=THING, timestamp=time.time(), event_id=f"{1000 + number:032x}", score=1.0))
        writer.flush()
    flush(writer)
    deadline_s = time.monotonic() + 30.0
    while len(events_since(cloud, began_s)) < BURST and time.monotonic() < deadline_s:
        time.sleep(0.005)
    return (max(events_since(cloud, began_s)) - began_s) * 1000


def events_since(cloud: MqttClient, began_s: float) -> list[float]:
    """When each event arrived, batches opened."""
    return [
        message.at
        for message in cloud.on(OUTPUT)
        if message.at > began_s
        for _ in message.document.get("events", [message.document])
    ]


def _quiet_until(cloud: MqttClient) -> float:
    last = cloud.on(OUTPUT)[-1:]
    return last[0].at + 0.7 if last else 0.0


def measure(report: Report, folder: Path, *, quick: bool) -> None:
    """Idle cost first, then both ways of an event, each with a client of its own."""
    rows: list[list[str]] = []
    idle: Line | None = None
    command_ms: list[float] = []
    for queue in (True, False):
        with Broker(folder / str(queue)) as broker, broker.client() as cloud:
            cloud.subscribe(OUTPUT)
            thing, client = client_of(folder / f"thing-{queue}", broker, queue=queue)
            writer = writer_of(thing, queue=queue)
            with running(client):
                client.wait_log("Connected to")
                if queue:
                    idle = idle_cost(client.pid, quick=quick)
                    command_ms = commands(thing, cloud, count=10 if quick else 200)
                single_ms = single_events(writer, cloud, count=3 if quick else 30)
                burst_ms = burst(writer, cloud)
                client.stop()
            name = "the queue's folder" if queue else "the publish file"
            rows.append(
                [name, spread(single_ms, 1), f"{percentile(single_ms, 95):.1f}", f"{burst_ms:.0f}"],
            )
            if queue:
                beside = f"p95 {percentile(single_ms, 95):.1f} ms; a burst of {BURST} in {burst_ms:.0f} ms"
                what = "a start of motion, posted in the daemon, at an MQTT subscriber"
                report.judge(what, statistics.median(single_ms), MOTION_MAX_MS, unit="ms", beside=beside)
    assert idle is not None
    report.table(
        ["idle", "CPU s per minute", "% of a core", "resident MB", "private MB"],
        [
            [
                "pits-device-client",
                spread(idle.per_minute_s, 3),
                f"{idle.percent:.2f}",
                f"{idle.memory.resident:.1f}",
                f"{idle.memory.private:.1f}",
            ]
        ],
    )
    report.judge(
        "a command, from its publisher to the daemon's input file",
        statistics.median(command_ms),
        COMMAND_MAX_MS,
        unit="ms",
        beside=f"p95 {percentile(command_ms, 95):.1f} ms",
    )
    report.headline(
        "the device client with nothing to do",
        f"{idle.cpu_per_minute_s:.3f} CPU s per minute, {idle.memory.resident:.0f} MB resident",
        f"{idle.memory.private:.0f} MB of it its own",
    )
    report.table(["post to subscriber, by", "one event, ms", "p95 ms", f"burst of {BURST}, ms"], rows)


def main() -> int:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    report = Report("The device client", libraries=("awscrt", "awsiotsdk", "msgspec"))
    with tempfile.TemporaryDirectory(prefix="pinthesky-bench-") as folder:
        measure(report, Path(folder), quick=options.quick)
    report.note("Medians (least–most).")
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
