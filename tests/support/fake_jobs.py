"""The jobs topics of AWS IoT as one thing sees them, over a connection in memory that can be cut and can lose messages.

`FakeMqtt` is the client's end; `FakeJobs` is the service behind it, with versions, client tokens, step timers and the
codes of refusals as AWS documents them (developer guide, "Jobs device MQTT API operations").
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from pinthesky.errors import Unavailable
from pinthesky.link.connection import matches

TERMINAL = {"SUCCEEDED", "FAILED", "TIMED_OUT", "REJECTED", "REMOVED", "CANCELED"}
FROM_A_DEVICE = {"IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"}


class FakeMqtt:
    """`Mqtt` without a network. What is published offline fails, or waits where `queues` is set: both are allowed."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.connected = True
        self.queues = False
        self.failed: list[str] = []
        """Topics of what was published offline."""
        self.refusals: list[Exception] = []
        """How the next messages fail."""
        self.published: list[tuple[str, Any]] = []
        self.service: Callable[[str, bytes], None] = lambda topic, payload: None
        self.lose_published = 0
        """So many of the next messages never reach the service, and fail."""
        self.lose_received = 0
        """So many of the next messages of the service never reach the client."""
        self._subscriptions: list[tuple[str, Callable[[str, bytes], None]]] = []
        self._on_connected: list[Callable[[], None]] = []
        self._waiting: list[tuple[str, bytes, Future[None]]] = []

    def publish(self, topic: str, payload: bytes) -> Future[None]:
        sent: Future[None] = Future()
        with self.lock:
            if not self.connected and self.queues:
                self._waiting.append((topic, payload, sent))
                return sent
            if not self.connected:
                self.failed.append(topic)
                sent.set_exception(Unavailable("there is no connection"))
                return sent
        self._send(topic, payload, sent)
        return sent

    def subscribe(self, topic_filter: str, receive: Callable[[str, bytes], None]) -> None:
        self._subscriptions.append((topic_filter, receive))

    def on_connected(self, call: Callable[[], None]) -> None:
        self._on_connected.append(call)
        if self.connected:
            call()

    def forget(self) -> None:
        """The client is gone, with all that it wanted."""
        with self.lock:
            self._subscriptions.clear()
            self._on_connected.clear()
            self._waiting.clear()

    @property
    def waiting(self) -> int:
        """How many messages wait for the connection."""
        return len(self._waiting)

    def disconnect(self) -> None:
        """From now on nothing goes either way."""
        with self.lock:
            self.connected = False

    def connect(self) -> None:
        """The connection is back, and what waited is sent."""
        with self.lock:
            self.connected = True
            waiting, self._waiting = self._waiting, []
        for call in self._on_connected:
            call()
        for topic, payload, sent in waiting:
            self._send(topic, payload, sent)

    def deliver(self, topic: str, document: Any) -> None:
        """A message of the service: JSON, or bytes as they are."""
        with self.lock:
            if not self.connected:
                return
            if self.lose_received:
                self.lose_received -= 1
                return
        payload = document if isinstance(document, bytes) else json.dumps(document).encode()
        for topic_filter, receive in self._subscriptions:
            if matches(topic_filter, topic):
                receive(topic, payload)

    def _send(self, topic: str, payload: bytes, sent: Future[None]) -> None:
        with self.lock:
            self.published.append((topic, json.loads(payload)))
            refusal = self.refusals.pop(0) if self.refusals else None
            lost = self.lose_published > 0
            self.lose_published -= lost
        if refusal is not None:
            sent.set_exception(refusal)
            return
        if lost:
            sent.set_exception(Unavailable("the connection was lost"))
            return
        self.service(topic, payload)
        sent.set_result(None)


@dataclass
class FakeExecution:
    """One execution as the service keeps it."""

    job_id: str
    document: Any
    number: int = 1
    status: str = "QUEUED"
    version: int = 1
    details: dict[str, str] = field(default_factory=dict)
    times_out_in_s: int | None = None
    step_timer_minutes: int | None = None
    statuses: list[str] = field(default_factory=list)
    """Every status that the thing has reported, in order."""


class FakeJobs:
    """The service, for the thing `thing`. `refuse` maps a status to codes with which its next updates are refused."""

    def __init__(self, mqtt: FakeMqtt, thing: str = "garden") -> None:
        self.executions: list[FakeExecution] = []
        self.refuse: dict[str, list[str]] = {}
        self.silent = False
        """Whether nothing is answered."""
        self.now_s = 1_800_000_000
        self._mqtt = mqtt
        self._prefix = f"$aws/things/{thing}/jobs/"
        self._news = threading.Condition(threading.RLock())
        mqtt.service = self._receive

    def create(self, document: Any, job_id: str | None = None, **more: Any) -> FakeExecution:
        """Queue a job and tell the thing if it is the next."""
        with self._news:
            execution = FakeExecution(job_id or f"job-{len(self.executions) + 1}", document, **more)
            was_next = self._next()
            self.executions.append(execution)
        if was_next is None:
            self.notify_next()
        return execution

    def cancel(self, execution: FakeExecution, status: str = "CANCELED", *, quietly: bool = False) -> None:
        """End it at the service, as `CancelJob` with force or a time-out does."""
        self._change(execution, status)
        if not quietly:
            self.notify_next()

    def notify_next(self) -> None:
        """Say what is next."""
        with self._news:
            following = self._next()
            body: dict[str, Any] = {"timestamp": self.now_s}
            if following is not None:
                body["execution"] = self._shown(following)
        self._mqtt.deliver(self._prefix + "notify-next", body)

    def wait_for(self, execution: FakeExecution, *statuses: str, timeout_s: float = 15.0) -> FakeExecution:
        """Wait until it has one of these statuses."""
        self.wait_until(lambda: execution.status in statuses, f"{execution} to be {statuses}", timeout_s)
        return execution

    def wait_until(self, holds: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
        """Wait until something holds; it is looked at with every change, and now and then."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while not holds():
                left_s = deadline - time.monotonic()
                assert left_s > 0.0, f"waited {timeout_s} s for {what}"
                self._news.wait(min(left_s, 0.05))

    def requests(self, operation: str) -> list[Any]:
        """The bodies published to topics that end so."""
        with self._mqtt.lock:
            return [body for topic, body in self._mqtt.published if topic.endswith(operation)]

    def _next(self) -> FakeExecution | None:
        pending = [execution for execution in self.executions if execution.status not in TERMINAL]
        return next((e for e in pending if e.status == "IN_PROGRESS"), pending[0] if pending else None)

    def _receive(self, topic: str, payload: bytes) -> None:
        body = json.loads(payload)
        with self._news:
            if self.silent:
                return
            answer, following_changed = self._answer(topic.removeprefix(self._prefix), body)
        accepted = "code" not in answer
        answer.update(clientToken=body.get("clientToken"), timestamp=self.now_s)
        self._mqtt.deliver(f"{topic}/{'accepted' if accepted else 'rejected'}", answer)
        if following_changed:
            self.notify_next()

    def _answer(self, operation: str, body: Any) -> tuple[dict[str, Any], bool]:
        if operation == "start-next":
            return self._start_next(), False
        job_id, _, verb = operation.partition("/")
        found = [e for e in self.executions if e.job_id == job_id]
        if verb != "update" or not found:
            return {"code": "ResourceNotFound", "message": f"no job {job_id}"}, False
        return self._update(found[-1], body)

    def _start_next(self) -> dict[str, Any]:
        if self.refuse.get("start-next"):
            return {"code": self.refuse["start-next"].pop(0), "message": "not now"}
        following = self._next()
        if following is None:
            return {}
        if following.status == "QUEUED":
            self._change(following, "IN_PROGRESS")
        return {"execution": {**self._shown(following), "jobDocument": following.document}}

    def _update(self, execution: FakeExecution, body: Any) -> tuple[dict[str, Any], bool]:
        status = body["status"]
        state = {"status": execution.status, "versionNumber": execution.version, "statusDetails": execution.details}
        if self.refuse.get(status):
            return {"code": self.refuse[status].pop(0), "message": f"{status} is not welcome"}, False
        if execution.status in TERMINAL or status not in FROM_A_DEVICE:
            return {"code": "InvalidStateTransition", "message": "too late", "executionState": state}, False
        if body.get("expectedVersion", execution.version) != execution.version:
            return {"code": "VersionMismatch", "message": "another version", "executionState": state}, False
        wrong = [v for v in body.get("statusDetails", {}).values() if not v or len(v.encode("utf-16-le")) > 2048]
        if wrong:
            return {"code": "InvalidRequest", "message": f"details have 1 to 1024 characters: {wrong}"}, False
        execution.details = body.get("statusDetails", execution.details)
        execution.step_timer_minutes = body.get("stepTimeoutInMinutes", execution.step_timer_minutes)
        execution.statuses.append(status)
        self._change(execution, status)
        state = {"status": execution.status, "versionNumber": execution.version, "statusDetails": execution.details}
        return ({"executionState": state} if body.get("includeJobExecutionState") else {}), status in TERMINAL

    def _change(self, execution: FakeExecution, status: str) -> None:
        with self._news:
            execution.status = status
            execution.version += 1
            self._news.notify_all()

    def _shown(self, execution: FakeExecution) -> dict[str, Any]:
        shown = {
            "jobId": execution.job_id,
            "status": execution.status,
            "queuedAt": self.now_s,
            "versionNumber": execution.version,
            "executionNumber": execution.number,
        }
        if execution.times_out_in_s is not None:
            shown["approximateSecondsBeforeTimedOut"] = execution.times_out_in_s
        return shown
