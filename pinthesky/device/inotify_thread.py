"""The thread that watches the two files which the device client writes: commands, and the shadow's document.

Their folders are watched, so a file that is created late, truncated, renamed over or made anew is seen; and every few
seconds the files are looked at without being told, for events that were lost or never sent (an overflowing queue, a
file system without inotify).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from pinthesky.device.command_tail import CommandTail
from pinthesky.errors import InvalidInput
from pinthesky.machine.folder_watch import FolderWatch
from pinthesky.machine.permanent_thread import Crash, PermanentThread
from pinthesky.machine.slot_file import create_if_missing
from pinthesky.model.commands import Command, Rejected
from pinthesky.model.shadow import DOCUMENT_MAX, parse_document

logger = logging.getLogger(__name__)

RECHECK_S = 5.0
"""How often the files are looked at without being told."""
RETRY_FIRST_S = 0.02
RETRIES_MAX = 8
"""A torn shadow file is read again after 20 ms, 40 ms, … 2.56 s, then at its next change."""
_REJECTIONS_LOGGED = 10
_REJECTIONS_WINDOW_S = 60.0


class INotifyThread(PermanentThread):
    """Hands on commands as they are appended, and the shadow's document when it has changed.

    `on_command`, `on_rejected` and `on_shadow` are called in this thread and must be quick. `on_shadow` gets the whole
    file, which `parse_document` takes; the first time at the start. `state` is the file in which the position in
    `event_input` survives restarts. Files that are missing are made (empty, mode 600); what is there is never changed,
    but a large `event_input` that was read is emptied.
    """

    def __init__(
        self,
        *,
        event_input: Path,
        configure_output: Path,
        state: Path,
        on_command: Callable[[Command], None],
        on_rejected: Callable[[Rejected], None],
        on_shadow: Callable[[bytes], None],
        on_crash: Crash,
        recheck_s: float = RECHECK_S,
    ) -> None:
        super().__init__("inotify", on_crash)
        self._tail = CommandTail(event_input, state)
        self._shadow = ShadowFile(configure_output)
        self._on_command = on_command
        self._on_rejected = on_rejected
        self._on_shadow = on_shadow
        self._watch = FolderWatch({event_input, configure_output}, recheck_s, while_written=True)
        self._event_input = event_input
        self._configure_output = configure_output
        self._unreadable: set[Path] = set()
        self._rejections = _RejectionLog()

    def wake(self) -> None:
        """Make a waiting step return."""
        self._watch.wake()

    def step(self) -> None:
        """Wait for a change or for the time of the next look, and hand on what is there."""
        changed = self._watch.wait(self._due_in())
        self._attempt(self._event_input, self._read_commands)
        self._attempt(self._configure_output, lambda: self._read_shadow(forced=self._configure_output in changed))

    def finish(self) -> None:
        """Give the files back."""
        self._tail.close()
        self._watch.close()

    def _due_in(self) -> Optional[float]:
        """Seconds until a file is worth a look without a sign; one that cannot be read waits for the next recheck."""
        dues: list[Optional[float]] = []
        if self._event_input not in self._unreadable:
            dues.append(0.0 if self._tail.more else self._tail.expires_in())
        if self._configure_output not in self._unreadable:
            dues.append(self._shadow.retry_in())
        return min((due for due in dues if due is not None), default=None)

    def _read_commands(self) -> None:
        for found in self._tail.read():
            if isinstance(found, Rejected):
                self._rejections.add(found)
                self._on_rejected(found)
            else:
                self._on_command(found)

    def _read_shadow(self, *, forced: bool) -> None:
        document = self._shadow.read(forced=forced)
        if document is not None:
            self._on_shadow(document)

    def _attempt(self, path: Path, read: Callable[[], None]) -> None:
        try:
            read()
        except OSError as error:
            if path not in self._unreadable:
                self._unreadable.add(path)
                logger.warning("Cannot read %s: %s", path, error.strerror or error)
        else:
            if path in self._unreadable:
                self._unreadable.remove(path)
                logger.info("Reading %s again", path)


class ShadowFile:
    """The shadow's document file, which its writer rewrites in place: empty and torn states are seen and waited out."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._signature: Optional[tuple[int, ...]] = None
        self._content = b""
        self._failures = 0
        self._retry_at: Optional[float] = None

    def retry_in(self) -> Optional[float]:
        """Seconds until the file is worth another look although nothing has told so."""
        return None if self._retry_at is None else max(0.0, self._retry_at - self._monotonic())

    def read(self, *, forced: bool) -> Optional[bytes]:
        """The document, when it is another one than the last time.

        `forced` says that something was written: file times are too coarse to tell two quick writes of one length
        apart. Raises OSError.
        """
        create_if_missing(self._path)
        status = self._path.stat()
        signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if signature != self._signature or forced:
            self._failures = 0
        elif self.retry_in() != 0.0:
            return None
        self._signature = signature
        self._retry_at = None
        with self._path.open("rb") as file:
            content = file.read(DOCUMENT_MAX + 1)
        try:
            parse_document(content)
        except InvalidInput as error:
            self._failed(content, error)
            return None
        if content == self._content:
            return None
        self._content = content
        return content

    def _failed(self, content: bytes, error: InvalidInput) -> None:
        if self._failures < RETRIES_MAX:
            self._retry_at = self._monotonic() + RETRY_FIRST_S * 2.0**self._failures
            self._failures += 1
        elif content.strip():
            logger.warning("%s cannot be used: %s", self._path, error)


class _RejectionLog:
    """Logs what was refused, a few a minute: who can publish commands must not fill the log."""

    def __init__(self) -> None:
        self._since = 0.0
        self._count = 0

    def add(self, rejected: Rejected) -> None:
        now = time.monotonic()
        if now >= self._since + _REJECTIONS_WINDOW_S:
            if self._count > _REJECTIONS_LOGGED:
                logger.warning("Refused %d further pieces of input", self._count - _REJECTIONS_LOGGED)
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= _REJECTIONS_LOGGED:
            logger.warning("Refused input: %s: %s", rejected.reason, rejected.sample)
