"""The file operations on which the promise of durability rests, each in one place.

What a power cut may undo, and what not: bytes written are certain after `sync_data` or `sync_file`; a name that was
made, moved or removed is certain after `sync_folder` of its folder. Nothing else is. The spool and the journal touch
the disk through these functions alone, so a test can record them and replay every state a power cut could leave.

All of them raise OSError.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from pinthesky.errors import Unavailable


def may_pass(error: OSError) -> bool:
    """Whether the disk is at fault (full, over quota, failing), and not the path that was given."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def disk_unavailable(doing: str, error: OSError) -> Unavailable:
    """The error to raise (`from error`) when the disk refuses: full, read-only or failing, all of which may pass."""
    return Unavailable(f"{doing}: {error.strerror or error}")


def make_folder(path: Path) -> None:
    """Make a folder for its owner alone (mode 700), with those above it, unless it is there."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


def create(path: Path) -> int:
    """Make a new file (mode 600) and return its descriptor, to write. FileExistsError when it exists."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


def append(descriptor: int, chunks: Sequence[bytes]) -> None:
    """Write all chunks at the end, in one system call where the disk has room.

    After an error some of the bytes may be there: `shorten` takes them back.
    """
    size = sum(map(len, chunks))
    written = os.writev(descriptor, chunks)
    if written < size:
        rest = memoryview(b"".join(chunks))[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def shorten(descriptor: int, size: int) -> None:
    """Cut the file to `size` bytes."""
    os.ftruncate(descriptor, size)


def sync_data(descriptor: int) -> None:
    """Wait until the disk has all bytes written so far."""
    os.fdatasync(descriptor)


def close(descriptor: int) -> None:
    """Give the descriptor back. Says nothing about the disk."""
    os.close(descriptor)


def sync_file(path: Path) -> None:
    """Wait until the disk has the whole file, whoever wrote it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the disk has every name made, moved or removed in the folder so far."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(source: Path, target: Path) -> None:
    """Give the file another name at once, in place of any that has it. Both are on one file system."""
    source.replace(target)


def remove(path: Path) -> None:
    """Remove the file if it is there."""
    path.unlink(missing_ok=True)


def write_new(path: Path, data: bytes) -> None:
    """Write a whole new file and wait until the disk has its bytes."""
    descriptor = create(path)
    try:
        append(descriptor, [data])
        sync_data(descriptor)
    finally:
        close(descriptor)


def names_in(folder: Path) -> list[str]:
    """Names in the folder, sorted."""
    return sorted(os.listdir(folder))  # noqa: PTH208 - names are what is wanted


def replace_file(path: Path, data: bytes) -> None:
    """Replace `path` by a file that holds `data`: after a power cut the old content is there or the new, whole.

    One writer for each path: the temporary file beside it has a fixed name, so that a crash leaves at most one.
    """
    temporary = path.with_name(f".{path.name}.new")
    remove(temporary)
    write_new(temporary, data)
    move(temporary, path)
    sync_folder(path.parent)
