"""What the device tells the cloud, through the file that the device client publishes.

The file is a slot that the client reads at intervals of 500 ms: two writes closer than that lose the first. So writes
are WRITE_INTERVAL_S apart, the start of motion goes first, and what waits meanwhile goes together.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from pinthesky.device.ports import Clock
from pinthesky.machine.slot_file import write_slot
from pinthesky.model import events
from pinthesky.model.events import PAYLOAD_MAX
from pinthesky.model.identifiers import ThingName

logger = logging.getLogger(__name__)

WRITE_INTERVAL_S = 0.6
MOTION_STANDS_S = 1.5
"""How long the start of motion stays in the file before anything less urgent: a busy client reads it late."""
WRITE_RETRY_S = 5.0
WAITING_MAX = 1000
WAITING_BYTES_MAX = 1_000_000
"""Most events, and bytes of them, that wait beside the starts of motion. The oldest is dropped first."""
MOTION_WAITING_MAX = 10_000
"""Starts of motion are not dropped for room: these are the starts of a day in which the file could not be written."""

_BATCH_OVERHEAD = len(events.encode_batch([]))


def _payload(waiting: Iterable[bytes]) -> tuple[bytes, int]:
    """As many of the first encoded events as one publish takes, and their number. A single one travels bare."""
    taken: list[bytes] = []
    size = _BATCH_OVERHEAD
    for encoded in waiting:
        size += len(encoded) + (1 if taken else 0)
        if taken and size > PAYLOAD_MAX:
            break
        taken.append(encoded)
    return (taken[0] if len(taken) == 1 else events.encode_batch(taken)), len(taken)


class WaitingEvents:
    """What waits to be written: the starts of motion, the latest health report, and everything else, all bounded."""

    def __init__(self) -> None:
        self._motion: deque[bytes] = deque()
        self._others: deque[bytes] = deque()
        self._others_bytes = 0
        self._health: Optional[bytes] = None
        self._dropping = False
        self.dropped = 0
        """Events that were never written, since the start."""

    def post(self, event: events.AnyEvent) -> None:
        """Queue an event. A health report takes the place of one that still waits."""
        encoded = events.encode(event)
        if len(encoded) > PAYLOAD_MAX:
            self.dropped += 1
            logger.error("%s of %d bytes is too large to be published", type(event).__name__, len(encoded))
        elif isinstance(event, events.MotionStart):
            self._motion.append(encoded)
            if len(self._motion) > MOTION_WAITING_MAX:
                self._motion.popleft()
                self._count_dropped()
        elif isinstance(event, events.HealthEnd):
            self._health = encoded
        else:
            self._others.append(encoded)
            self._others_bytes += len(encoded)
            while len(self._others) > WAITING_MAX or self._others_bytes > WAITING_BYTES_MAX:
                self._others_bytes -= len(self._others.popleft())
                self._count_dropped()

    @property
    def waiting(self) -> int:
        """Events that were not written yet."""
        return len(self._motion) + len(self._others) + (self._health is not None)

    def _take(self) -> None:
        """Forget the first of what waits: it is written."""
        if self._motion:
            self._motion.popleft()
        elif self._others:
            self._others_bytes -= len(self._others.popleft())
        else:
            self._health = None

    def _count_dropped(self) -> None:
        self.dropped += 1
        if not self._dropping:
            logger.warning("More events wait than are kept; the oldest are dropped")
        self._dropping = True


class EventOutput(WaitingEvents):
    """Paces events into the publish file. Belongs to one thread, which calls `flush` whenever `due_in` says 0."""

    def __init__(self, path: Path, *, clock: Clock, thing_name: ThingName) -> None:
        super().__init__()
        self._path = path
        self._clock = clock
        self._thing_name = thing_name
        self._not_before_s = self._others_not_before_s = float("-inf")
        self._failing = False

    def prepare(self) -> None:
        """See to it that the file holds something before the client looks for it. Raises OSError.

        The client publishes what it finds at each of its starts, and fails on an empty or missing file. What an
        earlier run left is as good as anything: receivers know its event already. Otherwise the file begins with
        `recording_change` to false, which is true of a daemon that is starting.
        """
        timestamp = self._clock.wall() if self._clock.synchronised() else None
        first = events.RecordingChange(thing_name=self._thing_name, timestamp=timestamp, recording=False)
        if not self._path.exists() or not self._path.stat().st_size:
            write_slot(self._path, events.encode(first))
        self._not_before_s = self._clock.monotonic() + WRITE_INTERVAL_S

    def due_in(self) -> Optional[float]:
        """Seconds until `flush` has something to do: 0 for now, None while nothing waits."""
        if not self.waiting:
            return None
        not_before_s = self._not_before_s if self._motion else max(self._not_before_s, self._others_not_before_s)
        return max(0.0, not_before_s - self._clock.monotonic())

    def flush(self) -> bool:
        """Write what is due, if anything. Returns whether something was written.

        A write that fails is tried again after WRITE_RETRY_S; what it held waits. The start of motion never shares a
        write with others: a rule in the cloud that waits for it need not look into batches.
        """
        if self.due_in() != 0.0:
            return False
        if self._motion:
            payload, count = _payload(self._motion)
        else:
            payload, count = _payload([*self._others, *([] if self._health is None else [self._health])])
        if not self._write(payload):
            return False
        if self._motion:
            self._others_not_before_s = self._not_before_s + MOTION_STANDS_S - WRITE_INTERVAL_S
        for _ in range(count):
            self._take()
        return True

    def _write(self, payload: bytes) -> bool:
        now = self._clock.monotonic()
        try:
            write_slot(self._path, payload)
        except OSError as error:
            if not self._failing:
                logger.warning("Cannot write events to %s: %s", self._path, error.strerror)
            self._failing = True
            self._not_before_s = now + WRITE_RETRY_S
            return False
        if self._failing:
            logger.info("Events are written to %s again; %d were dropped since the start", self._path, self.dropped)
        self._failing = self._dropping = False
        self._not_before_s = now + WRITE_INTERVAL_S
        return True
