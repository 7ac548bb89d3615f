"""Plain files that a person can copy: `media/<camera>/<YYYY-MM-DD>/<HH-MM-SS>-<name>`, each with a hidden sidecar.

The folder alone holds everything; the database is what makes it quick to search, and can be made again from it. An
object is stored when its file and its sidecar have their names and the disk has both. The sidecar gets its name before
the file and loses it after, so a file with a sidecar is whole, and a sidecar without a file is what a crash left.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from pinthesky.errors import Conflict, NotFound, PinTheSkyError, Unavailable
from pinthesky.hub.media_index import MediaIndex, Usage
from pinthesky.hub.media_record import Address, MediaRecord, sidecar_name
from pinthesky.machine import durable_files
from pinthesky.model.recording import RETENTION_TAG

logger = logging.getLogger(__name__)

INCOMING = ".incoming"
"""Folder of what is not stored yet. Nothing in it survives a start."""


class NoRoom(Unavailable):
    """The disk is full, or what is stored may not become more."""


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Raise NoRoom for a full disk and Unavailable for any other trouble with it."""
    try:
        yield
    except OSError as error:
        if isinstance(error, PinTheSkyError):
            raise
        kind = NoRoom if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else Unavailable
        raise kind(f"{doing}: {error.strerror or error}") from error


class Incoming:
    """A file on its way in, with its room on the disk already taken. One thread at a time."""

    def __init__(self, path: Path, descriptor: int, *, size: int, closed: Callable[[int], None]) -> None:
        """`closed` is told the size when the file is no longer on its way."""
        self.path = path
        self.size = size
        """Bytes that are counted as on their way."""
        self._descriptor: int | None = descriptor
        self._closed = closed

    def write(self, data: bytes) -> None:
        """Append. Raises NoRoom, Unavailable."""
        if self._descriptor is None:
            raise Unavailable("the file is no longer open")
        with disk_errors("writing an object"):
            durable_files.append(self._descriptor, [data])

    def seal(self) -> None:
        """Wait until the disk has all of it. Raises NoRoom, Unavailable."""
        if self._descriptor is None:
            raise Unavailable("the file is no longer open")
        with disk_errors("writing an object"):
            durable_files.sync_data(self._descriptor)

    def discard(self) -> None:
        """Forget it, unless it has been stored; to be called in either case."""
        if self._descriptor is None:
            return
        os.close(self._descriptor)
        self._descriptor = None
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._closed(self.size)


class MediaFolder:
    """The media folder with its index. Thread-safe. `media_recovery.recover` is to be called before anything else."""

    def __init__(
        self,
        root: Path,
        index: MediaIndex,
        *,
        clock: Callable[[], float] = time.time,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`clock` gives epoch seconds; `on_change` says there is news.

        Raises Unavailable where the folder cannot be made.
        """
        self.root = root
        self.index = index
        self._clock = clock
        self.on_change = on_change
        self._lock = threading.Lock()
        self._on_the_way = 0
        with disk_errors(f"making {root}"):
            durable_files.make_folder(root / INCOMING)

    def begin(self, size: int) -> Incoming:
        """Open a file of `size` bytes that is to come. Raises NoRoom, Unavailable."""
        path = self.root / INCOMING / secrets.token_hex(16)
        with disk_errors("making room for an object"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _reserve(descriptor, size)
            except OSError:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise
        with self._lock:
            self._on_the_way += size
        return Incoming(path, descriptor, size=size, closed=self._arrived)

    def usage(self) -> Usage:
        """Objects and bytes, those that are on their way included."""
        stored = self.index.usage()
        return Usage(stored.objects, stored.size + self._on_the_way)

    def store(self, incoming: Incoming, record: MediaRecord, *, replace: bool) -> MediaRecord:
        """Store what came as `record` says; its `file` and times are found here. Durable when this returns.

        Raises Conflict (there is an object of this key, and it is not to be replaced), NoRoom, Unavailable.
        """
        incoming.seal()
        with self._lock, disk_errors(f"storing {record.key}"):
            old = self._present(record.key)
            if old is not None and not replace:
                raise Conflict(f"{record.key} is stored already")
            now_s = self._clock() if old is None else max(self._clock(), old.stored_at_s + 0.001)
            record = msgspec.structs.replace(
                record,
                file=self._free_name(record.address, now_s),
                stored_at_s=now_s,
                recorded_at_s=record.address.recorded_at_s(now_s),
            )
            path = self.root / record.file
            durable_files.make_folder(path.parent)
            try:
                sidecar_mtime_ns = self._write_sidecar(record)
                durable_files.move(incoming.path, path)
                durable_files.sync_folder(path.parent)
                self.index.put(record, sidecar_mtime_ns)
            except BaseException:
                # What a crash would leave in its place is swept at the next start.
                with suppress(OSError):
                    durable_files.remove(path)
                    durable_files.remove(path.with_name(sidecar_name(path.name)))
                raise
            # From here on it is counted among what is stored.
            self._on_the_way -= incoming.size
            incoming.size = 0
            if old is not None:
                self._remove_files(old.file)
        self.on_change()
        return record

    def find(self, key: str) -> MediaRecord:
        """The record of a key whose file is there. Raises NotFound."""
        record = self._present(key)
        if record is None:
            raise NotFound(f"{key} is not stored")
        return record

    def has(self, key: str) -> bool:
        """Whether there is an object of this key, with its file."""
        return self._present(key) is not None

    def open(self, key: str) -> tuple[MediaRecord, IO[bytes]]:
        """The record, and the file to read, which stays readable when it is removed meanwhile. Raises NotFound."""
        record = self.find(key)
        try:
            return record, (self.root / record.file).open("rb")
        except OSError as error:
            raise NotFound(f"{key} is not stored") from error

    def delete(self, key: str) -> bool:
        """Remove an object for good. False where there is none. Raises Unavailable."""
        with self._lock, disk_errors(f"removing {key}"):
            record = self.index.find(key)
            if record is None:
                return False
            self._remove_files(record.file)
            self.index.remove(record)
        self.on_change()
        return True

    def set_tags(self, key: str, tags: dict[str, str]) -> MediaRecord:
        """Give an object other tags. Raises NotFound, NoRoom, Unavailable."""
        with self._lock, disk_errors(f"tagging {key}"):
            record = self.find(key).with_tags(tags)
            self.index.update(record, self._write_sidecar(record))
            durable_files.sync_folder((self.root / record.file).parent)
        return record

    def star(self, key: str, *, starred: bool) -> MediaRecord:
        """Keep an object whatever its age, or no longer. Raises NotFound, NoRoom, Unavailable."""
        tags = {name: value for name, value in self.find(key).tags.items() if name != RETENTION_TAG[0]}
        return self.set_tags(key, tags if starred else {**tags, RETENTION_TAG[0]: RETENTION_TAG[1]})

    def _arrived(self, size: int) -> None:
        with self._lock:
            self._on_the_way -= size

    def _present(self, key: str) -> MediaRecord | None:
        """The record of a key, unless its file was taken away."""
        record = self.index.find(key)
        return record if record is not None and (self.root / record.file).is_file() else None

    def _free_name(self, address: Address, now_s: float) -> str:
        file = address.file(now_s)
        while os.path.lexists(self.root / file):
            file = address.file(now_s, distinction=f"{secrets.token_hex(3)}-")
        return file

    def _write_sidecar(self, record: MediaRecord) -> int:
        """Replace the sidecar; the folder is not synced. Returns its time of change."""
        path = self.root / record.file
        temporary = self.root / INCOMING / f"{secrets.token_hex(16)}.json"
        try:
            durable_files.write_new(temporary, record.encode())
            mtime_ns = temporary.stat().st_mtime_ns
            durable_files.move(temporary, path.with_name(sidecar_name(path.name)))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return mtime_ns

    def _remove_files(self, file: str) -> None:
        """Remove a file and then its sidecar, and the folders that are empty without them."""
        path = self.root / file
        if not path.parent.is_dir():
            return
        durable_files.remove(path)
        durable_files.sync_folder(path.parent)
        durable_files.remove(path.with_name(sidecar_name(path.name)))
        durable_files.sync_folder(path.parent)
        with suppress(OSError):
            path.parent.rmdir()
            path.parent.parent.rmdir()


def _reserve(descriptor: int, size: int) -> None:
    """Take the room at once, where the system can: a full disk is known before anything is sent."""
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
