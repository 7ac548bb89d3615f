"""The commands that the device client appends to a file: read on from where we were, over restarts too."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional, Union

import msgspec
from msgspec import Struct

from pinthesky.machine.durable_files import replace_file
from pinthesky.machine.slot_file import create_if_missing
from pinthesky.model.commands import Command, CommandStream, Rejected

logger = logging.getLogger(__name__)

CHUNK_MAX = 64 * 1024
"""Bytes taken in one read."""
EXPIRY_S = 2.0
"""A command that has not grown for this long is torn. The client appends a whole message at once."""
TRUNCATE_OVER = 1024 * 1024
TRUNCATE_AFTER_S = 10.0


class _Position(Struct, frozen=True):
    """What was handed on: everything before `offset` of the file `inode`."""

    inode: int
    offset: int


class CommandTail:
    """Follows one file through appends, truncation and replacement. Not thread-safe.

    The position is stored before the commands before it are handed on, so each is handed on at most once: a command
    that brings the process down does not do so again at every start. Without a stored position what the file holds is
    old and is skipped.

    A file that was read to its end, is larger than TRUNCATE_OVER and has been quiet for TRUNCATE_AFTER_S is emptied.
    An append that falls into the microseconds between the last look at its size and the call would be lost; with one
    such call for some thousand commands that is less likely than the loss of the command on its way here, and its
    sender sees both alike, as a missing answer.
    """

    def __init__(self, path: Path, state_path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._state_path = state_path
        self._monotonic = monotonic
        self._stream = CommandStream()
        self._descriptor: Optional[int] = None
        self._inode = 0
        self._offset = 0
        self._saved: Optional[_Position] = None
        self._save_failed = False
        self._grown_at = monotonic()
        self.more = False
        """Whether the last read found something, so that there may be more."""

    def read(self) -> list[Union[Command, Rejected]]:
        """What was appended since the last call, at most CHUNK_MAX bytes of it. Raises OSError."""
        descriptor = self._open(is_first=True) if self._descriptor is None else self._descriptor
        data = os.pread(descriptor, CHUNK_MAX, self._offset)
        self.more = bool(data)
        found: list[Union[Command, Rejected]] = []
        if data:
            self._grown_at = self._monotonic()
            self._offset += len(data)
            found = self._stream.feed(data)
            self._save()
        elif os.fstat(descriptor).st_size < self._offset:
            found = self._stream.expire()
            self._offset = 0
            self.more = True
            self._save()
        elif self._was_replaced(descriptor):
            found = self._stream.expire()
            self._open(is_first=False)
            self.more = True
        elif self.expires_in() == 0.0:
            found = self._stream.expire()
            self._save()
        else:
            self._truncate_if_large(descriptor)
        return found

    def expires_in(self) -> Optional[float]:
        """Seconds until `read` gives up what is not finished; None when nothing is pending."""
        if not self._stream.pending:
            return None
        return max(0.0, self._grown_at + EXPIRY_S - self._monotonic())

    def close(self) -> None:
        """Give the file back. The next `read` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _open(self, *, is_first: bool) -> int:
        self.close()
        create_if_missing(self._path)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        status = os.fstat(self._descriptor)
        self._inode, self._offset = status.st_ino, 0
        if is_first:
            self._stream = CommandStream()
            self._saved = self._load()
            if self._saved is None:
                self._offset = status.st_size
            elif self._saved.inode == status.st_ino and self._saved.offset <= status.st_size:
                self._offset = self._saved.offset
        self._save()
        return self._descriptor

    def _was_replaced(self, descriptor: int) -> bool:
        """Whether the path leads to another file now, or to none."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(descriptor))

    def _truncate_if_large(self, descriptor: int) -> None:
        is_quiet = self._monotonic() >= self._grown_at + TRUNCATE_AFTER_S
        if is_quiet and not self._stream.pending and TRUNCATE_OVER < self._offset == os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, 0)
            self._offset = 0
            self._save()

    def _load(self) -> Optional[_Position]:
        try:
            return msgspec.json.decode(self._state_path.read_bytes(), type=_Position)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            logger.warning("Cannot read the position in %s from %s: %s", self._path, self._state_path, error)
            return None

    def _save(self) -> None:
        position = _Position(self._inode, self._offset - self._stream.pending)
        if position == self._saved:
            return
        try:
            replace_file(self._state_path, msgspec.json.encode(position))
        except OSError as error:
            if not self._save_failed:
                logger.warning("Cannot store the position in commands in %s: %s", self._state_path, error.strerror)
            self._save_failed = True
            return
        self._saved = position
        self._save_failed = False
