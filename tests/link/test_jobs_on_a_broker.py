"""Jobs over a real broker, with the rules that a hub has, and a real connection."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from pinthesky.link.connection import Connection
from pinthesky.link.job_handlers import JobsSettings
from pinthesky.link.jobs import Jobs
from pinthesky.model.identifiers import ThingName
from tests.support.broker import Broker, MqttClient
from tests.support.daemon_process import running
from tests.support.fake_jobs import FakeJobs
from tests.support.link_client import ClientProcess, ThingFolder


class ServiceEnd(MqttClient):
    """What `FakeJobs` needs of a connection, by the cloud's client: it answers in a thread of its own."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.lock = threading.RLock()
        self.published: list[tuple[str, Any]] = []
        self.service: Callable[[str, bytes], None] = lambda topic, payload: None
        self._requests: queue.Queue[tuple[str, bytes] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self.connect()
        self.subscribe("$aws/things/garden/jobs/start-next", "$aws/things/garden/jobs/+/update")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self._thread.join(10.0)
        self.close()

    def deliver(self, topic: str, document: Any) -> None:
        self.publish(topic, document)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        self._requests.put((message.topic, message.payload))

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            with self.lock:
                self.published.append((request[0], json.loads(request[1])))
            self.service(*request)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Broker, Connection, Path]]:
    handlers = tmp_path / "handlers"
    handlers.mkdir(mode=0o700)
    crashes: list[object] = []
    with Broker(tmp_path, persistent=True) as broker:
        folder = ThingFolder(tmp_path / "thing", broker)
        connection = Connection(folder.configuration(), on_crash=lambda *crash: crashes.append(crash))
        yield broker, connection, handlers
    assert not crashes


def test_jobs_run_and_their_ends_arrive_though_the_broker_dies_meanwhile(place, tmp_path):
    broker, connection, handlers = place
    go, out = tmp_path / "go", tmp_path / "out"
    script = f"#!/bin/sh\necho $2 >> {out}; while [ ! -e {go} ]; do sleep 0.02; done; echo done\n"
    (handlers / "wait.sh").write_text(script)
    (handlers / "wait.sh").chmod(0o700)
    settings = JobsSettings(handlers, answer_timeout_s=1.0)
    jobs = Jobs(connection, thing_name=ThingName("garden"), settings=settings, state_dir=tmp_path / "state")
    with ServiceEnd(broker) as end:
        cloud = FakeJobs(end)  # type: ignore[arg-type] # it uses of it what ServiceEnd has
        jobs.start()
        connection.start()
        try:
            first, second = (cloud.create({"operation": "wait.sh", "args": [n], "includeStdOut": True}) for n in "12")
            cloud.wait_until(lambda: first.statuses == ["IN_PROGRESS"], "the first heartbeat")
            answered = "Sending PUBLISH to garden (d0, q1, r0, m2"
            cloud.wait_until(lambda: answered in broker.log.read_text(), "its answer to arrive")
            broker.kill()
            go.touch()
            cloud.wait_until(lambda: "SUCCEEDED" in (tmp_path / "state" / "jobs.json").read_text(), "its end")
            broker.start()
            cloud.wait_for(first, "SUCCEEDED", timeout_s=30.0)
            cloud.wait_for(second, "SUCCEEDED", timeout_s=30.0)
        finally:
            assert jobs.stop(10.0)
            assert connection.stop(10.0)
    assert out.read_text().split() == ["1", "2"]
    assert second.details == {"reason": "1 step done", "stdout": "done\n"}


def test_a_job_goes_on_at_its_step_after_kill_9_of_the_device_client(tmp_path):
    handlers, out, go = tmp_path / "handlers", tmp_path / "out", tmp_path / "go"
    handlers.mkdir(mode=0o700)
    for name, wait in (("first", ""), ("second", f"while [ ! -e {go} ]; do sleep 0.02; done; ")):
        (handlers / name).write_text(f"#!/bin/sh\necho {name} >> {out}; {wait}echo {name} done\n")
        (handlers / name).chmod(0o700)
    steps = [
        {"action": {"name": name, "type": "runHandler", "input": {"handler": name, "path": "default"}}}
        for name in ("first", "second")
    ]
    with Broker(tmp_path) as broker, ServiceEnd(broker) as end:
        thing = ThingFolder(tmp_path / "thing", broker)
        thing.document["jobs"] = {"enabled": True, "handler-directory": str(handlers)}
        cloud = FakeJobs(end)  # type: ignore[arg-type] # it uses of it what ServiceEnd has
        job = cloud.create({"version": "1.0", "includeStdOut": True, "steps": steps})
        process = ClientProcess(thing)
        with running(process):
            cloud.wait_until(lambda: out.exists() and "second" in out.read_text(), "the second step")
            process.kill()
            go.touch()
            process.start()
            cloud.wait_for(job, "SUCCEEDED", timeout_s=30.0)
            assert process.stop() == 0
    assert out.read_text().split() == ["first", "second", "second"], "what had ended is not repeated"
    assert job.details == {"reason": "all 2 steps done", "stdout": "first done\nsecond done\n"}
