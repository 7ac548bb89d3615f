#!/usr/bin/env python3
"""The planes on the hub: requests per second, the way of an event to consoles, idle sockets.

    python benchmarks/planes_hub.py [--quick]

A whole hub as a process, asked over TLS as consoles do, by four people at once who each keep a connection. Events: a
camera's client publishes over MQTT with TLS, and consoles at 100 sockets note when they hear of it. Then a whole camera
(daemon, drawn scene, device client) sees something move, and one console notes when it is told; both read one clock.
Clients, camera and hub share the machine.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from benchmarks.measuring import Report, arguments, cpu_s, memory_of, percentile
from pinthesky.hub.foundation import Foundation
from pinthesky.model.identifiers import MediaKey, ThingName
from pinthesky.planes.records import rows
from pinthesky.planes.records.clips import Clip, VideoId
from tests.support.fleet import Fleet
from tests.support.hub_console import Console, ConsoleSocket
from tests.support.hub_process import Camera, HubProcess, add_camera

CAMERAS = [f"camera-{number}" for number in range(8)]
PEOPLE = ("anna", "ben", "cora")
"""Members; with the owner they are four."""
QUIET_S, WALK_S = 6, 3
MOVE_TO_PUSH_P95_S = 1.0
SPACING_S = 20

Row = list[str]


class Hub:
    """A running hub with clips, cameras and people."""

    def __init__(self, folder: Path, clips: int) -> None:
        self.process = HubProcess(folder)
        self.cameras = [add_camera(self.process.data, name, folder / name) for name in CAMERAS]
        self.process.start()
        self.process.wait_ready()
        self.port = self.process.console_port
        owner = Console(self.process.data, self.port)
        self.consoles = [owner]
        for camera in CAMERAS:
            assert owner.ask("POST", "/cameras", {"thingName": camera}).status_code == 201
        for name in PEOPLE:
            email = f"{name}@example.com"
            assert owner.ask("POST", "/people", {"email": email, "role": "member"}).status_code == 201
            self.consoles.append(Console(self.process.data, self.port, email=email))
        self.tls = ssl.create_default_context(cafile=str(self.process.data / "authority" / "ca.crt"))
        with closing(Foundation.lay(self.process.data)) as foundation, foundation.database.transaction() as connection:
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", clip_rows(clips))

    def close(self) -> None:
        """Stop it."""
        for console in self.consoles:
            console.close()
        assert self.process.stop() == 0


def clip_rows(number: int) -> Iterator[tuple[str, str, bytes, str, str, int, int]]:
    """Rows of the table, as ingest writes them: clips in turn of all cameras, the last of them now."""
    now_s = int(time.time())
    for count in range(number):
        thing = ThingName(CAMERAS[count % len(CAMERAS)])
        epoch_s = now_s - (number - count) * SPACING_S
        video = VideoId(f"{epoch_s}-{count:032x}.motion.mp4")
        clip = Clip(
            thing_name=thing,
            video=video,
            media_key=MediaKey(f"motion_videos/{thing}/{video}"),
            started_at=epoch_s * 1000,
            stored_at=epoch_s * 1000,
            size=4_000_000,
            duration_seconds=30.0,
            event_id=f"{count:032x}",
        )
        index_sort = f"{clip.started_at:013d}#{thing}#{video}"
        yield f"clip#{thing}", str(video), rows.encode(clip), "clip", index_sort, now_s + 30 * 86_400, 1


def ask_many(hub: Hub, path: str, count: int) -> list[float]:
    """Milliseconds of `count` requests of each of the four people, all at once."""
    took: list[float] = []
    ready = threading.Barrier(len(hub.consoles))

    def ask(console: Console) -> None:
        connection = http.client.HTTPSConnection("localhost", hub.port, context=hub.tls, timeout=20)
        headers = {"Authorization": f"Bearer {console.tokens['access_token']}"}
        connection.connect()
        ready.wait()
        for _ in range(count):
            began_s = time.perf_counter()
            connection.request("GET", f"/api{path}", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            took.append((time.perf_counter() - began_s) * 1000)
            assert answer.status == 200, (answer.status, body[:200])
        connection.close()

    threads = [threading.Thread(target=ask, args=(console,)) for console in hub.consoles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def requests(hub: Hub, report: Report, *, clips: int, count: int) -> None:
    """Requests per second, and how long each takes."""
    table: list[Row] = []
    for what, path in (
        ("list videos, 20 a page", "/videos?limit=20"),
        ("videos of one camera", f"/cameras/{CAMERAS[0]}/videos?limit=20"),
        ("get configuration", f"/cameras/{CAMERAS[0]}/configuration"),
    ):
        ask_many(hub, path, 5)
        cpu_before, began_s = cpu_s(hub.process.pid), time.monotonic()
        took = ask_many(hub, path, count)
        wall_s, spent_s = time.monotonic() - began_s, cpu_s(hub.process.pid) - cpu_before
        per_s = len(took) / wall_s
        each_ms = spent_s / len(took) * 1000
        table.append(
            [what, f"{per_s:.0f}", f"{percentile(took, 50):.1f}", f"{percentile(took, 95):.1f}", f"{each_ms:.2f}"]
        )
        report.headline(f"hub: {what}", f"{per_s:.0f} requests/s, p95 {percentile(took, 95):.1f} ms")
    report.table([f"four people at once, {clips} clips", "per s", "p50 ms", "p95 ms", "hub CPU ms each"], table)


def publisher(hub: Hub, camera: Camera) -> tuple[Any, Callable[[], tuple[str, float]]]:
    """An MQTT client, and what publishes a motion: its event id, and when that was begun."""
    client = hub.process.client(camera)
    client.connect()

    def publish() -> tuple[str, float]:
        event = uuid.uuid4().hex
        said = {"name": "motion_start", "thing_name": camera.thing, "timestamp": time.time(), "score": 2.0}
        began_s = time.monotonic()
        client.publish(f"pinthesky/events/{camera.thing}/output", json.dumps({**said, "event_id": event}))
        return event, began_s

    return client, publish


async def heard_at(hub: Hub, sockets: int, events: int) -> list[list[float]]:
    """For each event: after how many seconds each of the sockets has heard of it, in their order."""
    tickets = [
        hub.consoles[number % len(hub.consoles)].ask("POST", "/tokens").json()["token"] for number in range(sockets)
    ]
    arrived: dict[str, list[float]] = {}
    connections: list[ClientConnection] = []

    async def listen(connection: ClientConnection) -> None:
        async for message in connection:
            event = json.loads(message).get("event", {}).get("eventId")
            arrived.setdefault(event, []).append(time.monotonic())

    for ticket in tickets:
        address = f"wss://localhost:{hub.port}/socket?Authorization={quote(ticket)}"
        connections.append(await connect(address, ssl=hub.tls, subprotocols=[Subprotocol("manager")], proxy=None))
    listening = [asyncio.create_task(listen(connection)) for connection in connections]
    client, publish = await asyncio.to_thread(publisher, hub, hub.cameras[0])
    found = []
    for _ in range(events):
        event, began_s = await asyncio.to_thread(publish)
        deadline = time.monotonic() + 20
        while len(arrived.get(event, [])) < sockets:
            assert time.monotonic() < deadline, f"{len(arrived.get(event, []))} of {sockets} have heard"
            await asyncio.sleep(0.005)
        found.append(sorted(at_s - began_s for at_s in arrived[event]))
    await asyncio.to_thread(client.close)
    for connection in connections:
        await connection.close()
    await asyncio.gather(*listening)
    return found


def fan_out(hub: Hub, report: Report, *, sockets: int, events: int) -> None:
    """An event to many consoles."""
    heard = [[at_s * 1000 for at_s in each] for each in asyncio.run(heard_at(hub, sockets, events))]
    each = [at_ms for one in heard for at_ms in one]
    table = [
        [name, f"{percentile(values, 50):.0f}", f"{percentile(values, 95):.0f}"]
        for name, values in (
            ("to the first", [one[0] for one in heard]),
            ("to each", each),
            ("to the last", [one[-1] for one in heard]),
        )
    ]
    report.table([f"a camera's event to {sockets} sockets, {events} events", "p50 ms", "p95 ms"], table)
    measured = f"p50 {percentile(each, 50):.0f} ms, p95 {percentile(each, 95):.0f} ms"
    report.headline(f"a camera's event to {sockets} sockets", measured)


async def idle(hub: Hub, sockets: int) -> tuple[float, float, float]:
    """Open sockets that say nothing: seconds until all are open, MB they take, and CPU of a second with them."""
    before = memory_of(hub.process.pid).resident
    began_s = time.monotonic()
    connections = []
    for number in range(sockets):
        ticket = hub.consoles[number % len(hub.consoles)].ask("POST", "/tokens").json()["token"]
        address = f"wss://localhost:{hub.port}/socket?Authorization={quote(ticket)}"
        connections.append(await connect(address, ssl=hub.tls, subprotocols=[Subprotocol("manager")], proxy=None))
    opened_s = time.monotonic() - began_s
    grown = memory_of(hub.process.pid).resident - before
    cpu_before = cpu_s(hub.process.pid)
    watched_s = 5.0
    await asyncio.sleep(watched_s)
    spent = (cpu_s(hub.process.pid) - cpu_before) / watched_s
    for connection in connections:
        await connection.close()
    return opened_s, grown, spent


@contextmanager
def moving_camera(folder: Path) -> Iterator[tuple[Fleet, float]]:
    """A hub and a whole camera in front of which somebody walks again and again, from a monotonic second on."""
    fleet = Fleet(folder)
    try:
        epoch_s = int(time.monotonic())
        scene = f"synthetic:?script=quiet:{QUIET_S},walk:{WALK_S}&loop=1&epoch={epoch_s}"
        fleet.add("garden", scene=scene).start()
        yield fleet, epoch_s + QUIET_S
    finally:
        fleet.close()


def move_to_push(folder: Path, report: Report, moves: int) -> None:
    """Somebody walks into the picture: how long until a connected console is told."""
    wall_s = time.time() - time.monotonic()
    with moving_camera(folder) as (fleet, first_s):
        console = Console(fleet.hub.data, fleet.hub.console_port)
        socket = ConsoleSocket(console, fleet.hub.console_port, fleet.hub.data)
        walked_ms: list[float] = []
        seen_ms: list[float] = []
        known: set[str] = set()

        def is_new(message: dict[str, Any]) -> bool:
            event = message.get("event", {})
            return event.get("type") == "motion_started" and event["eventId"] not in known

        while len(seen_ms) < moves:
            event = socket.wait(is_new, "a motion", 60)["event"]
            known.add(event["eventId"])
            arrived_s = socket.arrived_at[-1]
            seen_ms.append(arrived_s * 1000 - event["time"])
            walked_ms.append((arrived_s - wall_s - first_s) % (QUIET_S + WALK_S) * 1000)
        socket.close()
        console.close()
    report.table(
        [f"{moves} walks before a drawn camera; the console is told", "p50 ms", "p95 ms", "most ms"],
        [
            [what, *(f"{figure:.0f}" for figure in (percentile(ms, 50), percentile(ms, 95), max(ms)))]
            for what, ms in (("after the walk begins", walked_ms), ("after the camera sees motion", seen_ms))
        ],
    )
    report.note("A walk begins at the edge of the picture, so for its first moments there is nothing to be seen.")
    p95_s = percentile(walked_ms, 95) / 1000
    report.judge("from a walk before the camera to the console's socket, p95", p95_s, MOVE_TO_PUSH_P95_S, unit="s")


def main() -> int:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    clips, count, sockets, events, moves = (1000, 10, 8, 2, 1) if options.quick else (100_000, 300, 100, 50, 15)
    report = Report("The planes on the hub", libraries=("msgspec", "uvicorn", "websockets"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "many").mkdir()
        hub = Hub(folder / "many", clips)
        try:
            requests(hub, report, clips=clips, count=count)
            opened_s, grown, spent = asyncio.run(idle(hub, sockets))
            fan_out(hub, report, sockets=sockets, events=events)
            report.note(
                f"{sockets} idle sockets over TLS: opened in {opened_s:.1f} s, {grown * 1000 / sockets:.0f} KB each, "
                f"{spent * 100:.1f} % of a core."
            )
        finally:
            hub.close()
        (folder / "fleet").mkdir()
        move_to_push(folder / "fleet", report, moves)
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
