"""The spool's files: where they are, how they come and go so that a crash at any moment leaves no doubt.

Folders, on one file system (`docs/reference/spool.md`)::

    <spool>/journal/     journals of clips that are being made or finished
    <spool>/ready/       finished items: `<name>` and beside it the sidecar `<name>.json`
    <spool>/tmp/         files in the making; emptied at the start
    <spool>/unreadable/  what could not be read at a start; the first to go when room is needed
    <spool>/lock         held by the one daemon that uses the spool

An item exists when its sidecar is whole and its media file has the size that the sidecar says. It comes in the order
media, sidecar and goes in the order sidecar, media, so what a crash leaves in between is never taken for an item.

Nothing here knows threads or bounds: that is `clip_spool`.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

from pinthesky.errors import InvalidInput, InvariantBroken
from pinthesky.machine import durable_files
from pinthesky.model.recording import CONTENT_TYPES, Item

_log = logging.getLogger(__name__)

FLAG = "--spool-dir"


class SpooledItem(NamedTuple):
    """An item in the spool."""

    name: str
    """Name of its media file, and of the item in calls to the spool."""
    path: Path
    item: Item

    @property
    def sidecar(self) -> Path:
        """The file that says what the item is."""
        return _sidecar_of(self.path)


def item_stem(item: Item) -> str:
    """File name of an item without its suffix. Says nothing about time, which may not be known yet."""
    return f"{item.event_id}-{item.part:04d}-{item.kind}"


class SpoolFolder:
    """The files of one spool. Raises OSError, except where a method says otherwise."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._journals = folder / "journal"
        self._ready = folder / "ready"
        self._tmp = folder / "tmp"
        self._unreadable = folder / "unreadable"
        self._lock_file: Optional[int] = None

    def open(self) -> None:
        """Make the folders, take the lock and empty `tmp`. Raises InvalidInput when another daemon has the lock."""
        for folder in (self._journals, self._ready, self._tmp, self._unreadable):
            durable_files.make_folder(folder)
        self._take_lock()
        for path in _paths_in(self._tmp):
            durable_files.remove(path)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _take_lock(self) -> None:
        if self._lock_file is not None:
            return
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise InvalidInput(FLAG, f"{self.path} is in use by another daemon (process {holder})") from error
        self._lock_file = descriptor
        # Only a hint for people. A full disk must not keep away the one who could empty it.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))

    # Items

    def load_items(self) -> list[SpooledItem]:
        """The items, oldest first; clears up what a crash left beside them, sets aside what cannot be read."""
        found: list[tuple[float, SpooledItem]] = []
        names = set(durable_files.names_in(self._ready))
        for name in sorted(names):
            path = self._ready / name
            if name.endswith(".json"):
                # The sidecar comes after its media and goes before it: one alone is damage that says nothing.
                if name[: -len(".json")] not in names:
                    durable_files.remove(path)
            elif name + ".json" not in names:
                # Stored already, or never whole: then its journal is still there, or it was never acknowledged.
                durable_files.remove(path)
            else:
                item = self._read_sidecar(path)
                if item is not None:
                    wall_s = item.start.wall_s
                    since_s = path.stat().st_mtime if wall_s is None else wall_s
                    found.append((since_s, SpooledItem(name, path, item)))
        found.sort(key=lambda pair: pair[0])
        return [spooled for _, spooled in found]

    def _read_sidecar(self, media: Path) -> Optional[Item]:
        sidecar = _sidecar_of(media)
        try:
            item = Item.decode(sidecar.read_bytes())
        except (InvariantBroken, OSError) as error:
            _log.warning("Set aside %s: %s", media.name, error)
        else:
            if item.suffix in CONTENT_TYPES and media.stat().st_size == item.size:
                return item
            _log.warning("Set aside %s: it is not what its sidecar says", media.name)
        for path in (media, sidecar):
            durable_files.move(path, self._unreadable / path.name)
        return None

    def tmp_path(self, name: str) -> Path:
        """A path for a file in the making; whatever an earlier attempt left there is removed."""
        path = self._tmp / name
        durable_files.remove(path)
        return path

    def move_in(self, tmp_media: Path, item: Item, name: str) -> SpooledItem:
        """Make an item of a finished file of `tmp_path`. On the disk for good when it returns.

        An item of the same name is replaced. When it fails, nothing of either remains.
        """
        spooled = SpooledItem(name, self._ready / name, item)
        try:
            durable_files.sync_file(tmp_media)
            durable_files.move(tmp_media, spooled.path)
            self.write_sidecar(spooled)
        except OSError:
            for path in (_sidecar_of(self._tmp / name), tmp_media, spooled.sidecar, spooled.path):
                self.delete(path)
            raise
        return spooled

    def write_sidecar(self, spooled: SpooledItem) -> None:
        """Write the item's sidecar, in place of any there is. On the disk for good when it returns."""
        tmp_sidecar = self.tmp_path(spooled.sidecar.name)
        durable_files.write_new(tmp_sidecar, spooled.item.encode())
        durable_files.move(tmp_sidecar, spooled.sidecar)
        durable_files.sync_folder(self._ready)

    def delete_item(self, spooled: SpooledItem) -> list[Path]:
        """Delete an item; returns what could not be deleted now, once the item itself is none any more."""
        return [path for path in (spooled.sidecar, spooled.path) if not self.delete(path)]

    # Journals and leftovers

    def journal_path(self, event_id: str, part: int) -> Path:
        """Where the journal of a clip is."""
        return self._journals / f"{event_id}-{part:04d}.journal"

    def load_journals(self, items: list[SpooledItem]) -> list[Path]:
        """Journals, oldest first, without those whose clip is among the items: they are removed."""
        finished = {(kept.item.event_id, kept.item.part) for kept in items if kept.item.kind == "clip"}
        journals = []
        for path in sorted(_paths_in(self._journals), key=lambda path: path.stat().st_mtime):
            event_id, _, part = path.stem.rpartition("-")
            if part.isdigit() and (event_id, int(part)) in finished:
                durable_files.remove(path)
            else:
                journals.append(path)
        return journals

    def remove_journal(self, path: Path) -> bool:
        """Remove a journal whose clip is in. False when it must be tried again; never raises.

        Should a power cut bring it back, the next start sees that the clip is there.
        """
        is_gone = self.delete(path)
        with contextlib.suppress(OSError):
            durable_files.sync_folder(self._journals)
        return is_gone

    def set_aside(self, path: Path) -> Path:
        """Move a file that cannot be read out of the way; returns where it is."""
        aside = self._unreadable / path.name
        durable_files.move(path, aside)
        return aside

    def load_set_aside(self) -> Iterator[Path]:
        """What was set aside, now or in earlier runs."""
        yield from _paths_in(self._unreadable)

    def delete(self, path: Path) -> bool:
        """Delete a file. False when it cannot be deleted now; never raises."""
        try:
            durable_files.remove(path)
        except OSError as error:
            _log.warning("Cannot remove %s: %s", path, error.strerror)
            return False
        return True


def _sidecar_of(media: Path) -> Path:
    return media.with_name(media.name + ".json")


def _paths_in(folder: Path) -> list[Path]:
    return [folder / name for name in durable_files.names_in(folder)]
