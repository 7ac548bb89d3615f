"""What things publish to the hub: taken from the broker, served in turn, answered after the commit.

One worker serves everybody. It takes messages thing by thing in turn, so one that floods waits for itself alone, and
commits a batch of them as one transaction, so that many things do not each wait for the disk. Only then are the
answers published, and only then does the broker hear that the messages are done with.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pinthesky.errors import InvalidInput, InvariantBroken, PinTheSkyError, Unavailable
from pinthesky.hub.job_requests import JobRequests
from pinthesky.hub.jobs import Jobs
from pinthesky.hub.mqtt import Delivery
from pinthesky.hub.shadow_document import decode, encode
from pinthesky.hub.shadows import Shadows
from pinthesky.hub.thing_changes import Change, Publish, ThingChanges, TooManyRequests
from pinthesky.machine.permanent_thread import Crash, PermanentThread
from pinthesky.model.identifiers import ThingName

log = logging.getLogger(__name__)

TOPIC_FILTERS = (
    "$aws/things/+/shadow/+",
    "$aws/things/+/shadow/name/+/+",
    "$aws/things/+/jobs/+",
    "$aws/things/+/jobs/+/+",
)
WAITING_PER_THING_MAX = 32
"""Most messages of a thing that wait; AWS admits 10 in flight, and a thing that was offline may bring more at once."""
BATCH_MAX = 64
"""Most messages in one transaction."""
TICK_S = 1.0
REFUSE_EVERY_S = 1.0
_ANSWERS = ("accepted", "rejected", "delta", "documents", "notify", "notify-next")


@dataclass(frozen=True)
class _Request:
    thing: ThingName
    service: str
    operation: tuple[str, ...]
    delivery: Delivery


class _Handler(Protocol):
    def handle(self, change: Change, thing: ThingName, operation: Sequence[str], *, payload: bytes) -> None: ...
    def rejection(self, error: PinTheSkyError, request: Any) -> dict[str, Any]: ...


class TurnQueue:
    """Messages by thing: each thing's in order, the things in turn. Bounded for each thing."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[ThingName, deque[_Request]] = {}

    def put(self, request: _Request) -> bool:
        """Let a message wait; False where too many of that thing's do already."""
        line = self._waiting.setdefault(request.thing, deque())
        if len(line) >= self._limit:
            return False
        line.append(request)
        return True

    def take(self, most: int) -> list[_Request]:
        """The next messages: one of each thing, then the second of each, and so on."""
        taken: list[_Request] = []
        while self._waiting and len(taken) < most:
            thing = next(iter(self._waiting))
            line = self._waiting.pop(thing)
            taken.append(line.popleft())
            if line:
                self._waiting[thing] = line  # behind the others
        return taken

    def __bool__(self) -> bool:
        return bool(self._waiting)


class Things(PermanentThread):
    """The worker between the broker and the things' state.

    It ends after the batch in work; what waits then stays with the broker, and is served after the next start.
    """

    def __init__(
        self,
        changes: ThingChanges,
        *,
        shadows: Shadows,
        jobs: Jobs,
        is_active: Callable[[ThingName], bool],
        publish: Publish,
        on_crash: Crash,
    ) -> None:
        """`is_active` tells whether a thing is registered; what others publish is dropped."""
        super().__init__("things", on_crash)
        self._changes = changes
        self._shadows = shadows
        self._jobs = jobs
        self._handlers: dict[str, _Handler] = {"shadow": shadows, "jobs": JobRequests(jobs)}
        self._is_active = is_active
        self._publish = publish
        self._queue = TurnQueue(WAITING_PER_THING_MAX)
        self._news = threading.Condition()
        self._ticked_at_s = time.monotonic()
        self._is_failing = False
        self._refused_at_s: dict[ThingName, float] = {}

    def wake(self) -> None:
        """See PermanentThread."""
        with self._news:
            self._news.notify()

    def step(self) -> None:
        """See PermanentThread. One batch, and what is due."""
        with self._news:
            left_s = self._ticked_at_s + TICK_S - time.monotonic()
            if not (self.stopping or self._queue or left_s <= 0):
                self._news.wait(left_s)
            batch = [] if self.stopping else self._queue.take(BATCH_MAX)
        if batch:
            self._serve(batch)
        if time.monotonic() >= self._ticked_at_s + TICK_S:
            self._ticked_at_s = time.monotonic()
            self._tick()

    def receive(self, delivery: Delivery) -> None:
        """Take a message; called by the connection for each of `TOPIC_FILTERS`. Does not block."""
        request = _addressed(delivery)
        if request is None:
            delivery.done()
            return
        with self._news:
            is_waiting = self._queue.put(request)
            self._news.notify()
        if not is_waiting:
            self._refuse(request)

    def forget(self, thing: ThingName) -> None:
        """A thing is no more: its shadows go, its jobs end. Bears to be called twice. Raises Unavailable."""
        with self._changes.begin() as change:
            self._shadows.forget(change.connection, thing)
            self._jobs.forget(change, thing)
        self._refused_at_s.pop(thing, None)

    def _serve(self, batch: list[_Request]) -> None:
        try:
            known = [request for request in batch if self._is_active(request.thing)]
            with self._changes.begin() as change:
                for request in known:
                    self._handlers[request.service].handle(
                        change, request.thing, request.operation, payload=request.delivery.payload
                    )
            self._note(None)
        except (Unavailable, InvariantBroken) as error:
            self._note(error)
            self._give_up(batch, error)
        except Exception as error:
            if len(batch) > 1:  # only one of them is at fault
                for request in batch:
                    self._serve([request])
                return
            log.exception("A message on %s is given up", batch[0].delivery.topic)
            self._give_up(batch, InvariantBroken(str(error)))
        else:
            for request in batch:
                request.delivery.done()

    def _tick(self) -> None:
        try:
            self._jobs.tick()
        except (Unavailable, InvariantBroken) as error:
            self._note(error)
        except Exception:
            log.exception("What is due of jobs could not be done")

    def _note(self, error: PinTheSkyError | None) -> None:
        """Say once that nothing can be kept, and once that it can again."""
        if error is not None and not self._is_failing:
            log.error("What things say is refused, since it cannot be kept: %s", error)
        if error is None and self._is_failing:
            log.info("What things say is kept again")
        self._is_failing = error is not None

    def _give_up(self, batch: list[_Request], error: PinTheSkyError) -> None:
        for request in batch:
            self._reject(request, error)
            request.delivery.done()

    def _refuse(self, request: _Request) -> None:
        """Too many wait. Said once a second, or a flood of messages would become a flood of answers."""
        now_s = time.monotonic()
        if now_s - self._refused_at_s.get(request.thing, 0.0) >= REFUSE_EVERY_S:
            self._refused_at_s[request.thing] = now_s
            self._reject(request, TooManyRequests("Too many requests are waiting"))
        request.delivery.done()

    def _reject(self, request: _Request, error: PinTheSkyError) -> None:
        try:
            said = decode(request.delivery.payload)
        except InvalidInput:
            said = None
        answer = self._handlers[request.service].rejection(error, said)
        # where the broker takes nothing either, who asked will ask again
        with contextlib.suppress(Unavailable):
            self._publish(f"{request.delivery.topic}/rejected", encode(answer))


def _addressed(delivery: Delivery) -> _Request | None:
    """Whose message it is, and what for, by its topic alone; None for what is no request."""
    _, _, thing, service, *operation = delivery.topic.split("/")
    if operation[-1] in _ANSWERS:
        return None
    try:
        return _Request(ThingName(thing), service, tuple(operation), delivery)
    except InvalidInput:
        return None
