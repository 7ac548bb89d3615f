"""The jobs topics of one thing: questions that are asked until they are answered, and what the service says unasked.

Everything that arrives, arrives in the connection's thread and is put into a bounded mailbox; one other thread takes it
out, waiting on a descriptor, so that it can wait for a child process at the same time.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import random
import secrets
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec
from msgspec import Struct

from pinthesky.errors import InvalidInput, NotAuthorized
from pinthesky.link.ports import Mqtt
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus

logger = logging.getLogger(__name__)

PAYLOAD_MAX = 131_072
MAILBOX_MAX = 64
BACKOFF_MAX = 16
"""The longest wait for an answer, in first waits."""


class Execution(Struct, frozen=True, rename="camel", kw_only=True):
    """`JobExecution`, as far as it matters here."""

    job_id: JobId
    job_document: Any = None
    status: JobStatus | None = None
    version_number: int | None = None
    execution_number: int = 1
    approximate_seconds_before_timed_out: int | None = None


class ExecutionState(Struct, frozen=True, rename="camel", kw_only=True):
    """`JobExecutionState`: what the service has, in an answer that refuses."""

    status: JobStatus | None = None
    version_number: int | None = None


class _Body(Struct, frozen=True, rename="camel", kw_only=True):
    """Any message of the service."""

    execution: Any = None
    execution_state: Any = None
    timestamp: int | float | None = None
    client_token: str | None = None
    code: str = ""
    message: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """What the service said to a question."""

    token: str
    accepted: bool
    execution: Execution | None = None
    state: ExecutionState | None = None
    at_s: int | None = None
    """The service's clock, in seconds."""
    code: str = ""
    message: str = ""


class NextChanged(Struct, frozen=True, kw_only=True):
    """`notify-next`: another execution is the next one, or none."""

    job_id: str | None


class Connected(Struct, frozen=True):
    """The connection stands again."""


Arrival = Answer | NextChanged | Connected


class Question:
    """One request, published again with the same token until it is answered. For one thread."""

    def __init__(self, topic: str, body: dict[str, Any]) -> None:
        self.token = secrets.token_hex(8)
        self.topic = topic
        self.payload = msgspec.json.encode({**body, "clientToken": self.token})
        self.asked = 0
        self.sent: Future[None] | None = None
        self.due_at = 0.0

    @property
    def is_on_its_way(self) -> bool:
        """Whether it still waits to be sent: then it is not published again."""
        return self.sent is not None and not self.sent.done()


class JobTopics:
    """The mailbox and the questions. `subscribe` once; then everything else in one thread."""

    def __init__(
        self,
        mqtt: Mqtt,
        thing_name: ThingName,
        *,
        answer_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mqtt = mqtt
        self._prefix = f"$aws/things/{thing_name}/jobs/"
        self._answer_timeout_s = answer_timeout_s
        self._clock = clock
        self._mailbox: collections.deque[tuple[str, bytes] | Connected] = collections.deque(maxlen=MAILBOX_MAX)
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._open = True
        self._refused = False
        self._pipe_lock = threading.Lock()

    @property
    def wake_fd(self) -> int:
        """Readable when something has arrived or `wake` was called, until `take`."""
        return self._reader

    def subscribe(self) -> None:
        """Hear what the service says about this thing's jobs."""
        for what in ("notify-next", "start-next/accepted", "start-next/rejected"):
            self._mqtt.subscribe(self._prefix + what, self._receive)
        for what in ("+/update/accepted", "+/update/rejected"):
            self._mqtt.subscribe(self._prefix + what, self._receive)
        self._mqtt.on_connected(lambda: self._put(Connected()))

    def wake(self) -> None:
        """Make `wait` return, from any thread."""
        with self._pipe_lock, contextlib.suppress(BlockingIOError):
            if self._open:
                os.write(self._writer, b"\0")

    def wait(self, timeout_s: float) -> None:
        """Wait until something has arrived, at most so long."""
        select.select([self._reader], [], [], max(0.0, timeout_s))

    def take(self) -> list[Arrival]:
        """What has arrived. What makes no sense is logged and left out."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._reader, 4096):
                pass
        arrived: list[Arrival] = []
        while self._mailbox:
            item = self._mailbox.popleft()
            if isinstance(item, Connected):
                arrived.append(item)
                continue
            try:
                arrived.append(self._parse(*item))
            except (msgspec.MsgspecError, InvalidInput, ValueError, RecursionError) as error:
                logger.warning("Jobs: a message on %s makes no sense: %s", item[0], error)
        return arrived

    def start_next(self) -> Question:
        """Ask for the next execution, and for it to be IN_PROGRESS."""
        return Question(self._prefix + "start-next", {})

    def update(self, job_id: str, body: dict[str, Any]) -> Question:
        """Report an execution's status."""
        return Question(f"{self._prefix}{job_id}/update", {**body, "includeJobExecutionState": True})

    def ask(self, question: Question) -> float:
        """Publish the question if it is due; returns after how many seconds to call again at the latest."""
        if question.is_on_its_way:
            return self._answer_timeout_s  # `wake_fd` tells when that has changed
        now = self._clock()
        if now >= question.due_at:
            wait_s = self._answer_timeout_s * min(BACKOFF_MAX, 2**question.asked)
            question.asked += 1
            # Jitter, so that a fleet that lost the service at once does not come back at once.
            question.due_at = now + wait_s * random.uniform(1.0, 1.25)  # noqa: S311 - no secret
            question.sent = self._mqtt.publish(question.topic, question.payload)
            question.sent.add_done_callback(self._sent)
        return max(0.0, question.due_at - now)

    def hurry(self, question: Question) -> None:
        """The connection stands again: what was sent before and is unanswered is due now."""
        if not question.is_on_its_way:
            question.due_at = 0.0

    def close(self) -> None:
        """Give the pipe back. What arrives afterwards is dropped. Safe to call twice."""
        with self._pipe_lock:
            if self._open:
                self._open = False
                os.close(self._reader)
                os.close(self._writer)

    def _sent(self, sent: Future[None]) -> None:
        error = None if sent.cancelled() else sent.exception()
        refused = isinstance(error, (InvalidInput, NotAuthorized))
        if refused and not self._refused:
            logger.error("Jobs: the broker refuses what is sent: %s", error)
        self._refused = refused
        self.wake()

    def _receive(self, topic: str, payload: bytes) -> None:
        if len(payload) > PAYLOAD_MAX:
            logger.warning("Jobs: a message of %d bytes on %s is not looked at", len(payload), topic)
            return
        self._put((topic, payload))

    def _put(self, item: tuple[str, bytes] | Connected) -> None:
        self._mailbox.append(item)
        self.wake()

    def _parse(self, topic: str, payload: bytes) -> Arrival:
        body = msgspec.json.decode(payload or b"{}", type=_Body, strict=False)
        what = topic.removeprefix(self._prefix)
        if what == "notify-next":
            execution = _execution(body.execution)
            return NextChanged(job_id=None if execution is None else str(execution.job_id))
        state = msgspec.convert(body.execution_state, ExecutionState) if body.execution_state is not None else None
        return Answer(
            token=body.client_token or "",
            accepted=what.endswith("/accepted"),
            execution=_execution(body.execution),
            state=state,
            at_s=_seconds(body.timestamp),
            code=body.code,
            message=body.message[:200],
        )


def _execution(raw: object) -> Execution | None:
    """The execution; none where there is none, or an empty object, which services also send."""
    if not raw:
        return None
    return msgspec.convert(raw, Execution, dec_hook=lambda kind, value: kind.parse(value))


def _seconds(timestamp: float | None) -> int | None:
    """AWS says seconds and, in some of its examples, sends milliseconds."""
    if timestamp is None:
        return None
    return int(timestamp / 1000 if timestamp > 1e11 else timestamp)
