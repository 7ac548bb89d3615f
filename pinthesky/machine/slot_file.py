"""Files that the device client reads whenever it likes: written in place, never seen empty.

The client watches the file's inode, so a rename over it would blind it; and an empty file makes it fail. So the new
content, filled up with spaces to the length of the old one, goes over it in one write, and the spaces are cut off
after that: before and after each of the two calls the file holds one whole JSON document. A read that falls into the
call itself may see parts of both; the client then reads again, because of the close that follows. On a disk
without room for the new content the old stays whole. The file is a slot and no queue: who writes twice within 600 ms
loses the first (see `event_output`).
"""

from __future__ import annotations

import os
from pathlib import Path

from pinthesky.errors import InvalidInput
from pinthesky.machine import durable_files

SLOT_MAX = 128_000
"""Most bytes that the client reads."""


def write_slot(path: Path, content: bytes) -> None:
    """Replace what `path` holds by `content`, 1 to SLOT_MAX bytes of JSON. A missing file is made with mode 600.

    Raises InvalidInput for a content that must not be there, OSError where the file cannot be written. It is not made
    durable, except that a file which held nothing does not hold nothing again after a power cut.
    """
    if not content.strip() or len(content) > SLOT_MAX:
        raise InvalidInput(path.name, f"must hold 1 to {SLOT_MAX} bytes, got {len(content)}")
    if create_if_missing(path, content):
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        old_size = os.fstat(descriptor).st_size
        if old_size > SLOT_MAX:
            os.ftruncate(descriptor, SLOT_MAX)
            old_size = SLOT_MAX
        _make_room(descriptor, old_size, len(content))
        _write_all(descriptor, content.ljust(old_size), 0)
        os.ftruncate(descriptor, len(content))
        if old_size == 0:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_room(descriptor: int, old_size: int, size: int) -> None:
    """Take the disk's room with spaces behind the old content, which stays whole if there is none."""
    try:
        _write_all(descriptor, b" " * (size - old_size), old_size)
    except OSError:
        os.ftruncate(descriptor, old_size)
        raise


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def create_if_missing(path: Path, content: bytes = b"") -> bool:
    """Make `path` with mode 600, as the client demands, unless something is there; True if it was made.

    It appears with its content in it: the client reads a file that it sees being created. Raises OSError.
    """
    if path.exists():
        return False
    # Daemon and client make the same file, often at the same moment: each under a name of its own.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    durable_files.remove(temporary)
    durable_files.write_new(temporary, content)
    try:
        # A rename would be no creation to the client, and would replace a file that was made meanwhile.
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        durable_files.remove(temporary)
    durable_files.sync_folder(path.parent)
    return True
