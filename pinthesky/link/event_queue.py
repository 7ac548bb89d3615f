"""Publishes the events that the daemon leaves in a folder, and removes each when the broker has it.

Every event is a file of its own, which appears whole (`pinthesky.model.event_queue` has the names). At least once: a
file stays until its message was acknowledged, whatever ends in between.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from pathlib import Path

from pinthesky.errors import NotAuthorized, Unavailable
from pinthesky.link.file_watch import Gate
from pinthesky.link.ports import Mqtt
from pinthesky.link.pubsub_files import PAYLOAD_MAX, REFUSED_RETRY_S, RETRY_S
from pinthesky.machine import durable_files
from pinthesky.model.event_queue import parse_event_file

logger = logging.getLogger(__name__)

IN_FLIGHT_MAX, URGENT_IN_FLIGHT_MAX = 16, 32
"""Most messages that wait for their acknowledgement at a time; the second is for the starts of motion, which need not
wait until the others are through."""


class EventQueue:
    """See `Watched`. The folder is made if it is missing."""

    def __init__(self, folder: Path, topic: str, mqtt: Mqtt, *, wake: Callable[[], None]) -> None:
        """Raises OSError where the folder cannot be made."""
        durable_files.make_folder(folder)
        self.files: AbstractSet[Path] = frozenset()
        self.folders: AbstractSet[Path] = frozenset({folder})
        self._folder = folder
        self._topic = topic
        self._mqtt = mqtt
        self._wake = wake
        self._gate = Gate()
        self._lock = threading.Lock()
        self._in_flight: set[str] = set()
        self._complaint = ""
        self._more = True
        mqtt.on_connected(self._connected)

    def due_in(self) -> float | None:
        """See `Watched`."""
        return self._gate.opens_in() if self._more else None

    def look(self, changed: AbstractSet[Path]) -> None:
        """See `Watched`."""
        del changed  # the folder is looked at whatever the reason is to look
        if self._gate.opens_in() != 0.0:
            return
        try:
            names = sorted(os.listdir(self._folder))  # noqa: PTH208 - names are what is wanted
        except OSError as error:
            self._complain(f"cannot look at the queue {self._folder}: {error.strerror}")
            self._gate.close(RETRY_S)
            return
        self._more = False
        for name in names:
            file = parse_event_file(name)
            if file is None:
                continue
            with self._lock:
                if name in self._in_flight:
                    continue
                if len(self._in_flight) >= (URGENT_IN_FLIGHT_MAX if file.urgent else IN_FLIGHT_MAX):
                    return  # an acknowledgement wakes us
            self._publish(name)
            if self._gate.opens_in() != 0.0:
                return

    def _publish(self, name: str) -> None:
        payload = self._read(name)
        if payload is None:
            return
        with self._lock:
            self._in_flight.add(name)

        def published(answer: Future[None]) -> None:
            self._published(name, answer)

        self._mqtt.publish(self._topic, payload).add_done_callback(published)

    def _read(self, name: str) -> bytes | None:
        """The event; what can be none is removed, with a line in the log."""
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, and no path
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    self._complain(f"{path} is no file")
                    return None
                payload = file.read(PAYLOAD_MAX + 1)
        except FileNotFoundError:
            return None  # the daemon has taken it back
        except OSError as error:
            self._complain(f"cannot read {path}: {error.strerror}")
            return None
        is_empty = not payload.strip(b"\0")
        if is_empty or len(payload) > PAYLOAD_MAX:
            what = "is empty: a power cut took what was in it" if is_empty else f"is over {PAYLOAD_MAX} bytes"
            logger.error("The event %s %s, and is dropped", name, what)
            self._remove(name)
            return None
        return payload

    def _published(self, name: str, answer: Future[None]) -> None:
        error = answer.exception()
        if error is None:
            self._complaint = ""
            self._remove(name)
        elif isinstance(error, Unavailable):
            logger.debug("%s", error)
            self._gate.close(RETRY_S)
        elif isinstance(error, NotAuthorized):
            self._complain(f"{error}; events wait in {self._folder}")
            self._gate.close(REFUSED_RETRY_S)
        else:
            logger.error("The event %s is dropped: %s", name, error)
            self._remove(name)
        with self._lock:
            self._in_flight.discard(name)
        self._more = True
        self._wake()

    def _remove(self, name: str) -> None:
        try:
            durable_files.remove(self._folder / name)
        except OSError as error:
            self._complain(f"cannot remove {self._folder / name}: {error.strerror}")
            self._gate.close(RETRY_S)  # or it would be published again and again

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            logger.error("%s", complaint)
        self._complaint = complaint

    def _connected(self) -> None:
        self._gate.open()
        self._more = True
        self._wake()
