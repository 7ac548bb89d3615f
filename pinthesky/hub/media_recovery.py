"""Bringing the media folder and its index together: after a crash, after a person's hand, or with no database left.

The folder is right. What it holds and the index does not know is entered, and told as news; what the index knows and
the folder no longer holds is forgotten. Files without a sidecar are somebody else's and are left alone.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pinthesky.errors import InvariantBroken
from pinthesky.hub.media_folder import INCOMING, MediaFolder, disk_errors
from pinthesky.hub.media_index import Known
from pinthesky.hub.media_record import SIDECAR_MAX, MediaRecord, media_name, sidecar_name
from pinthesky.machine import durable_files

logger = logging.getLogger(__name__)

BLOCK = 1024 * 1024


@dataclass
class Recovery:
    """What a start has found, as counts."""

    kept: int = 0
    entered: int = 0
    forgotten: int = 0
    swept: int = 0
    """Leftovers of a crash that were removed."""
    unreadable: int = 0
    """Sidecars that are none of ours or are damaged; left alone with their files."""

    stale: list[MediaRecord] = field(default_factory=list, repr=False)
    """What another object has replaced, and a crash has left."""

    @property
    def is_quiet(self) -> bool:
        """Whether all was as it should be."""
        return not (self.entered or self.forgotten or self.swept or self.unreadable)


def recover(folder: MediaFolder) -> Recovery:
    """Bring index and folder together. Before anything is served. Raises Unavailable."""
    found = Recovery()
    with disk_errors(f"looking through {folder.root}"):
        _sweep_incoming(folder.root / INCOMING, found)
        known = folder.index.files()
        for day in _days(folder.root):
            _look_through(folder, day, known, found=found)
        for file in known:
            _forget(folder, known[file].key, file, found=found)
        for record in found.stale:
            path = folder.root / record.file
            durable_files.remove(path)
            durable_files.remove(path.with_name(sidecar_name(path.name)))
            found.swept += 1
    if not found.is_quiet:
        logger.warning(
            "Media folder: %d objects, %d of them new to the index; %d are no longer there, %d leftovers were removed, "
            "%d sidecars cannot be read",
            found.kept + found.entered,
            found.entered,
            found.forgotten,
            found.swept,
            found.unreadable,
        )
    folder.on_change()
    return found


def _sweep_incoming(incoming: Path, found: Recovery) -> None:
    for entry in os.scandir(incoming):
        if entry.is_file(follow_symlinks=False):
            Path(entry.path).unlink()
            found.swept += 1


def _days(root: Path) -> Iterator[Path]:
    for camera in sorted(os.scandir(root), key=lambda entry: entry.name):
        if camera.name != INCOMING and camera.is_dir(follow_symlinks=False):
            yield from (Path(day.path) for day in os.scandir(camera) if day.is_dir(follow_symlinks=False))


def _look_through(folder: MediaFolder, day: Path, known: dict[str, Known], *, found: Recovery) -> None:
    """Look at each sidecar of a day; what is in order is taken out of `known`."""
    entries = {entry.name: entry for entry in os.scandir(day) if entry.is_file(follow_symlinks=False)}
    for sidecar, entry in entries.items():
        name = media_name(sidecar)
        if name is None:
            continue
        file = f"{day.parent.name}/{day.name}/{name}"
        if name not in entries:
            # A sidecar has its name before its file has, and loses it after: nothing was stored, or it was removed.
            if _read(day / sidecar) is not None:
                durable_files.remove(day / sidecar)
                found.swept += 1
            continue
        before = known.get(file)
        status = entry.stat(follow_symlinks=False)
        size = entries[name].stat(follow_symlinks=False).st_size
        if before is not None and (before.size, before.sidecar_mtime_ns) == (size, status.st_mtime_ns):
            del known[file]
            found.kept += 1
            continue
        record = _read(day / sidecar)
        if record is None:
            logger.warning("%s cannot be read; the file beside it is left alone", day / sidecar)
            found.unreadable += 1
            continue
        known.pop(file, None)
        _enter(folder, msgspec.structs.replace(record, file=file), found, size=size, mtime_ns=status.st_mtime_ns)


def _enter(folder: MediaFolder, record: MediaRecord, found: Recovery, *, size: int, mtime_ns: int) -> None:
    if size != record.size:
        logger.warning("%s was changed by somebody; it is taken as it is now", record.file)
        record = _measured(folder.root / record.file, record)
    other = folder.index.find(record.key)
    if other is not None and other.file != record.file and (folder.root / other.file).is_file():
        # A crash between storing what replaces an object and removing what it replaces.
        stale, record = sorted([other, record], key=lambda one: one.stored_at_s)
        found.stale.append(stale)
        if record is other:
            return
    if other is not None and other.file == record.file and other.sha256 == record.sha256:
        folder.index.update(record, mtime_ns)
        found.kept += 1
    else:
        folder.index.put(record, mtime_ns)
        found.entered += 1


def _forget(folder: MediaFolder, key: str, file: str, *, found: Recovery) -> None:
    record = folder.index.find(key)
    if record is not None and record.file == file and not (folder.root / file).is_file():
        folder.index.remove(record)
        found.forgotten += 1


def _read(sidecar: Path) -> MediaRecord | None:
    """The record in a sidecar; None for what is none."""
    with sidecar.open("rb") as file:
        raw = file.read(SIDECAR_MAX + 1)
    try:
        record = MediaRecord.decode(raw)
        return record if record.thing else None
    except (InvariantBroken, ValueError):
        return None


def _measured(path: Path, record: MediaRecord) -> MediaRecord:
    """The record with size and digests as they are now."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha256.update(block)
            md5.update(block)
            size += len(block)
    return msgspec.structs.replace(record, size=size, sha256=sha256.hexdigest(), md5=md5.hexdigest(), checksum=None)
