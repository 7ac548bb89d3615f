#!/usr/bin/env python3
"""How fast the hub takes objects in, next to moto's server in the same run.

    python benchmarks/hub_objects.py [--quick]

Four unmodified boto3 clients store pictures and clips at once. The hub is asked over TLS, verifies signatures and
checksums, and answers when the disk has the object; moto is asked over plain HTTP, verifies nothing and keeps all in
memory. The disk's own pace is measured beside them: files of the same size, written and synced one after the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import boto3
from botocore.config import Config

from benchmarks.measuring import ROOT, Report, arguments, cpu_s, memory_of, percentile

CLIENTS = 4
BUCKET = "pits-media"
PROGRAM = "tests.support.hub_objects_process"
IDLE_S = 10.0


class Kind(NamedTuple):
    """What is stored: how many, of which size."""

    name: str
    number: int
    size: int


KINDS = (Kind("pictures of 100 KB", 400, 100_000), Kind("clips of 5 MB", 60, 5_000_000))


class Store(NamedTuple):
    """A running server, and how clients of it are made."""

    name: str
    pid: int
    client: dict[str, Any]


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[Store]:
    """The hub's objects in a process of their own."""
    with subprocess.Popen(
        [sys.executable, "-m", PROGRAM, str(folder), "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            told = json.loads(process.stdout.readline() if process.stdout else "")
            key = told["key"]
            yield Store(
                "hub: TLS, verified, synced",
                process.pid,
                {
                    "endpoint_url": told["url"],
                    "verify": told["ca"],
                    "aws_access_key_id": key["access_key_id"],
                    "aws_secret_access_key": key["secret_access_key"],
                    "aws_session_token": key["session_token"],
                },
            )
        finally:
            process.terminate()


@contextlib.contextmanager
def moto() -> Iterator[Store]:
    """Moto's server, with the bucket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            options = {
                "endpoint_url": f"http://127.0.0.1:{port}",
                "aws_access_key_id": "a",
                "aws_secret_access_key": "b",
            }
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            new_client(options).create_bucket(Bucket=BUCKET)
            yield Store("moto: plain, unverified, memory", process.pid, options)
        finally:
            process.terminate()


def new_client(options: dict[str, Any]) -> Any:
    """boto3's client with its defaults."""
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    return boto3.Session(region_name="us-east-1").client("s3", config=config, **options)


class Run(NamedTuple):
    """What storing one kind took."""

    wall_s: float
    server_cpu_s: float
    times_s: list[float]


def measure(store: Store, kind: Kind, *, start: int) -> Run:
    """Store it by all clients at once. `start` makes keys new."""
    clients = [new_client(store.client) for _ in range(CLIENTS)]
    content = os.urandom(kind.size)
    times_s: list[float] = []

    def upload(client: Any, numbers: Sequence[int]) -> None:
        for number in numbers:
            began_s = time.monotonic()
            key = f"motion_videos/garden/{1800000000 + number}-{start + number:032x}.motion.mp4"
            client.put_object(Bucket=BUCKET, Key=key, Body=content, IfNoneMatch="*", Tagging="retention=standard")
            times_s.append(time.monotonic() - began_s)

    threads = [
        threading.Thread(target=upload, args=(client, range(place, kind.number, CLIENTS)))
        for place, client in enumerate(clients)
    ]
    began_s, used_s = time.monotonic(), cpu_s(store.pid)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s, used_s = time.monotonic() - began_s, cpu_s(store.pid) - used_s
    for client in clients:
        client.close()
    if len(times_s) != kind.number:
        raise SystemExit(f"{store.name}: {kind.number - len(times_s)} objects were refused")
    return Run(wall_s, used_s, times_s)


def measure_disk(folder: Path, kind: Kind) -> float:
    """Seconds for writing and syncing files of this kind, one after the other."""
    content = os.urandom(kind.size)
    folder.mkdir()
    began_s = time.monotonic()
    for number in range(kind.number):
        with (folder / str(number)).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return time.monotonic() - began_s


def pace(kind: Kind, run: Run) -> str:
    """Objects and megabytes in a second."""
    return f"{kind.number / run.wall_s:.0f}/s, {kind.number * kind.size / run.wall_s / 1e6:.0f} MB/s"


def row(name: str, kind: Kind, run: Run) -> list[str]:
    """One line of the table."""
    return [
        f"{kind.name}, {name}",
        f"{kind.number / run.wall_s:.0f}",
        f"{kind.number * kind.size / run.wall_s / 1e6:.0f}",
        f"{percentile(run.times_s, 50) * 1000:.0f}",
        f"{percentile(run.times_s, 95) * 1000:.0f}",
        f"{run.server_cpu_s / kind.number * 1000:.1f}",
    ]


def main() -> int:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    kinds = [kind._replace(number=8) for kind in KINDS] if options.quick else KINDS
    report = Report("Objects into the hub", libraries=("boto3", "moto", "starlette", "uvicorn"))
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with hub(folder / "hub") as ours, moto() as theirs:
            before_s, before = cpu_s(ours.pid), time.monotonic()
            time.sleep(0.5 if options.quick else IDLE_S)
            idle = (cpu_s(ours.pid) - before_s) / (time.monotonic() - before)
            fresh = memory_of(ours.pid).resident
            for start, kind in enumerate(kinds):
                disk_s = measure_disk(folder / f"disk-{start}", kind)
                found = [measure(store, kind, start=start * 10_000) for store in (ours, theirs)]
                rows += [row(store.name, kind, run) for store, run in zip((ours, theirs), found, strict=True)]
                rows.append(
                    [
                        f"{kind.name}, the disk alone",
                        f"{kind.number / disk_s:.0f}",
                        f"{kind.number * kind.size / disk_s / 1e6:.0f}",
                        *["-"] * 3,
                    ]
                )
                mine, others = (pace(kind, run) for run in found)
                report.headline(f"hub takes in {kind.name}", mine, f"moto {others}")
            memory = memory_of(ours.pid)
    report.table(["stored by four clients", "per s", "MB/s", "p50 ms", "p95 ms", "server CPU ms each"], rows)
    report.note(
        f"Hub's process (objects and credentials alone): {idle * 100:.2f} % of a core while idle; {fresh:.0f} MB "
        f"resident before, {memory.resident:.0f} MB after, {memory.peak:.0f} MB at most. "
        "Clients and servers share the machine."
    )
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
