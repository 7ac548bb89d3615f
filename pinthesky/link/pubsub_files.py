"""The two files beside two topics: what the daemon writes is published, what arrives is appended."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from pathlib import Path

from pinthesky.errors import PinTheSkyError, Unavailable
from pinthesky.link.file_watch import Gate, signature_of
from pinthesky.link.ports import Mqtt

logger = logging.getLogger(__name__)

PAYLOAD_MAX = 128_000
"""Most bytes that are published of a file."""
RETRY_S, REFUSED_RETRY_S = 5.0, 60.0
SUBSCRIBE_FILE_MAX = 8 * 1024 * 1024
"""Most bytes of the subscribe file. The daemon empties it at 1 MiB; it grows beyond when nobody reads."""


class PublishFile:
    """Publishes a file's content: once at the start, and whenever it was written, renamed over, or made.

    The file is a slot: what it held for an instant may not be seen. What could not be published is read and published
    again with the next connection. See `Watched`.
    """

    def __init__(self, path: Path, topic: str, mqtt: Mqtt, *, on_change: bool = True, wake: Callable[[], None]) -> None:
        self.files: AbstractSet[Path] = frozenset({path} if on_change else ())
        self.folders: AbstractSet[Path] = frozenset()
        self._path = path
        self._topic = topic
        self._mqtt = mqtt
        self._on_change = on_change
        self._wake = wake
        self._gate = Gate()
        self._wanted = True
        self._signature = signature_of(path)
        self._complaint = ""
        mqtt.on_connected(self._connected)

    def due_in(self) -> float | None:
        """See `Watched`."""
        return self._gate.opens_in() if self._wanted else None

    def look(self, changed: AbstractSet[Path]) -> None:
        """See `Watched`."""
        signature = signature_of(self._path)
        if self._on_change and (signature != self._signature or self._path in changed):
            self._wanted = True
        self._signature = signature
        if self._wanted and self._gate.opens_in() == 0.0:
            self._wanted = False
            payload = self._read()
            if payload:
                self._mqtt.publish(self._topic, payload).add_done_callback(self._published)

    def _read(self) -> bytes:
        """The content, or nothing where there is nothing that could be published."""
        try:
            with self._path.open("rb") as file:
                payload = file.read(PAYLOAD_MAX + 1)
        except FileNotFoundError:
            return b""
        except OSError as error:
            self._complain(f"cannot read {self._path}: {error.strerror}")
            return b""
        if len(payload) > PAYLOAD_MAX:
            self._complain(f"{self._path} is longer than {PAYLOAD_MAX} bytes and is not published")
            return b""
        self._complaint = ""
        return payload

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            logger.error("%s", complaint)
        self._complaint = complaint

    def _published(self, answer: Future[None]) -> None:
        error = answer.exception()
        if error is not None:
            self._wanted = True
            self._gate.close(RETRY_S if isinstance(error, Unavailable) else REFUSED_RETRY_S)
            if isinstance(error, Unavailable):
                logger.debug("%s", error)
            elif isinstance(error, PinTheSkyError):
                self._complain(str(error))
            self._wake()

    def _connected(self) -> None:
        self._gate.open()
        self._wake()


class SubscribeFile:
    """Appends what arrives to a file: raw bytes, one write for each message, nothing between two of them.

    The file stays within `most_bytes`: what arrives while a reader does not empty it is lost, counted, and logged when
    that begins and when it ends.
    """

    def __init__(self, path: Path, topic: str, mqtt: Mqtt, *, most_bytes: int = SUBSCRIBE_FILE_MAX) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._losing = False
        self.lost = 0
        """Messages that reached this machine and not the file, since the start."""
        mqtt.subscribe(topic, self.receive)

    def receive(self, _topic: str, payload: bytes) -> None:
        """Append one message. The broker learns that it arrived when this returns."""
        if not payload:
            return
        with self._lock:
            try:
                is_full = self._append(payload)
            except OSError as error:
                self._lose(f"cannot write {self._path}: {error.strerror}")
                return
            if is_full:
                self._lose(f"{self._path} holds more than {self._most_bytes} bytes that nobody has read")
            elif self._losing:
                self._losing = False
                logger.warning("Messages go to %s again; %d were lost since the start", self._path, self.lost)

    def _append(self, payload: bytes) -> bool:
        """Whether the file was too full for it. A message that does not go in whole is taken back."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size + len(payload) > self._most_bytes:
                return True
            written = os.write(descriptor, payload)
            if written < len(payload):
                os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size - written))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
        return False

    def _lose(self, reason: str) -> None:
        self.lost += 1
        if not self._losing:
            logger.error("What arrives is lost: %s", reason)
        self._losing = True
